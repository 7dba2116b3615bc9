"""What is asked of an encoder, and what it may ask for."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from cryo_disentangle.types import Inference, ParticleBatch

__all__ = [
    "ConformationEncoder",
    "CountsParticles",
    "EncoderSetting",
    "Evidence",
    "NeedsSetting",
]


class Evidence(Protocol):
    """Evidence of B single particles that a model gives its encoder."""

    @property
    def batch(self) -> ParticleBatch:
        """The particles: their index, pose, CTF and labels."""
        ...

    @property
    def coefficients(self) -> Tensor:
        """Hartley coefficients of the centred images, shape (B, M)."""
        ...

    @property
    def features(self) -> Tensor:
        """Input of a network: the same, phase-flipped, and the pose where it is to be read.

        Shape (B, M), or (B, M + 9) with the nine entries of the known rotation behind.
        """
        ...

    def render(self, conformation: Tensor) -> Tensor:
        """Renders conformations from each particle's known pose and with its CTF.

        Args:
            conformation: P of each particle, shape (B, P, Z).

        Returns:
            Hartley coefficients, shape (B, P, M).
        """
        ...


class EncoderSetting(NamedTuple):
    """Setting of the model that an encoder is made for.

    Attributes:
        n_particles: Number of particles of the stack; None where new ones may come.
        reads_pose: Whether `Evidence.features` end with the known rotation.
        infers_pose: Whether the model infers poses from images.
    """

    n_particles: int | None
    reads_pose: bool
    infers_pose: bool


@runtime_checkable
class ConformationEncoder(Protocol):
    """Inference of the conformation: by a network, a table, rendering or statistics.

    A plain network with ``forward(features)`` that returns mean and log-variance, each (B, Z),
    serves as well.
    """

    def posterior(self, evidence: Evidence) -> Inference:
        """Infers the posterior.

        Args:
            evidence: What is known of B single particles.

        Returns:
            The posterior, mean (B, Z).
        """
        ...


@runtime_checkable
class NeedsSetting(Protocol):
    """An encoder that has to know the model it is made for, or does not fit into every one."""

    def bind(self, setting: EncoderSetting) -> None:
        """Takes notice of the model's setting, once, before training.

        Args:
            setting: The model's setting.

        Raises:
            ValueError: If the encoder has no place in such a model.
        """
        ...


@runtime_checkable
class CountsParticles(Protocol):
    """Data of a fixed stack, which a table of latents can have rows for.

    Attributes:
        n_particles: Number of particles, with the held-out ones.
    """

    n_particles: int

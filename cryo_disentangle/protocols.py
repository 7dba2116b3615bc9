"""What the parts may know of each other: anything with these methods can be put in their place."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.types import Inference, ParticleBatch, Pose

__all__ = [
    "ConformationPrior",
    "ImageEncoder",
    "LatentImageModel",
    "Penalty",
    "VolumeDecoder",
]


@runtime_checkable
class LatentImageModel(Protocol):
    """A model of images with a conformation and a pose: all that losses and metrics know of it."""

    def infer(self, batch: ParticleBatch) -> Inference:
        """Infers the posterior of conformation (and pose) from ``batch["images"]``."""
        ...

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        """Renders noise-free images that can stand in the place of ``batch["images"]``.

        The particle's own CTF (``batch["ctf"]``) is applied and the normalisation is the data
        set's, so ``infer({**batch, "images": generate(z, pose, batch)})`` is meaningful.
        """
        ...


class VolumeDecoder(Protocol):
    """The unknown volume v: a conformation's density, seen from any direction."""

    def render(self, conformation: Tensor, rotation: Tensor, disc: FourierDisc) -> Tensor:
        """Evaluates central slices: (B, Z), (B, 3, 3) -> Hartley coefficients (B, M)."""
        ...

    def volume(self, conformation: Tensor, box_size: int | None = None) -> Tensor:
        """Evaluates the density of one conformation (Z,) on a grid (D, D, D), axes z, y, x."""
        ...


class ImageEncoder(Protocol):
    """Amortised inference of the conformation."""

    def forward(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Maps Hartley coefficients (B, M) to posterior mean and log-variance, each (B, Z)."""
        ...


class ConformationPrior(Protocol):
    """Prior distribution of the conformation."""

    def kl(self, inference: Inference, batch: ParticleBatch) -> Tensor:
        """Kullback-Leibler divergence of each posterior from the prior in nats, shape (B,)."""
        ...


class Penalty(Protocol):
    """A term added to a training loss."""

    def forward(
        self, model: LatentImageModel, batch: ParticleBatch, inference: Inference
    ) -> Tensor:
        """Evaluates the weighted penalty, a scalar."""
        ...

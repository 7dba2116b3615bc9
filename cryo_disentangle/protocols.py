"""What the parts may know of each other: anything with these methods can be put in their place."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.types import Inference, ParticleBatch, Pose

__all__ = [
    "ConformationPrior",
    "EvaluatesVolumes",
    "ImageEncoder",
    "LatentImageModel",
    "Penalty",
    "VolumeDecoder",
]


@runtime_checkable
class LatentImageModel(Protocol):
    """A model of images with a conformation and a pose: all that losses and metrics know of it.

    A model of statistics reads ``batch["information"]`` and ``batch["precision"]`` in place of
    images (`types.observation`). Its pose is how another particle was imaged, its precision, and it
    generates information vectors with the noise of the data, whose law is known.
    """

    def infer(self, batch: ParticleBatch) -> Inference:
        """Infers the posterior of conformation (and pose) from ``batch["images"]``.

        Args:
            batch: B particles; with ``rotation`` where the model takes given poses.

        Returns:
            The posterior, shape (B, Z), and the pose, None where the model takes the batch's.
        """
        ...

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        """Renders noise-free images that can stand in the place of ``batch["images"]``.

        The particle's own CTF (``batch["ctf"]``) is applied and the normalisation is the data
        set's, so ``infer({**batch, "images": generate(z, pose, batch)})`` is meaningful.

        Args:
            conformation: Shape (B, Z).
            pose: Where each is seen from, (B, 3, 3) and (B, 2).
            batch: The particles whose CTF is applied.

        Returns:
            Images, of the shape of ``batch["images"]``.
        """
        ...


class VolumeDecoder(Protocol):
    """The unknown volume v: a conformation's density, seen from any direction."""

    def render(self, conformation: Tensor, rotation: Tensor, disc: FourierDisc) -> Tensor:
        """Evaluates central slices, without CTF.

        Args:
            conformation: Shape (B, Z).
            rotation: As in `Pose`, shape (B, 3, 3).
            disc: Frequencies of the M coefficients.

        Returns:
            Hartley coefficients, shape (B, M).
        """
        ...

    def volume(self, conformation: Tensor, box_size: int | None = None) -> Tensor:
        """Evaluates the density of one conformation on a grid.

        Args:
            conformation: Shape (Z,).
            box_size: Side D of the grid in pixels; None is the model's.

        Returns:
            Density, shape (D, D, D), axes z, y, x.
        """
        ...


class ImageEncoder(Protocol):
    """Amortised inference of the conformation."""

    def forward(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Infers the posterior.

        Args:
            coefficients: Hartley coefficients of images, shape (B, M).

        Returns:
            Posterior mean and log-variance, each (B, Z).
        """
        ...


class ConformationPrior(Protocol):
    """Prior distribution of the conformation."""

    def kl(self, inference: Inference, batch: ParticleBatch) -> Tensor:
        """Evaluates the Kullback-Leibler divergence of each posterior from the prior.

        Args:
            inference: Posterior, shape (B, Z), or (B, 2, Z) for pairs.
            batch: The particles, with what the prior depends on (time, temperature).

        Returns:
            Divergences in nats, shape (B,).
        """
        ...


class Penalty(Protocol):
    """A term added to a training loss."""

    def forward(
        self, model: LatentImageModel, batch: ParticleBatch, inference: Inference
    ) -> Tensor:
        """Evaluates the weighted penalty.

        Args:
            model: Model that is trained.
            batch: B particles.
            inference: What the model inferred of them.

        Returns:
            The weighted penalty, a scalar.
        """
        ...


@runtime_checkable
class EvaluatesVolumes(Protocol):
    """A model whose conformations can be written as volumes.

    Attributes:
        box_size: Side in pixels.
        pixel_size: Å per pixel.
    """

    box_size: int
    pixel_size: float

    def volume(self, conformation: Tensor, box_size: int | None = None) -> Tensor:
        """Evaluates the density of one conformation on a grid.

        Args:
            conformation: Shape (Z,).
            box_size: Side D of the grid in pixels; None is the model's.

        Returns:
            Density, shape (D, D, D), axes z, y, x.
        """
        ...

"""What is asked of a whole model."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.protocols.inference import EncoderSetting
from cryo_disentangle.types import Inference, ParticleBatch, Pose

__all__ = [
    "EvaluatesVolumes",
    "HasDecoder",
    "HasEncoder",
    "HasImageNetworks",
    "ImageNetworks",
    "LatentImageModel",
    "MixesVolumes",
]


@runtime_checkable
class LatentImageModel(Protocol):
    """A model of images with a conformation and a pose: all that losses and metrics use of it.

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


@runtime_checkable
class MixesVolumes(Protocol):
    """A model of statistics, whose conformations are coefficients of volumes."""

    def coefficients(self, conformation: Tensor) -> Tensor:
        """Evaluates the coefficients that volumes of a subspace are mixed with.

        Args:
            conformation: Shape (B, Z).

        Returns:
            Shape (B, K).
        """
        ...


@runtime_checkable
class HasEncoder(Protocol):
    """A model that shows its encoder."""

    @property
    def encoder(self) -> object:
        """The encoder; what it can do is asked of it."""
        ...


@runtime_checkable
class HasDecoder(Protocol):
    """A model that shows its decoder."""

    @property
    def decoder(self) -> object:
        """The decoder; what it can do is asked of it."""
        ...


class ImageNetworks(NamedTuple):
    """Networks that another program may know how to use.

    Attributes:
        encoder: The encoder.
        disc: Coefficients that it reads.
        decoder: The decoder.
        setting: What the encoder works within.
    """

    encoder: nn.Module
    disc: FourierDisc
    decoder: object
    setting: EncoderSetting


@runtime_checkable
class HasImageNetworks(Protocol):
    """A model that hands its networks to other programs."""

    def image_networks(self) -> ImageNetworks:
        """Returns the networks."""
        ...

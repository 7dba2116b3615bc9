"""Numbers and switches of a model of particle images."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ModelSettings"]


class ModelSettings(NamedTuple):
    """Numbers and switches of a `HeterogeneousModel`.

    Attributes:
        conformation_warmup: Number of first steps in which the conformation is held at 0, a
            homogeneous reconstruction first, as ab-initio programs begin.
        encoder_reads_pose: Whether the encoder also reads the nine entries of the known rotation;
            its factory then gets the number of coefficients plus nine.
        encoder_radius: Radius in Fourier pixels of what the encoder reads; None is D / 2, -1 all.
        coefficient_share: Share of the M coefficients that a training step renders and compares, a
            random subset that is another at each step.
        compile: Whether ``torch.compile`` fuses a training step's encoder, decoder, CTF and loss.
        n_particles: Number of particles of the stack, for an encoder with a row for each.
        pixel_size: Å per pixel, for written volumes.
        intensity_scale: Unit of the normalised images in those of the stack.
    """

    conformation_warmup: int = 0
    encoder_reads_pose: bool = False
    encoder_radius: int | None = None
    coefficient_share: float = 1.0
    compile: bool = False
    n_particles: int | None = None
    pixel_size: float = 1.0
    intensity_scale: float = 1.0

    def check(self) -> None:
        """Refuses numbers that are out of range.

        Raises:
            ValueError: If the warm-up is negative, or the share not within 0 and 1.
        """
        if self.conformation_warmup < 0:
            raise ValueError(
                f"conformation_warmup must not be negative, found {self.conformation_warmup}"
            )
        if not 0 < self.coefficient_share <= 1:
            raise ValueError(
                f"coefficient_share must be above 0 and at most 1, found {self.coefficient_share}"
            )

"""What a model of images sees of particles: centred Fourier coefficients and their CTF."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from cryo_disentangle.imaging.ctf import contrast_transfer, ctf_terms
from cryo_disentangle.imaging.lattice import FourierDisc
from cryo_disentangle.imaging.shift import shift_hartley
from cryo_disentangle.types import ParticleBatch

__all__ = ["Observation"]


class Observation(NamedTuple):
    """Images that are compared with rendered slices.

    Attributes:
        coefficients: Hartley coefficients of the centred images, shape (B, M).
        transfer: Their CTF, shape (B, M), or None for images without one.
    """

    coefficients: Tensor
    transfer: Tensor | None

    @classmethod
    def of(cls, batch: ParticleBatch, disc: FourierDisc, box_size: int) -> Observation:
        """Centres the images of a batch and evaluates their CTF.

        Args:
            batch: Single particles with ``images`` (B, L, L); ``translation`` and ``ctf`` are used
                where present.
            disc: The M coefficients that are wanted.
            box_size: Image side D in pixels, L - 1.

        Returns:
            Coefficients and CTF.

        Raises:
            ValueError: If the images are of another size.
        """
        images, side = batch["images"], box_size + 1
        if images.shape[-2:] != (side, side):
            raise ValueError(
                f"the model has box size {box_size} and expects Hartley transforms of side "
                f"{side}, found images of shape {tuple(images.shape)}"
            )
        coefficients = disc.select(images)
        if "translation" in batch:
            coefficients = shift_hartley(coefficients, disc.frequencies, batch["translation"])
        transfer = None
        if "ctf" in batch:
            terms = ctf_terms(batch)
            transfer = contrast_transfer(disc.frequencies, batch["ctf"], box_size, **terms)
        return cls(coefficients, transfer)

    # Not a property: the compiler of torch 2.4 reads none of a tuple.
    def phase_flipped(self) -> Tensor:
        """Multiplies coefficients by the sign of their CTF, for an encoder to read.

        Returns:
            Shape (B, M).
        """
        if self.transfer is None:
            return self.coefficients
        return self.coefficients * self.transfer.sign()

    def transferred(self, slices: Tensor) -> Tensor:
        """Slices as the microscope shows them.

        Args:
            slices: Hartley coefficients without CTF, shape (B, M).

        Returns:
            Shape (B, M).
        """
        return slices if self.transfer is None else slices * self.transfer

    def at(self, positions: Tensor) -> Observation:
        """Some of the coefficients.

        Args:
            positions: Which of the M, shape (K,).

        Returns:
            An observation of K coefficients.
        """
        transfer = self.transfer
        if transfer is not None:
            transfer = transfer.index_select(1, positions)
        return Observation(self.coefficients.index_select(1, positions), transfer)

    def repeated(self, count: int) -> Observation:
        """Each particle ``count`` times in a row.

        Args:
            count: How often.

        Returns:
            An observation of B · count particles.
        """
        transfer = self.transfer
        if transfer is not None:
            transfer = transfer.repeat_interleave(count, 0)
        return Observation(self.coefficients.repeat_interleave(count, 0), transfer)

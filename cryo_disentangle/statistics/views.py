"""Particle images as a subspace is compared with them: pairs of mirrored coefficients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.imaging.ctf import contrast_transfer, ctf_terms
from cryo_disentangle.imaging.shift import shift_hartley
from cryo_disentangle.particles import HartleyPreprocessing, ParticleDataset, ParticleStack
from cryo_disentangle.types import ParticleBatch

__all__ = ["ParticleViews", "open_images", "view_batches"]


class ParticleViews(NamedTuple):
    """Centred coefficients of images, CTF and direction.

    Attributes:
        coefficients: Hartley coefficients at each of the P points in one half of the disc and at
            its mirror image, shape (B, P, 2).
        transfer: CTF, the same at a point and its mirror image, shape (B, P).
        rotation: Shape (B, 3, 3), as in `Pose`.
    """

    coefficients: Tensor
    transfer: Tensor
    rotation: Tensor

    @classmethod
    def of(cls, batch: ParticleBatch, disc: FourierDisc, box_size: int) -> ParticleViews:
        """Centres the images of a batch and evaluates their CTF.

        Args:
            batch: Single particles with ``images`` (B, L, L) and ``rotation``; ``translation`` and
                ``ctf`` are used where present.
            disc: The coefficients that are wanted, without the origin.
            box_size: Image side D in pixels, L - 1.

        Returns:
            Coefficients, CTF and rotations.
        """
        coefficients = disc.select(batch["images"])
        if "translation" in batch:
            coefficients = shift_hartley(coefficients, disc.frequencies, batch["translation"])
        half = len(disc) // 2
        pairs = torch.stack([coefficients[:, :half], coefficients.flip(1)[:, :half]], dim=2)
        transfer = torch.ones_like(pairs[..., 0])
        if "ctf" in batch:
            frequencies, terms = disc.frequencies[:half], ctf_terms(batch)
            transfer = contrast_transfer(frequencies, batch["ctf"], box_size, **terms)
        return cls(pairs, transfer, batch["rotation"])

    def whitened(self, noise: Tensor) -> ParticleViews:
        """Divides by the noise's standard deviation, the CTF too.

        Args:
            noise: Variance of the noise at each point, shape (P,).

        Returns:
            Views whose noise has variance 1.
        """
        scale = noise.rsqrt()
        return self._replace(
            coefficients=self.coefficients * scale[:, None], transfer=self.transfer * scale
        )

    def take(self, rows: Tensor) -> ParticleViews:
        """Selects particles.

        Args:
            rows: Positions, shape (N,).

        Returns:
            Their views.
        """
        return ParticleViews(*(part[rows] for part in self))

    def within(self, points: Tensor) -> ParticleViews:
        """Selects points.

        Args:
            points: Positions among the P, shape (Q,).

        Returns:
            Views with Q points.
        """
        coefficients = self.coefficients.index_select(1, points)
        return ParticleViews(coefficients, self.transfer.index_select(1, points), self.rotation)


def open_images(stack: ParticleStack, *, invert: bool, norm: float | None) -> ParticleDataset:
    """Prepares a stack's images for a likelihood, whose noise must be as the microscope made it.

    There is no window: it would take noise off the images, and correlate what is left between
    neighbouring coefficients, while the molecule inside keeps its signal. The noise measured would
    be too small, and every precision too large by the same factor (measured: 1.6).

    Args:
        stack: The particles.
        invert: Whether to multiply by -1, as dark particles need.
        norm: Standard deviation that images are divided by; None measures it.

    Returns:
        The images.

    Raises:
        ValueError: If the particles have no poses.
    """
    if stack.rotation is None:
        raise ValueError(
            f"{stack.path}: no poses found; statistics need the poses of a consensus refinement, "
            "in the particle file or as poses.pkl (--poses)"
        )
    preprocessing = HartleyPreprocessing(invert, None, None if norm is None else (0.0, norm))
    return ParticleDataset(stack, preprocessing)


def view_batches(
    images: ParticleDataset, disc: FourierDisc, rows: Tensor, batch_size: int = 256
) -> Iterator[tuple[Tensor, ParticleViews]]:
    """Reads particles batch by batch.

    Args:
        images: The particles.
        disc: The coefficients that are wanted.
        rows: Which particles, shape (N,), int64.
        batch_size: Particles a batch.

    Yields:
        Rows and their views.
    """
    for some in rows.split(batch_size):
        batch = images.__getitems__(some.tolist())
        yield some, ParticleViews.of(batch, disc, images.stack.box_size)

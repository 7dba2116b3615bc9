"""Particle images as a subspace is compared with them: pairs of mirrored coefficients."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.imaging.ctf import contrast_transfer, ctf_terms
from cryo_disentangle.particles import HartleyPreprocessing, ParticleStack
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.types import ParticleBatch

__all__ = ["ParticleViews", "open_images", "shifted", "view_batches"]


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
        half, coefficients = len(disc) // 2, disc.select(batch["images"])
        pairs = torch.stack([coefficients[:, :half], coefficients.flip(1)[:, :half]], dim=2)
        return cls._centred(pairs, batch, disc, box_size)

    @classmethod
    def of_stored(cls, images: ParticleDataset, rows: Tensor, disc: FourierDisc) -> ParticleViews:
        """Reads particles; the same as `of`, of which only the points wanted are transformed.

        Args:
            images: The particles, prepared by `open_images`.
            rows: Which, shape (B,), int64.
            disc: The coefficients that are wanted, without the origin; views will be on its device.

        Returns:
            Coefficients, CTF and rotations.
        """
        stack, preprocessing = images.stack, images.preprocessing
        sign = -1.0 if getattr(preprocessing, "invert", True) else 1.0
        device = disc.frequencies.device
        stored = torch.from_numpy(stack.read(rows.numpy())).to(device)
        points = disc.frequencies[: len(disc) // 2] * stack.box_size
        pairs = _transformed(stored, points, sign / preprocessing.fitted_norm[1])
        known = {key: values.to(device) for key, values in images.known(rows).items()}
        return cls._centred(pairs, known, disc, stack.box_size)

    @classmethod
    def _centred(
        cls, pairs: Tensor, batch: Mapping[str, Any], disc: FourierDisc, box_size: int
    ) -> ParticleViews:
        """Moves coefficients by the translations of a batch, and evaluates its CTFs."""
        frequencies = disc.frequencies[: len(disc) // 2]
        if "translation" in batch:
            pairs = shifted(pairs, batch["translation"], frequencies)
        transfer = torch.ones_like(pairs[..., 0])
        if "ctf" in batch:
            terms = ctf_terms(cast(ParticleBatch, batch))
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
        # Laid out as the coefficients are, or each pair would be multiplied by itself.
        pairs = scale[:, None].repeat(1, 2)
        return self._replace(coefficients=self.coefficients * pairs, transfer=self.transfer * scale)

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


def shifted(pairs: Tensor, translation: Tensor, frequencies: Tensor) -> Tensor:
    """Moves images by their translations.

    Args:
        pairs: Hartley coefficients at points and at their mirror images, shape (B, P, 2).
        translation: As in `Pose`, shape (B, 2).
        frequencies: Of the points, in cycles per unit of the translations, shape (P, 2).

    Returns:
        Shape (B, P, 2).
    """
    phase = (-2 * math.pi * translation) @ frequencies.T
    # H(k) cos + H(-k) sin and H(-k) cos - H(k) sin: a pair is turned as a complex number is.
    turned = torch.view_as_complex(pairs) * torch.polar(torch.ones_like(phase), phase)
    return torch.view_as_real(turned)


def open_images(
    stack: ParticleStack, *, invert: bool | None, norm: float | None
) -> ParticleDataset:
    """Prepares a stack's images for a likelihood, whose noise must be as the microscope made it.

    There is no window: it would take noise off the images, and correlate what is left between
    neighbouring coefficients, while the molecule inside keeps its signal. The noise estimated would
    be too small, and every precision too large, by one over the mean square of the window.

    Args:
        stack: The particles.
        invert: Whether to multiply by -1, as white particles with a CTF need; None is what the
            particle file says, and yes where it says nothing.
        norm: Standard deviation that images are divided by; None estimates it from some of them.

    Returns:
        The images.

    Raises:
        ValueError: If the particles have no poses.
    """
    if stack.rotation is None:
        raise ValueError(
            f"{stack.path}: no poses found; images are used at the poses of a consensus "
            "refinement, in the particle file or as poses.pkl (--poses)"
        )
    preprocessing = HartleyPreprocessing(invert, None, None if norm is None else (0.0, norm))
    return ParticleDataset(stack, preprocessing)


def view_batches(
    images: ParticleDataset, disc: FourierDisc, rows: Tensor, batch_size: int = 128
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
    batches = rows.split(batch_size) if len(rows) else ()
    for some, following in zip_longest(batches, batches[1:]):
        if following is not None:
            images.stack.prefetch(following.numpy())
        yield some, ParticleViews.of_stored(images, some, disc)


def _transformed(images: Tensor, points: Tensor, factor: float) -> Tensor:
    """Hartley coefficients at points in Fourier pixels and at their mirror images, (B, P, 2)."""
    side = images.shape[-1]
    x, y = points.round().long().unbind(1)
    # Half of the plane is transformed; points beyond it are the conjugates of their mirrors.
    sign = 1 - 2 * (x < 0).long()
    index = (y * sign).remainder(side) * (side // 2 + 1) + x * sign
    spectrum = torch.view_as_real(torch.fft.rfft2(images)).flatten(1)
    parts = spectrum.index_select(1, torch.stack([2 * index, 2 * index + 1], dim=1).flatten())
    # The origin lies in the middle of the image.
    turned = factor * (1 - 2 * (x + y).remainder(2))
    parts = parts.mul_(torch.stack([turned, turned * sign], dim=1).flatten()).unflatten(1, (-1, 2))
    # Real and imaginary part make a coefficient and its mirror image.
    return parts @ parts.new_tensor([[1.0, 1.0], [-1.0, 1.0]])

"""The words that the rooms share: a batch of particles and what a model infers of it."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

import torch
from torch import Tensor

__all__ = ["Inference", "ParticleBatch", "Pose"]


class Pose(NamedTuple):
    """Where a particle is seen from.

    Attributes:
        rotation: Shape (B, 3, 3). Maps model coordinates (x, y, z) to image coordinates: density at
            model position p appears at the first two components of ``rotation @ p``.
        translation: Shape (B, 2), (x, y) in pixels, or None for centred particles. The image moved
            by ``+translation`` is centred (RELION's origin, cryoDRGN's convention).
    """

    rotation: Tensor
    translation: Tensor | None = None


class Inference(NamedTuple):
    """Posterior that a model infers from images.

    Attributes:
        mean: Mean of the conformation's normal posterior, shape (B, Z).
        log_variance: Logarithm of its variance, shape (B, Z).
        pose: Inferred pose, or None where the model takes the batch's.
    """

    mean: Tensor
    log_variance: Tensor
    pose: Pose | None = None

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draws a conformation by the reparametrisation trick (Kingma and Welling 2014, Eq. 10).

        Args:
            generator: Source of randomness on the device of ``mean``.

        Returns:
            Conformations, shape (B, Z); gradients flow to mean and log-variance.
        """
        noise = torch.empty_like(self.mean).normal_(generator=generator)
        return torch.addcmul(self.mean, noise, torch.exp(0.5 * self.log_variance))


class _Images(TypedDict):
    images: Tensor
    index: Tensor


class ParticleBatch(_Images, total=False):
    """A batch of particles: a plain mapping of tensors with a leading batch axis.

    Keys:
        images: Hartley transforms (B, L, L) with L = box size + 1, or real images (B, D, D).
        index: Row of each particle in its stack, shape (B,), int64.
        rotation: Shape (B, 3, 3), as in `Pose`.
        translation: Shape (B, 2) in pixels, as in `Pose`.
        ctf: Shape (B, 9), cryoDRGN's columns: box size (px), pixel size (Å) at that box, defocus U
            and V (Å), defocus angle (degrees), voltage (kV), spherical aberration (mm), amplitude
            contrast, phase shift (degrees).
        time, trajectory, temperature: Shape (B,); temperature in kelvin.
        factors: True factors of variation of simulated particles, shape (B, F).
    """

    rotation: Tensor
    translation: Tensor
    ctf: Tensor
    time: Tensor
    trajectory: Tensor
    temperature: Tensor
    factors: Tensor

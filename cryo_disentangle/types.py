"""The words that the rooms share: a batch of particles and what a model infers of it."""

from __future__ import annotations

from typing import NamedTuple, TypedDict, cast

import torch
from torch import Tensor

__all__ = ["Inference", "ParticleBatch", "Pose", "flatten_particles"]


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

    def reshape(self, *leading: int) -> Pose:
        """Rearranges the particles.

        Args:
            *leading: Sizes of the new leading axes.

        Returns:
            The same poses, (..., 3, 3) and (..., 2).
        """
        translation = self.translation
        if translation is not None:
            translation = translation.reshape(*leading, 2)
        return Pose(self.rotation.reshape(*leading, 3, 3), translation)


class Inference(NamedTuple):
    """Posterior that a model infers from images.

    Attributes:
        mean: Mean of the conformation's normal posterior, shape (B, Z), or (B, 2, Z) for pairs.
        log_variance: Logarithm of its variance, of the shape of ``mean``.
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

    def reshape(self, *leading: int) -> Inference:
        """Rearranges the particles.

        Args:
            *leading: Sizes of the new leading axes, (B, 2) for pairs.

        Returns:
            The same posterior, shape (..., Z).
        """
        pose = None if self.pose is None else self.pose.reshape(*leading)
        width = self.mean.shape[-1]
        return Inference(
            self.mean.reshape(*leading, width), self.log_variance.reshape(*leading, width), pose
        )


class _Images(TypedDict):
    images: Tensor
    index: Tensor


class ParticleBatch(_Images, total=False):
    """A batch of particles: a plain mapping of tensors with a leading batch axis.

    Temporal data deliver pairs of frames instead: every shape below then starts with (B, 2), the
    earlier frame first; `flatten_particles` makes single particles of them.

    Keys:
        images: Hartley transforms (B, L, L) with L = box size + 1, or real images (B, D, D).
        index: Row of each particle in its stack, shape (B,), int64.
        rotation: Shape (B, 3, 3), as in `Pose`.
        translation: Shape (B, 2) in pixels, as in `Pose`.
        ctf: Shape (B, 9), cryoDRGN's columns: box size (px), pixel size (Å) at that box, defocus U
            and V (Å), defocus angle (degrees), voltage (kV), spherical aberration (mm), amplitude
            contrast, phase shift (degrees).
        ctf_scale, ctf_b_factor: Each particle's scale factor and B factor (Å²), shape (B,).
        ctf_applied: What was done to the images with their CTF, shape (B,), int64: 0 nothing, 1
            phases were flipped, 2 they were multiplied by it.
        time, trajectory, temperature: Shape (B,); temperature in kelvin.
        factors: True factors of variation of simulated particles, shape (B, F).
    """

    rotation: Tensor
    translation: Tensor
    ctf: Tensor
    ctf_scale: Tensor
    ctf_b_factor: Tensor
    ctf_applied: Tensor
    time: Tensor
    trajectory: Tensor
    temperature: Tensor
    factors: Tensor


def flatten_particles(batch: ParticleBatch) -> ParticleBatch:
    """Lays pairs of frames out as single particles.

    Args:
        batch: Particles (B, ...) or pairs (B, 2, ...).

    Returns:
        Single particles: the batch as it is, or (2B, ...) with pair i at rows 2i and 2i + 1.
    """
    if batch["index"].ndim == 1:
        return batch
    return cast(
        ParticleBatch, {key: cast(Tensor, value).flatten(0, 1) for key, value in batch.items()}
    )

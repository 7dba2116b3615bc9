"""The words that the rooms share: a batch of particles and what a model infers of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypedDict, cast

import torch
from torch import Tensor

__all__ = [
    "Inference",
    "ParticleBatch",
    "Pose",
    "flatten_particles",
    "known_precision",
    "observation",
    "observed",
]


class Pose(NamedTuple):
    """Where a particle is seen from, and for models of statistics how well.

    Attributes:
        rotation: Shape (B, 3, 3). Maps model coordinates (x, y, z) to image coordinates: density at
            model position p appears at the first two components of ``rotation @ p``.
        translation: Shape (B, 2), (x, y) in pixels, or None for centred particles. The image moved
            by ``+translation`` is centred (RELION's origin, cryoDRGN's convention).
        precision: How the particle was imaged, as statistics know it: the precision matrix of its
            coefficients, shape (B, K, K), as in `ParticleBatch`. None for models of images.
    """

    rotation: Tensor
    translation: Tensor | None = None
    precision: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> Pose:
        """Applies a function to all that is known.

        Args:
            function: Takes and returns tensors with a leading particle axis.

        Returns:
            The poses of what it returned.
        """
        return Pose(*(None if part is None else function(part) for part in self))  # type: ignore[arg-type]

    def reshape(self, *leading: int) -> Pose:
        """Rearranges the particles.

        Args:
            *leading: Sizes of the new leading axes.

        Returns:
            The same poses, (..., 3, 3), (..., 2) and (..., K, K).
        """
        translation, precision = self.translation, self.precision
        if translation is not None:
            translation = translation.reshape(*leading, 2)
        if precision is not None:
            precision = precision.reshape(*leading, *precision.shape[-2:])
        return Pose(self.rotation.reshape(*leading, 3, 3), translation, precision)


class Inference(NamedTuple):
    """Posterior that a model infers from images, or from statistics of them.

    Attributes:
        mean: Mean of the conformation's normal posterior, shape (B, Z), or (B, 2, Z) for pairs.
        log_variance: Logarithm of the variance of each coordinate, of the shape of ``mean``.
        pose: Inferred pose, or None where the model takes the batch's.
        scale_tril: Lower Cholesky factor L of the covariance L Lᵀ, shape (..., Z, Z), whose
            diagonal is ``log_variance.exp()``; None for independent coordinates.
    """

    mean: Tensor
    log_variance: Tensor
    pose: Pose | None = None
    scale_tril: Tensor | None = None

    @classmethod
    def of_scale(cls, mean: Tensor, scale_tril: Tensor, pose: Pose | None = None) -> Inference:
        """Makes a posterior of full covariance.

        Args:
            mean: Shape (..., Z).
            scale_tril: Lower Cholesky factor of the covariance, shape (..., Z, Z).
            pose: Inferred pose, or None.

        Returns:
            The posterior.
        """
        return cls(mean, scale_tril.square().sum(-1).log(), pose, scale_tril)

    @property
    def covariance(self) -> Tensor:
        """Covariance of the conformation, shape (..., Z, Z)."""
        if self.scale_tril is None:
            return torch.diag_embed(self.log_variance.exp())
        return self.scale_tril @ self.scale_tril.mT

    @property
    def total_correlation(self) -> Tensor:
        """½ (Σ_k log σ_k² - log det Σ) in nats, shape (...); 0 for independent coordinates.

        The divergence of the posterior from the product of its marginals. The divergence from a
        prior whose coordinates are independent is that of the marginals and this.
        """
        if self.scale_tril is None:
            return torch.zeros_like(self.log_variance[..., 0])
        diagonal = self.scale_tril.diagonal(dim1=-2, dim2=-1)
        return (0.5 * self.log_variance - diagonal.log()).sum(-1)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draws a conformation by the reparametrisation trick (Kingma and Welling 2014, Eq. 10).

        Args:
            generator: Source of randomness on the device of ``mean``.

        Returns:
            Conformations, shape (B, Z); gradients flow to mean and covariance.
        """
        noise = torch.empty_like(self.mean).normal_(generator=generator)
        if self.scale_tril is None:
            return torch.addcmul(self.mean, noise, torch.exp(0.5 * self.log_variance))
        # As a sum of products, since autocast would round a matrix product to three digits.
        return self.mean + (self.scale_tril * noise[..., None, :]).sum(-1)

    def map(self, function: Callable[[Tensor], Tensor]) -> Inference:
        """Applies a function to all that is known, the pose included.

        Args:
            function: Takes and returns tensors with a leading particle axis.

        Returns:
            The posterior of what it returned.
        """
        pose = None if self.pose is None else self.pose.map(function)
        scale = None if self.scale_tril is None else function(self.scale_tril)
        return Inference(function(self.mean), function(self.log_variance), pose, scale)

    def reshape(self, *leading: int) -> Inference:
        """Rearranges the particles.

        Args:
            *leading: Sizes of the new leading axes, (B, 2) for pairs.

        Returns:
            The same posterior, shape (..., Z).
        """
        pose = None if self.pose is None else self.pose.reshape(*leading)
        width, scale = self.mean.shape[-1], self.scale_tril
        return Inference(
            self.mean.reshape(*leading, width),
            self.log_variance.reshape(*leading, width),
            pose,
            None if scale is None else scale.reshape(*leading, width, width),
        )


class _Indexed(TypedDict):
    index: Tensor


class ParticleBatch(_Indexed, total=False):
    """A batch of particles: a plain mapping of tensors with a leading batch axis.

    Temporal data deliver pairs of frames instead: every shape below then starts with (B, 2), the
    earlier frame first; `flatten_particles` makes single particles of them.

    What was observed is either images, or statistics of them in a subspace of K volumes: the
    likelihood of coefficients c, -½ cᵀ precision c + informationᵀ c up to a constant.

    Keys:
        images: Hartley transforms (B, L, L) with L = box size + 1, or real images (B, D, D).
        information: Information vectors, shape (B, K), in place of images.
        precision: Precision matrices, shape (B, K, K): how each particle was imaged.
        index: Row of each particle in its stack, shape (B,), int64.
        position: Place of each among the particles of a finished run, shape (B,), int64.
        rotation: Shape (B, 3, 3), as in `Pose`.
        translation: Shape (B, 2) in pixels, as in `Pose`.
        ctf: Shape (B, 9), cryoDRGN's columns: box size (px), pixel size (Å) at that box, defocus U
            and V (Å), defocus angle (degrees), voltage (kV), spherical aberration (mm), amplitude
            contrast, phase shift (degrees).
        ctf_scale, ctf_b_factor: Each particle's scale factor and B factor (Å²), shape (B,).
        ctf_applied: What was done to the images with their CTF, shape (B,), int64: 0 nothing, 1
            phases were flipped, 2 they were multiplied by it.
        time, trajectory, temperature: Shape (B,); temperature in kelvin.
        half: Half set of each particle, 0 or 1, shape (B,), int64.
        factors: True factors of variation of simulated particles, shape (B, F).
    """

    images: Tensor
    information: Tensor
    precision: Tensor
    position: Tensor
    rotation: Tensor
    translation: Tensor
    ctf: Tensor
    ctf_scale: Tensor
    ctf_b_factor: Tensor
    ctf_applied: Tensor
    time: Tensor
    trajectory: Tensor
    temperature: Tensor
    half: Tensor
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


def observation(batch: ParticleBatch) -> Tensor:
    """Takes what was observed of particles.

    Args:
        batch: Particles, or pairs.

    Returns:
        Their information vectors (..., K) where these are statistics, else their images
        (..., L, L).
    """
    return batch["information"] if "information" in batch else batch["images"]


def observed(batch: ParticleBatch, observation: Tensor, pose: Pose) -> ParticleBatch:
    """Gives a batch as it would be, had something else been observed of its particles.

    Args:
        batch: Particles, of images or of statistics.
        observation: Images or information vectors, as `observation` takes them.
        pose: Where they were recorded from; its translation replaces the batch's where it has one.

    Returns:
        A batch that shares the rest with ``batch``.

    Raises:
        ValueError: If the batch is one of statistics, and the pose has no precision.
    """
    seen: ParticleBatch = {**batch, "rotation": pose.rotation}
    if pose.translation is not None:
        seen["translation"] = pose.translation
    if "information" in batch:
        seen["information"], seen["precision"] = observation, known_precision(pose)
    else:
        seen["images"] = observation
    return seen


def known_precision(pose: Pose) -> Tensor:
    """Takes the precision of poses, which statistics need.

    Args:
        pose: Poses of particles that were really imaged.

    Returns:
        Precision matrices, shape (B, K, K).

    Raises:
        ValueError: If they have none.
    """
    if pose.precision is None:
        raise ValueError(
            "statistics exist only at the poses of imaged particles, and "
            "these poses have no precision: take other particles' poses "
            "(ShuffledPoses)"
        )
    return pose.precision

"""Pictures of what is inferred of particles: coloured, matched with factors, rotated."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from cryo_disentangle.adapters import AdaptedModel
from cryo_disentangle.drawing.latent_space import draw_correlations, draw_drift
from cryo_disentangle.drawing.reconstructions import draw_images, draw_latents
from cryo_disentangle.geometry.rotations import rotation_to_euler_zyz
from cryo_disentangle.imaging import shift_hartley
from cryo_disentangle.imaging.hartley import desymmetrize, inverse_hartley2
from cryo_disentangle.imaging.lattice import lattice_frequencies
from cryo_disentangle.judgement.inferred import InferredParticles, infer_particles
from cryo_disentangle.metrics.functional import rotate_particles
from cryo_disentangle.metrics.functional.correlation import matching, pearson_matrix
from cryo_disentangle.metrics.permutations import particle_pose
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import ParticleBatch, Pose

__all__ = [
    "draw_by_factor",
    "draw_by_pose",
    "draw_matching",
    "draw_reconstructions",
    "draw_rotated_images",
]

_ANGLES_DEG = np.arange(0, 360, 30)
_POSES = ("viewing direction: rot (°)", "viewing direction: tilt (°)", "in-plane angle: psi (°)")
_CYCLIC = (_POSES[0], _POSES[2])
# Angles that vary by less, in degrees, are one angle and make no picture.
_SAME_DEG = 0.1
_DEALS = 10


def draw_by_factor(rows: InferredParticles) -> Figure | None:
    """Draws conformations, coloured by true factors.

    Args:
        rows: What is inferred and known of N particles.

    Returns:
        The figure, or None without factors.
    """
    factors = rows.factors
    if factors is None:
        return None
    names = [f"true factor {k + 1}" for k in range(factors.shape[1])]
    return draw_latents(rows.mean.numpy(), factors.numpy(), names)


def draw_by_pose(rows: InferredParticles) -> Figure | None:
    """Draws conformations, coloured by those angles of the pose that vary.

    Args:
        rows: What is inferred and known of N particles.

    Returns:
        The figure, or None where no pose is known or none varies.
    """
    if rows.rotation is None:
        return None
    angles = rotation_to_euler_zyz(rows.rotation).numpy()
    varying = [k for k in range(3) if np.ptp(angles[:, k]) > _SAME_DEG]
    if not varying:
        return None
    names = [_POSES[k] for k in varying]
    title = "In a good latent space these colours are mixed"
    chosen = angles[:, varying]
    return draw_latents(rows.mean.numpy(), chosen, names, cyclic=_CYCLIC, title=title)


def draw_matching(rows: InferredParticles) -> Figure | None:
    """Draws the correlation of latents with true factors.

    Args:
        rows: What is inferred and known of N particles.

    Returns:
        The figure, or None without factors.
    """
    factors = rows.factors
    if factors is None:
        return None
    correlation = pearson_matrix(rows.mean, factors)
    pairs = list(zip(*(index.tolist() for index in matching(correlation.abs())), strict=True))
    names = [f"factor {k + 1}" for k in range(factors.shape[1])]
    return draw_correlations(correlation.numpy(), pairs, names, _chance(rows.mean, factors))


def _chance(latents: Tensor, factors: Tensor) -> float:
    """Mean correlation of the best matching where particles are dealt anew, mean of ten deals."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(_DEALS):
        order = torch.randperm(len(factors), generator=generator)
        strength = pearson_matrix(latents, factors[order]).abs()
        found.append(float(strength[matching(strength)].mean()))
    return math.fsum(found) / _DEALS


def draw_rotated_images(
    model: AdaptedModel, batches: list[ParticleBatch], rows: InferredParticles
) -> Figure:
    """Draws how far rotated particles' conformations move, in units of two particles' distance.

    Args:
        model: The model.
        batches: Particles to turn.
        rows: What is inferred of these and others.

    Returns:
        The figure.

    Raises:
        ValueError: If all conformations are the same.
    """
    start = infer_particles(model.infer, batches).mean.numpy()
    # Two particles differ by twice the variance in the mean square.
    chance = 2 * rows.mean.numpy().var(axis=0, dtype=np.float64)
    if not chance.sum() > 0:
        raise ValueError("the conformations of all particles are the same")
    squares = []
    for angle in _ANGLES_DEG:
        rotated = (rotate_particles(batch, float(angle)) for batch in batches)
        moved = infer_particles(model.infer, rotated).mean.numpy() - start
        squares.append(np.square(moved, dtype=np.float64).mean(axis=0))
    moved_squares = np.stack([*squares, squares[0]])
    each = np.sqrt(moved_squares / np.where(chance > 0, chance, np.inf))
    overall = np.sqrt(moved_squares.sum(axis=1) / chance.sum())
    # Two draws from one posterior differ by twice its variance.
    log_variance = rows.log_variance
    width = 0.0 if log_variance is None else 2 * float(log_variance.double().exp().mean(0).sum())
    posterior = math.sqrt(width / chance.sum())
    return draw_drift(np.append(_ANGLES_DEG, 360), each, overall, posterior)


@torch.no_grad()
def draw_reconstructions(
    model: LatentImageModel, batch: ParticleBatch, pixel_size: float | None
) -> Figure:
    """Draws particles, the model's images of them, and the residual.

    Args:
        model: The model.
        batch: A few single particles.
        pixel_size: Å per pixel for a scale bar; None draws none.

    Returns:
        The figure.

    Raises:
        ValueError: If the model infers no poses and the batch has none.
    """
    found = model.infer(batch)
    pose = Pose(particle_pose(found, batch).rotation)
    rendered = model.generate(found.mean, pose, batch)
    observed = batch["images"]
    if "translation" in batch and observed.shape[-1] % 2:
        frequencies = lattice_frequencies(observed.shape[-1] - 1).to(observed.device)
        moved = shift_hartley(observed.flatten(1), frequencies, batch["translation"])
        observed = moved.view_as(observed)
    first, second = (_real(images).float().cpu().numpy() for images in (observed, rendered))
    return draw_images(first, second, pixel_size)


def _real(images: Tensor) -> Tensor:
    """Real images; a Hartley transform is told by its odd side."""
    return inverse_hartley2(desymmetrize(images)) if images.shape[-1] % 2 else images

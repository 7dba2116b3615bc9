"""The rotation test of Edelberg and Lederman (2023): a rotated image shows the same molecule.

A particle image, its pose and its astigmatism are rotated together. Nothing about the conformation
has changed, so what is inferred of it shouldn't either. No ground truth is needed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.geometry import in_plane_rotation
from cryo_disentangle.imaging.hartley import desymmetrize, hartley2, inverse_hartley2, symmetrize
from cryo_disentangle.metrics.functional.codes import Array, check_columns
from cryo_disentangle.metrics.functional.pose_conformation import conformation_pose_invariance
from cryo_disentangle.metrics.functional.probes import Split, deal_rows, nonlinear_predictions
from cryo_disentangle.precision import exact, exact_dtype
from cryo_disentangle.types import ParticleBatch

__all__ = ["RotationScores", "rotate_images", "rotate_particles", "rotation_scores"]

# Particles among which each looks for its copy: the distances of all pairs are formed.
_MOST_CANDIDATES = 4096


def rotate_images(images: Tensor, angle_deg: float) -> Tensor:
    """Turns images about pixel D / 2 from the x axis (columns) towards the y axis (rows).

    Multiples of 90° move pixels and are exact. The rest, at most 45°, is three shears along rows
    and columns by Fourier interpolation, on a finer grid in a wider box, so that nothing folds
    over. What is lost is what reaches beyond the box or the Nyquist frequency: of Gaussians inside
    both nothing, of windowed white noise (64 pixels, 30° there and back) 2 % of the amplitude up
    to 3/4 of the Nyquist frequency and 5 % up to it. Corners that lay outside the box are zero.

    Args:
        images: Real images (B, D, D), D even, or symmetrised Hartley transforms (B, L, L),
            L = D + 1. These are distinguished by the parity of their side; the transform of a
            rotated image is the rotated transform.
        angle_deg: Angle in degrees.

    Returns:
        Rotated images, as ``images``: those of poses ``in_plane_rotation(angle) @ rotation``.

    Raises:
        ValueError: If the images are not square.

    References:
        Unser et al. 1995, Convolution-based interpolation for fast, high-quality rotation of
        images, Eq. 5: the three shears.
    """
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise ValueError(f"images must be square, shape (B, D, D), got {tuple(images.shape)}")
    quarters = round(angle_deg / 90)
    rest = math.radians(angle_deg - 90 * quarters)
    real = images.shape[-1] % 2 == 0
    # Pixel D / 2 is the middle of an odd grid only: an even one is wrapped around first.
    rotated = torch.rot90(symmetrize(images) if real else images, quarters, dims=(-1, -2))
    if not rest:
        return desymmetrize(rotated) if real else rotated
    if real:
        return _shear_thrice(desymmetrize(rotated), rest)
    rotated = _shear_thrice(inverse_hartley2(desymmetrize(rotated)), rest)
    return symmetrize(hartley2(rotated)).to(images.dtype)


def rotate_particles(batch: ParticleBatch, angle_deg: float) -> ParticleBatch:
    """Rotates particle images in their plane, with their metadata.

    Statistics do not change, because slices rotate with the image.

    Args:
        batch: Single particles; ``rotation`` becomes R_z(angle) R, ``translation`` R_z(angle) t,
            and the defocus angle of ``ctf`` grows by the angle, where present.
        angle_deg: Angle in degrees, from the x axis towards the y axis.

    Returns:
        The rotated batch; the rest is shared with ``batch``.

    Raises:
        ValueError: If the images are not square.
    """
    rotated = batch.copy()
    if "images" in batch:
        rotated["images"] = rotate_images(batch["images"], angle_deg)
    # Right angles are exact in float64 to the last digit that float32 has.
    turn = in_plane_rotation(torch.tensor(math.radians(angle_deg), dtype=torch.float64))
    device = batch["index"].device
    turn = turn.to(exact_dtype(device)).to(device)
    if "rotation" in batch:
        rotated["rotation"] = (turn @ exact(batch["rotation"])).to(batch["rotation"])
    if "translation" in batch:
        moved = exact(batch["translation"]) @ turn[:2, :2].T
        rotated["translation"] = moved.to(batch["translation"])
    if "ctf" in batch:
        ctf = batch["ctf"].clone()
        ctf[:, 4] += angle_deg
        rotated["ctf"] = ctf
    return rotated


def _shear_thrice(images: Tensor, angle: float) -> Tensor:
    """Turns real images (B, D, D) by at most 45 degrees, in radians."""
    side = images.shape[-1]
    wide = 2 * math.ceil(0.75 * side)
    fine = 2 * math.ceil(0.625 * wide)
    values = torch.nn.functional.pad(images, [(wide - side) // 2] * 4)
    values = _resample(values, fine)
    # Pixels from the middle: a shear's ratio has no unit, so the finer grid doesn't matter.
    offset = torch.arange(fine, device=images.device, dtype=values.dtype) - fine // 2
    frequencies = torch.fft.rfftfreq(fine, device=images.device, dtype=values.dtype)

    def shear(values: Tensor, ratio: float) -> Tensor:
        """Moves row y by ratio times y along x."""
        phase = -2 * math.pi * ratio * offset[:, None] * frequencies
        wave = torch.polar(torch.ones_like(phase), phase)
        return torch.fft.irfft(torch.fft.rfft(values) * wave, n=fine)

    slant, rise = -math.tan(angle / 2), math.sin(angle)
    values = shear(values, slant)
    values = shear(values.transpose(1, 2), rise).transpose(1, 2)
    values = _resample(shear(values, slant), wide)
    margin = (wide - side) // 2
    return values[:, margin : margin + side, margin : margin + side].to(images.dtype)


def _resample(images: Tensor, side: int) -> Tensor:
    """Fourier interpolation to another even side, intensities kept."""
    old = images.shape[-1]
    transform = hartley2(images)
    margin = abs(side - old) // 2
    if side > old:
        transform = torch.nn.functional.pad(transform, [margin] * 4)
    else:
        transform = transform[:, margin : margin + side, margin : margin + side]
    return inverse_hartley2(transform) * (side / old) ** 2


class RotationScores(NamedTuple):
    """Distances of latents between images and their rotated copies.

    All but the scores of axes are scalars.

    Attributes:
        raw: E |z - z'|², in the units of z squared.
        normalized: ``raw`` over 2 tr Cov: 0 invariant, 1 as far as another particle; 1 by
            definition for constant latents.
        icc: Intraclass correlation of each axis, shape (K,); 1 invariant, 0 for a constant axis.
        correlation: Pearson correlation of z_k and z'_k, shape (K,); 0 for a constant axis.
        retrieval_rank: Mean rank of a particle among the neighbours of its rotated copy, over the
            number of other particles: 0 always nearest, 0.5 chance.
        retrieval_rate: Fraction of rotated copies whose nearest neighbour is their particle.
        auc: Area under the ROC curve of a held-out classifier of z against z': 0.5 when rotated
            images can't be told from others.
        posterior_units: Mean of |z_k - z'_k| / σ_k, σ_k² the posterior's variance.
        noise_floor: What ``normalized`` would be if z' were drawn from the posterior of z:
            E Σ σ_k² over 2 tr Cov.
        collapsed: Whether the latents are constant, bool.
    """

    raw: Tensor
    normalized: Tensor
    icc: Tensor
    correlation: Tensor
    retrieval_rank: Tensor
    retrieval_rate: Tensor
    auc: Tensor
    posterior_units: Tensor
    noise_floor: Tensor
    collapsed: Tensor


def rotation_scores(
    z: Array, z_rotated: Array, log_variance: Array, *, seed: int = 0
) -> RotationScores:
    """Compares what is inferred of images and of their rotated copies.

    Args:
        z: Posterior means, shape (N, K), N at least 12.
        z_rotated: Those of the rotated images, same particles, shape (N, K).
        log_variance: Logarithm of the posteriors' variances, shape (N, K).
        seed: Of the classifier's split, and of the 4,096 particles that are ranked where there
            are more.

    Returns:
        The scores.

    Edge cases:
        Constant latents: normalised 1, rank 0.5, AUC 0.5, collapsed; never NaN.

    Raises:
        ValueError: If shapes differ, there are fewer than 12 rows, or a number is not finite.

    References:
        Edelberg and Lederman 2023, as cited by Klindt et al. 2024.
    """
    one = check_columns(z, "z", minimum=12)
    other = check_columns(z_rotated, "z_rotated", minimum=12).to(one.device)
    spread = check_columns(log_variance, "log_variance", minimum=12).to(one.device)
    if one.shape != other.shape or one.shape != spread.shape:
        raise ValueError(
            "z, z_rotated and log_variance must have one shape, got "
            f"{tuple(one.shape)}, {tuple(other.shape)} and {tuple(spread.shape)}"
        )
    invariance = conformation_pose_invariance(one, other)
    rank, rate = _retrieval(one, other, seed)
    chance = torch.cat([one, other]).var(0, correction=0).sum()
    floor = spread.exp().sum(1).mean() / (2 * chance)
    return RotationScores(
        raw=invariance.raw,
        normalized=invariance.normalized,
        icc=invariance.per_axis,
        correlation=_correlation(one, other),
        retrieval_rank=rank,
        retrieval_rate=rate,
        auc=_two_sample_auc(one, other, seed),
        posterior_units=((one - other).abs() * torch.exp(-0.5 * spread)).mean(),
        noise_floor=torch.where(invariance.collapsed, torch.ones_like(floor), floor),
        collapsed=invariance.collapsed,
    )


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson correlation of equal axes, 0 for constant ones."""
    a, b = one - one.mean(0), other - other.mean(0)
    constant = [x.square().mean(0) <= 1e-12 * y.square().mean(0) for x, y in ((a, one), (b, other))]
    norm = (a.square().sum(0) * b.square().sum(0)).sqrt()
    nothing = constant[0] | constant[1]
    return ((a * b).sum(0) / norm.masked_fill(nothing, 1.0)).masked_fill(nothing, 0.0)


def _retrieval(one: Tensor, other: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Normalised rank, and rate of being nearest; of equal distances half count as nearer."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(one), generator=generator)[:_MOST_CANDIDATES].to(one.device)
    one, other = one[rows], other[rows]
    ranks, rates = [], []
    for start in range(0, len(one), 512):
        copies = other[start : start + 512]
        # The faster matrix form loses the digits that tell a copy from its near neighbours.
        distance = torch.cdist(copies, one, compute_mode="donot_use_mm_for_euclid_dist")
        own = distance.diagonal(offset=start)[:, None]
        nearer = (distance < own).sum(1)
        ties = (distance == own).sum(1) - 1
        ranks.append(nearer + 0.5 * ties)
        rates.append((nearer == 0) / (1.0 + ties))
    others = len(one) - 1
    return torch.cat(ranks).double().mean() / others, torch.cat(rates).double().mean()


def _two_sample_auc(one: Tensor, other: Tensor, seed: int) -> Tensor:
    """AUC of telling rotated from unrotated; both copies of a particle on one side of the split."""
    count = len(one)
    pairs = deal_rows(count, seed=seed, device=one.device)
    split = Split(*(torch.cat([rows, rows + count]) for rows in pairs))
    labels = torch.cat([torch.zeros_like(one[:, :1]), torch.ones_like(one[:, :1])])
    answers = nonlinear_predictions(torch.cat([one, other]), labels, split, seed=seed)[:, 0]
    unrotated, rotated = answers.chunk(2)
    unrotated = unrotated.sort().values
    below = torch.searchsorted(unrotated, rotated)
    not_above = torch.searchsorted(unrotated, rotated, right=True)
    return (below + not_above).double().mean() / (2 * len(unrotated))

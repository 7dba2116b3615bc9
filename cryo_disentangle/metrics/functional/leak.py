"""What the conformation knows that is none of its business: pose, defocus, shift, time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.geometry.rotations import rotation_to_euler_zyz
from cryo_disentangle.metrics.functional.binning import bin_codes
from cryo_disentangle.metrics.functional.codes import Array, check_codes, check_columns
from cryo_disentangle.metrics.functional.gauge import check_poses
from cryo_disentangle.metrics.functional.information import mutual_information
from cryo_disentangle.metrics.functional.probes import (
    deal_rows,
    linear_predictions,
    nonlinear_predictions,
    r_squared,
)

__all__ = ["NuisanceLeakScores", "PoseLeakScores", "nuisance_leak", "pose_leak"]

# Fewer leave too few on either side of a split into fit and test.
_FEWEST = 12
# With fewer rows for each pair of bins the corrected information of independent columns is not 0.
_ROWS_PER_PAIR = 5


class NuisanceLeakScores(NamedTuple):
    """Shares of the latents' variance that a nuisance explains.

    Attributes:
        linear_r2: Held-out R² of each latent from the nuisance by least squares, shape (K,),
            clipped at 0.
        nonlinear_r2: The same by ridge regression on random Fourier features, shape (K,).
        mutual_information: Of each latent with each column of the nuisance in nats, shape (K, C),
            by equally filled bins, Miller-Madow corrected, clipped at 0.
    """

    linear_r2: Tensor
    nonlinear_r2: Tensor
    mutual_information: Tensor


class PoseLeakScores(NamedTuple):
    """Shares of the variance of latents and pose that either explains of the other.

    Attributes:
        linear_r2: Held-out R² of each latent from the 9 entries of the rotation by least squares,
            shape (K,), clipped at 0.
        nonlinear_r2: The same by ridge regression on random Fourier features, shape (K,).
        rotation_linear_r2: Held-out R² of the rotation's entries from the latents, mean over the
            entries, clipped at 0 one by one, shape ().
        rotation_nonlinear_r2: The same, not linear, shape ().
        mutual_information: Of each latent with RELION's angles rot, tilt and psi in nats, shape
            (K, 3), by equally filled bins, Miller-Madow corrected, clipped at 0.
    """

    linear_r2: Tensor
    nonlinear_r2: Tensor
    rotation_linear_r2: Tensor
    rotation_nonlinear_r2: Tensor
    mutual_information: Tensor


def pose_leak(z: Array, rotation: Array, *, bins: int = 20, seed: int = 0) -> PoseLeakScores:
    """Measures how well latents and poses predict each other.

    Everything is 0 for independent ones. R² is 1 - Σ(error)² / Σ(deviation)² on a third of the
    rows that was not fitted, and 0 where that is negative.

    Args:
        z: Latents, shape (N, K), N at least 12.
        rotation: Rotations (N, 3, 3), or angles in radians (N,) for poses on SO(2).
        bins: Bins of each latent and of each angle; fewer where there are not five rows for each
            pair of bins.
        seed: Of the split (at most 10,000 rows take part in R²) and of the random features.

    Returns:
        The scores.

    Edge cases:
        A constant latent and a constant pose leak nothing: 0. Fewer than 20 rows have one bin and
        no mutual information.

    Raises:
        ValueError: If lengths differ, there are fewer than 12 rows, or a number is not finite.

    References:
        Miller 1955, for the correction; ``rotation_to_euler_zyz``, for the angles.
    """
    matrices = check_poses(rotation, "rotation")
    code, entries = check_codes(z, matrices.flatten(1), minimum=_FEWEST)
    angles = torch.deg2rad(rotation_to_euler_zyz(matrices.to(code.device)))
    bins = _affordable(bins, len(code))
    # Wrapping leaves tilt, from 0 to π, as it is.
    labels = bin_codes(angles, bins, circular=True)
    linear, nonlinear = _held_out(entries, code, seed)
    reverse_linear, reverse_nonlinear = _held_out(code, entries, seed)
    return PoseLeakScores(
        linear,
        nonlinear,
        reverse_linear.mean(),
        reverse_nonlinear.mean(),
        _information(bin_codes(code, bins), labels),
    )


def nuisance_leak(
    z: Array, columns: Mapping[str, Array], *, bins: int = 20, seed: int = 0
) -> dict[str, NuisanceLeakScores]:
    """Measures how well latents and defocus, shift, time or anything else predict each other.

    Args:
        z: Latents, shape (N, K), N at least 12.
        columns: Named nuisances of the same particles, each (N,) or (N, C).
        bins: Bins of each latent and of each column, as in `pose_leak`.
        seed: As in `pose_leak`.

    Returns:
        The scores of each nuisance, under its name.

    Edge cases:
        As in `pose_leak`; a constant nuisance explains nothing: 0.

    Raises:
        ValueError: If lengths differ, there are fewer than 12 rows, or a number is not finite.
    """
    code = check_columns(z, "z", minimum=_FEWEST)
    bins = _affordable(bins, len(code))
    labels = bin_codes(code, bins)
    scores = {}
    for name, column in columns.items():
        nuisance = check_columns(column, name, minimum=_FEWEST).to(code.device)
        if len(nuisance) != len(code):
            raise ValueError(
                f"z and {name} must have as many samples, got {len(code)} and {len(nuisance)}"
            )
        linear, nonlinear = _held_out(nuisance, code, seed)
        information = _information(labels, bin_codes(nuisance, bins))
        scores[name] = NuisanceLeakScores(linear, nonlinear, information)
    return scores


def _held_out(x: Tensor, y: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """R² of each column of y from x, linear and not."""
    split = deal_rows(len(x), seed=seed, device=x.device)
    truth = y[split.test]
    return (
        r_squared(truth, linear_predictions(x, y, split)),
        r_squared(truth, nonlinear_predictions(x, y, split, seed=seed)),
    )


def _affordable(bins: int, rows: int) -> int:
    return max(1, min(bins, math.isqrt(rows // _ROWS_PER_PAIR)))


def _information(codes: Tensor, nuisances: Tensor) -> Tensor:
    return mutual_information(codes, nuisances, miller_madow=True).clamp(min=0)

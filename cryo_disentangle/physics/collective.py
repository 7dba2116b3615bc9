"""Collective coordinates of frames: hinge angles, principal and time-lagged components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import roma
import torch
from scipy.linalg import eigh

__all__ = [
    "HINGES",
    "LinearCoordinates",
    "hinge_angles",
    "independent_components",
    "principal_components",
    "superposed",
]

Array = npt.NDArray[np.floating]
HINGES = ("NMP", "LID")
# First and last residue, from 1, of the three groups whose centres make each angle.
_GROUPS = (((115, 125), (90, 100), (35, 55)), ((179, 185), (115, 125), (125, 153)))


class LinearCoordinates(NamedTuple):
    """Linear coordinates of features.

    Attributes:
        mean: Of the features, shape (F,).
        axes: Coordinates are (features - mean) @ axes, shape (F, K).
        strength: Variance along each principal component, or autocorrelation of each time-lagged
            component, in falling order, shape (K,).
    """

    mean: Array
    axes: Array
    strength: Array

    def __call__(self, features: Array) -> Array:
        """Projects features.

        Args:
            features: Shape (..., F).

        Returns:
            Coordinates, shape (..., K).
        """
        found: Array = (features - self.mean) @ self.axes
        return found


def hinge_angles(positions: Array) -> Array:
    """Measures how far NMP and LID are open.

    Angles between the centres of the Cα atoms of three groups of residues, at the middle one: NMP
    115-125, 90-100, 35-55; LID 179-185, 115-125, 125-153.

    Args:
        positions: Cα atoms of the 214 residues in order, shape (..., 214, 3).

    Returns:
        NMP and LID angle in degrees, shape (..., 2).

    References:
        Beckstein, Denning, Perilla and Woolf 2009, J. Mol. Biol. 394:160.
    """
    found = []
    for groups in _GROUPS:
        one, middle, other = (positions[..., a - 1 : b, :].mean(-2) for a, b in groups)
        first, second = one - middle, other - middle
        lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
        cosine = (first * second).sum(-1) / lengths
        found.append(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
    return np.stack(found, axis=-1)


def superposed(positions: Array, reference: Array, rows: npt.NDArray[np.bool_]) -> Array:
    """Moves frames onto a reference, each as a rigid body.

    Args:
        positions: Shape (N, R, 3).
        reference: Shape (R, 3).
        rows: Points that are superposed, shape (R,).

    Returns:
        Moved frames, shape (N, R, 3).

    References:
        Kabsch 1976, Acta Cryst. A32:922.
    """
    centre = positions[:, rows].mean(1, keepdims=True)
    target = reference[rows] - reference[rows].mean(0)
    product = np.einsum("ri,nrj->nij", target, positions[:, rows] - centre)
    rotation = roma.special_procrustes(torch.from_numpy(product)).numpy()
    turned: Array = (positions - centre) @ rotation.mT + reference[rows].mean(0)
    return turned


def principal_components(features: Array, count: int) -> LinearCoordinates:
    """Finds the directions of largest variance.

    Args:
        features: Shape (N, F).
        count: Number of components K.

    Returns:
        Coordinates in the features' unit.
    """
    mean = features.mean(0)
    centred = (features - mean).astype(np.float64)
    size = features.shape[1]
    covariance = centred.T @ centred / len(features)
    values, vectors = eigh(covariance, subset_by_index=(size - count, size - 1))
    return LinearCoordinates(mean, vectors[:, ::-1], values[::-1])


def independent_components(runs: Sequence[Array], lag: int, count: int) -> LinearCoordinates:
    """Finds the linear coordinates whose autocorrelation at a lag is largest.

    Correlations are symmetrised, as dynamics at equilibrium are reversible.

    Args:
        runs: Features of each run in the order of time, shapes (N, F); K at most F.
        lag: In frames.
        count: Number of components K.

    Returns:
        Coordinates of unit variance.

    Raises:
        ValueError: If no run is longer than the lag.

    References:
        Pérez-Hernández et al. 2013, J. Chem. Phys. 139:015102 (TICA).
    """
    ends = [(run[:-lag], run[lag:]) for run in runs if len(run) > lag]
    if not ends:
        raise ValueError(f"runs longer than the lag of {lag} frames expected, found none")
    first, second = (np.concatenate(part).astype(np.float64) for part in zip(*ends, strict=True))
    mean = (first.mean(0) + second.mean(0)) / 2
    first, second = first - mean, second - mean
    at_once = first.T @ first + second.T @ second
    lagged = first.T @ second + second.T @ first
    size = len(mean)
    values, vectors = eigh(lagged, at_once, subset_by_index=(size - count, size - 1))
    scale = np.sqrt(2 * len(first))
    return LinearCoordinates(mean, vectors[:, ::-1] * scale, values[::-1])

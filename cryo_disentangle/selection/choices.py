"""Sets of particles in a latent space: clusters, ranges, neighbours, outliers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from cryo_disentangle.judgement.particle_groups import neighbour_distances

__all__ = ["cluster_labels", "in_range", "nearest_to_path", "outlier_scores"]

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]


def cluster_labels(
    latents: Array, count: int, method: Literal["kmeans", "mixture"] = "kmeans", seed: int = 0
) -> npt.NDArray[np.int64]:
    """Divides particles into clusters, numbered from the largest to the smallest.

    Args:
        latents: Shape (N, Z).
        count: Number of clusters.
        method: ``kmeans``, or ``mixture`` of normal distributions with full covariances.
        seed: Of the first centres.

    Returns:
        Cluster of each particle, 0 the largest, shape (N,).

    Raises:
        ValueError: If there are fewer particles than clusters, or ``count`` is not positive.
    """
    if not 1 <= count <= len(latents):
        raise ValueError(f"{len(latents)} particles cannot be divided into {count} clusters")
    model = (
        KMeans(count, n_init=4, random_state=seed)
        if method == "kmeans"
        else GaussianMixture(count, n_init=2, random_state=seed)
    )
    found = np.asarray(model.fit_predict(latents))
    sizes = np.bincount(found, minlength=count)
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(count)
    labels: npt.NDArray[np.int64] = rank[found]
    return labels


def in_range(values: Array, low: float, high: float) -> BoolArray:
    """Chooses particles by a coordinate.

    Args:
        values: One coordinate, shape (N,).
        low: Smallest value, or -inf.
        high: Largest value, or inf.

    Returns:
        Shape (N,).

    Raises:
        ValueError: If the range is empty.
    """
    if not low <= high:
        raise ValueError(
            f"a range goes from a smaller to a larger value, found {low:g} to {high:g}"
        )
    return (values >= low) & (values <= high)


def nearest_to_path(latents: Array, path: Array, count: int) -> BoolArray:
    """Chooses the particles nearest to a point or to a path of straight pieces.

    Args:
        latents: Shape (N, Z).
        path: Points, shape (P, Z); a single one is a point.
        count: Number of particles.

    Returns:
        Shape (N,), ``count`` of them true.

    Raises:
        ValueError: If the points have another dimension, or ``count`` is not within 1 and N.
    """
    path = np.atleast_2d(path)
    if path.shape[1] != latents.shape[1]:
        raise ValueError(
            f"a point has {latents.shape[1]} coordinates as latents have, found {path.shape[1]}"
        )
    if not 1 <= count <= len(latents):
        raise ValueError(f"between 1 and {len(latents)} particles can be chosen, found {count}")
    distance = np.square(latents - path[0]).sum(1)
    for begin, end in pairwise(path):
        step = end - begin
        length = float(step @ step)
        along = ((latents - begin) @ step / length).clip(0, 1) if length else np.zeros(len(latents))
        foot = begin + along[:, None] * step
        distance = np.minimum(distance, np.square(latents - foot).sum(1))
    chosen = np.zeros(len(latents), dtype=bool)
    chosen[np.argpartition(distance, count - 1)[:count]] = True
    return chosen


def outlier_scores(latents: Array) -> Array:
    """Computes how far each particle lies from others.

    The distance to the tenth neighbour, of latents in units of their spread, over its median.

    Args:
        latents: Shape (N, Z).

    Returns:
        Scores, about 1 for most particles, shape (N,).

    Raises:
        ValueError: If there are fewer than three particles.
    """
    spread = latents.std(0)
    scaled = (latents - latents.mean(0)) / np.where(spread > 0, spread, 1)
    return neighbour_distances(scaled, scaled, own=True)

"""What latents alone say: peaks, outliers, dimensions; and whether groups of particles differ."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.particle_scores import evenly
from cryo_disentangle.judgement.scores import Measurement, Score
from cryo_disentangle.metrics.functional.dip import dip_test
from cryo_disentangle.metrics.functional.group_leak import (
    GroupLeakScores,
    group_leak,
    view_group_leak,
)
from cryo_disentangle.networks import LinearReadout

__all__ = ["measure_groups", "measure_shape", "neighbour_distances"]

_PEAK_AXES, _NEIGHBOURS, _TREE_AXES = 3, 10, 4
_ROWS = 5_000
# A distance this many times the largest among as many normal latents is an outlier's.
_FAR, _NULL_DRAWS = 1.5, 3

Array = npt.NDArray[np.floating]


def measure_groups(
    found: Measurement,
    particles: InferredParticles,
    groups: Mapping[str, npt.NDArray[np.int64]],
) -> None:
    """Measures whether z differs between views, angles in the plane and named groups.

    Args:
        found: Gets the group ``group_leak``: of each name ``share`` of the variance of z between
            groups, of the latent that differs most, and ``p_value``.
        particles: All particles.
        groups: Group of each particle, shape (N,), by name.
    """
    leaks: dict[str, GroupLeakScores] = {}
    with found.attempt("group_leak"):
        if particles.rotation is not None:
            leaks |= view_group_leak(particles.mean, particles.rotation)
        leaks |= {name: group_leak(particles.mean, values) for name, values in groups.items()}
    for name, leak in leaks.items():
        scores = {f"{name}_share": leak.share.max(), f"{name}_p_value": leak.p_value.min()}
        found.keep("group_leak", scores)


def measure_shape(found: Measurement, particles: InferredParticles) -> None:
    """Measures how many dimensions z fills, whether it has several peaks, and outliers.

    Args:
        found: Gets the group ``shape``: ``participation_ratio`` of the eigenvalues of z's
            covariance, ``peaks_p_value`` of one peak along the first principal axes, corrected for
            their number, ``outlier_share`` and ``outlier_distance``, the largest distance to the
            tenth neighbour over that among as many normal latents.
        particles: All particles.
    """
    mean = particles.mean.double()
    eigenvalues = torch.linalg.eigvalsh(torch.atleast_2d(mean.T.cov())).clamp(min=0)
    if not float(eigenvalues.sum()) > 0:
        found.missing["shape"] = "the conformations of all particles are the same"
        return
    ratio = eigenvalues.sum().square() / eigenvalues.square().sum()
    found.keep("shape", {"participation_ratio": ratio})
    components = LinearReadout.pca(particles.mean)(particles.mean)
    with found.attempt("peaks"):
        axes = components[:, :_PEAK_AXES].unbind(1)
        dips = [dip_test(axis) for axis in axes]
        found.components["pca_dip_p_value"] = [dip.p_value for dip in dips]
        least = min(1.0, len(axes) * min(dip.p_value for dip in dips))
        found.scores["shape"]["peaks_p_value"] = Score(least)
        _measure_clusters(found, particles)
    with found.attempt("outliers"):
        sample = _standardized(mean[evenly(len(mean), _ROWS)].numpy())
        distances = neighbour_distances(sample, sample, own=True)
        limit = _largest_by_chance(*sample.shape)
        found.scores["shape"] |= {
            "outlier_share": Score(float((distances > _FAR * limit).mean())),
            "outlier_distance": Score(float(distances.max() / limit)),
        }


def neighbour_distances(points: Array, others: Array, *, own: bool) -> Array:
    """Distances to the tenth neighbour, over their median.

    Args:
        points: Shape (N, Z).
        others: Among which neighbours are, shape (M, Z).
        own: Whether the points are among the others.

    Returns:
        Shape (N,), about 1 for most.

    Raises:
        ValueError: If there are fewer than three others.
    """
    if len(others) < 3:
        raise ValueError(f"outliers need at least three particles, found {len(others)}")
    count = min(_NEIGHBOURS, len(others) - 1) + own
    # Trees are slow where there are many coordinates.
    method = "auto" if others.shape[1] <= _TREE_AXES else "brute"
    nearest = NearestNeighbors(n_neighbors=count, algorithm=method).fit(others)
    furthest = nearest.kneighbors(points)[0][:, -1]
    middle = float(np.median(furthest))
    return np.asarray(furthest / (middle if middle > 0 else 1.0))


def _largest_by_chance(count: int, width: int) -> float:
    """Largest distance among as many normal latents, the median of three draws."""
    generator = np.random.default_rng(0)
    draws = (generator.normal(size=(count, width)) for _ in range(_NULL_DRAWS))
    return float(np.median([neighbour_distances(z, z, own=True).max() for z in draws]))


def _standardized(z: Array) -> Array:
    """Columns over their interquartile range, which outliers leave as it is."""
    low, middle, high = np.quantile(z, (0.25, 0.5, 0.75), axis=0)
    width = np.where(high > low, high - low, np.inf)
    return np.asarray((z - middle) / width)


def _measure_clusters(found: Measurement, particles: InferredParticles) -> None:
    """Whether the two halves that z falls into are views."""
    if particles.rotation is None:
        return
    labels = _halves(particles.mean)
    leak = view_group_leak(labels.double(), particles.rotation)["view"]
    found.keep("shape", {"clusters_view_share": leak.share[0], "clusters_view_p": leak.p_value[0]})


def _halves(z: Tensor) -> Tensor:
    """Divides particles into two clusters."""
    some = z[evenly(len(z), _ROWS)].numpy()
    model = KMeans(2, n_init=4, random_state=0).fit(some)
    return torch.from_numpy(np.asarray(model.predict(z.numpy())))

"""Neighbourhoods: whether samples that are near in latents are near in factors.

Both measures ask nothing of the axes: rotated latents, or latents more than factors, lose nothing.
Distances are Euclidean in the columns as given: bring factors of different units to one scale
before (`codes.standardize`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.codes import Array, check_codes

__all__ = ["InformationImbalanceScores", "information_imbalance", "neighbourhood_similarity"]

# Distances held at once: 64 MiB of float64.
_DISTANCES_AT_ONCE = 1 << 23


class InformationImbalanceScores(NamedTuple):
    """Information imbalance in both directions, all scalars.

    Attributes:
        latents_to_factors: Δ(z → f): about 0 if the nearest in latents are the nearest in factors,
            1 if latents contain no information on factors.
        factors_to_latents: Δ(f → z): near 1 if latents vary with something that is no factor.
    """

    latents_to_factors: Tensor
    factors_to_latents: Tensor


def neighbourhood_similarity(
    z: Array, factors: Array, *, k: int = 20, max_samples: int = 2_000, seed: int = 0
) -> Tensor:
    """Share of a sample's nearest neighbours in latents that are its nearest in factors.

    NS(k) = mean over samples i of |N_k(z_i) ∩ N_k(f_i)| / k, where N_k are the k nearest other
    samples. Chance is k / (n - 1) among n samples: compare scores of the same k and n only.
    CryoBench plots it over k from 1 % to 20 % of the samples (and counts a sample as its own
    neighbour); the default is 1 % of the default number of samples.

    Edge cases: among equally distant samples any choice is as good, and the expected share under
    random choice counts, so that constant latents score chance, and nothing depends on the order
    of samples. Unused latents of small scale cost little, of large scale all. Duplicate latents or
    factors weigh that axis double. Latents fewer than factors find what neighbours they can.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).
        k: Number of neighbours, less than the number of samples.
        max_samples: Of more samples so many are drawn; memory and time grow with their square.
        seed: Seeds the draw.

    Returns:
        Scalar in [0, 1], float64; 1 if all neighbours agree.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples, or ``k`` is not
            between 1 and the number of samples less one.

    References:
        Jeon et al., CryoBench, NeurIPS 2024 (arXiv 2408.05526), section 4; Boggust, Carter and
        Satyanarayan, Embedding comparator, IUI 2022.
    """
    latents, truth = _draw(z, factors, k, max_samples, seed)
    shared = [(_neighbours(a, k) * _neighbours(b, k)).sum(1) for a, b in _distances(latents, truth)]
    return torch.cat(shared).mean() / k


def information_imbalance(
    z: Array, factors: Array, *, k: int = 1, max_samples: int = 2_000, seed: int = 0
) -> InformationImbalanceScores:
    """Information imbalance between latents and factors.

    Δ(A → B) = 2/n · <r_B | r_A ≤ k>: the mean rank, by distance in space B, of the k nearest
    neighbours in space A, over the mean rank of a random sample, n/2. Rank 1 is the nearest other
    sample, so that the least value is (k + 1)/n.

    Edge cases: equally distant samples share their mean rank, and equally near neighbours count by
    equal parts, so that constant latents give 1 both ways, and nothing depends on the order of
    samples. Unused latents, and latents fewer than factors, raise one of the two. Duplicate latents
    or factors weigh that axis double.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).
        k: Number of neighbours, less than the number of samples.
        max_samples: Of more samples so many are drawn; memory and time grow with their square.
        seed: Seeds the draw.

    Returns:
        Both directions, float64 scalars, about 0 (all) to 1 (nothing).

    Raises:
        ValueError: If the arrays are no finite columns of the same samples, or ``k`` is not
            between 1 and the number of samples less one.

    References:
        Glielmo, Zeni, Cheng, Csányi and Laio, Ranking the information content of distance
        measures, PNAS Nexus 1, pgac039, 2022, equation 2.
    """
    latents, truth = _draw(z, factors, k, max_samples, seed)
    forward, backward = [], []
    for a, b in _distances(latents, truth):
        forward.append(_rank_sums(_neighbours(a, k), b))
        backward.append(_rank_sums(_neighbours(b, k), a))
    scale = 2 / (len(latents) * k)
    return InformationImbalanceScores(
        latents_to_factors=scale * torch.cat(forward).mean(),
        factors_to_latents=scale * torch.cat(backward).mean(),
    )


def _draw(z: Array, factors: Array, k: int, max_samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """At most so many samples, in their order."""
    latents, truth = check_codes(z, factors)
    order = torch.randperm(len(latents), generator=torch.Generator().manual_seed(seed))
    rows = order[:max_samples].sort().values
    if not 0 < k < len(rows):
        raise ValueError(f"k must be at least 1 and less than {len(rows)} samples, got {k}")
    return latents[rows], truth[rows]


def _distances(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Distances to all samples in both spaces, infinite to itself, some rows (R, N) at a time."""
    samples = len(a)
    for rows in torch.arange(samples).split(max(1, _DISTANCES_AT_ONCE // samples)):
        here = torch.arange(len(rows))
        both = []
        for x in (a, b):
            # The faster way by matrix products would part what is equally far.
            distance = torch.cdist(x[rows], x, compute_mode="donot_use_mm_for_euclid_dist")
            distance[here, rows] = torch.inf
            both.append(distance)
        yield both[0], both[1]


def _neighbours(distance: Tensor, k: int) -> Tensor:
    """How surely each sample is among the k nearest, shape (R, N); rows sum to k."""
    farthest = distance.kthvalue(k, dim=1, keepdim=True).values
    nearer, as_far = distance < farthest, distance == farthest
    part = (k - nearer.sum(1, keepdim=True)).double() / as_far.sum(1, keepdim=True)
    return nearer + as_far * part


def _rank_sums(weights: Tensor, distance: Tensor) -> Tensor:
    """Sums of weight times rank by distance, from 1, equal ones sharing their mean, shape (R,)."""
    weighted = weights.topk(int((weights > 0).sum(1).max()), dim=1)
    wanted = distance.gather(1, weighted.indices)
    ordered = distance.sort(dim=1).values
    below = torch.searchsorted(ordered, wanted)
    ranks = (below + torch.searchsorted(ordered, wanted, right=True) + 1).double() / 2
    return (weighted.values * ranks).sum(1)

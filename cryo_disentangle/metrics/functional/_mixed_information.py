"""Mutual information of a continuous number and a class, by nearest neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["mixed_information"]


def mixed_information(x: Tensor, labels: Tensor, neighbors: int) -> Tensor:
    """Estimates the mutual information of a continuous variable and a class.

    I = max(0, ψ(N) + <ψ(k_i)> - <ψ(n_i)> - <ψ(m_i)>): n_i samples are of the class of sample i, the
    k_i-th nearest of them (k_i = min(neighbors, n_i - 1)) is at distance r_i, and m_i samples of
    any class are nearer than r_i, i itself among them. Samples alone in their class are left out.
    In one dimension sorting finds all neighbours.

    Args:
        x: Distinct numbers, shape (N,), float64 (equal numbers have no nearest neighbour).
        labels: Classes, shape (N,), int64, from 0.
        neighbors: Number of neighbours k, at least 1.

    Returns:
        Mutual information in nats, scalar; 0 if no class has two samples.

    References:
        Ross, Mutual information between discrete and continuous data sets, PLoS ONE 9, e87357,
        2014; Kraskov, Stögbauer and Grassberger, Physical Review E 69, 066138, 2004.
    """
    many = labels.bincount()[labels] > 1
    ordered, order = x[many].sort()
    if len(ordered) == 0:
        return x.new_zeros(())
    classes, by_class = labels[many][order].sort(stable=True)
    sizes = classes.bincount()
    size = sizes[classes]
    start = (sizes.cumsum(0) - sizes)[classes]
    values = ordered[by_class]
    k = (size - 1).clamp(max=neighbors)
    radius = _neighbor_distances(values, start, size, k)
    nearer = _count_below(ordered, values, radius) + _count_below(-ordered.flip(0), -values, radius)
    m = nearer - 1  # the sample itself is on both sides
    n = torch.tensor(float(len(ordered)), dtype=x.dtype, device=x.device)
    psi = torch.digamma
    information = psi(n) + (psi(k.to(x)) - psi(size.to(x)) - psi(m.to(x))).mean()
    return information.clamp(min=0)


def _neighbor_distances(values: Tensor, start: Tensor, size: Tensor, k: Tensor) -> Tensor:
    """Distance to the k-th nearest of the same class; classes in turn, ascending within each."""
    here = torch.arange(len(values), device=values.device)
    nearest = torch.full_like(values, torch.inf)
    for below in range(int(k.max()) + 1):
        # The k nearest are neighbours in order: some below, the others above.
        low, high = here - below, here - below + k
        inside = (low >= start) & (high < start + size) & (below <= k)
        low, high = (torch.where(inside, end, here) for end in (low, high))
        reach = torch.maximum(values - values[low], values[high] - values)
        nearest = torch.where(inside, torch.minimum(nearest, reach), nearest)
    return nearest


def _count_below(ordered: Tensor, values: Tensor, radius: Tensor) -> Tensor:
    """Numbers how many of ``ordered`` are at most ``values`` and nearer than ``radius``.

    Distances are compared as they were computed, because the ends are distances of neighbours.
    """
    end = torch.searchsorted(ordered, values, right=True)
    low, high = torch.zeros_like(end), end.clone()
    while bool((low < high).any()):
        middle = (low + high) // 2
        near = values - ordered[middle.clamp(max=len(ordered) - 1)] < radius
        open_ = low < high
        high = torch.where(open_ & near, middle, high)
        low = torch.where(open_ & ~near, middle + 1, low)
    return end - low

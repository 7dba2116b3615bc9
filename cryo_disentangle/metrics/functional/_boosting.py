"""Gradient-boosted regression trees on histograms, for all factors at once.

Small trees on binned latents, grown level by level with the squared loss: the probe of DCI. It is
written here because scikit-learn's histogram booster keeps its gains private. That booster, one
model a factor, gives the same R² within 0.003 and the same gains within 0.002 in half the time
(5 factors, 10 latents, 6,000 samples: 0.4 s, this one 0.8 s).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Boosted", "boosted_regression"]

# The defaults of the published probe: 100 trees of depth 3, shrunk to a tenth.
_TREES = 100
_DEPTH = 3
_LEARNING_RATE = 0.1
# Finer bins and smaller leaves fit noise without telling more of smooth dependences.
_BINS = 64
_LEAF_SAMPLES = 20


class Boosted(NamedTuple):
    """Fitted ensemble of boosted trees.

    Attributes:
        gain: Fall of the squared error by splits on each latent, shape (K, D), each column summing
            to 1, or to 0 where no split helped.
        prediction: Predicted factors of the test rows, shape (N_test, D).
    """

    gain: Tensor
    prediction: Tensor


class _Split(NamedTuple):
    """The best split of each node: shapes (D, nodes)."""

    feature: Tensor
    threshold: Tensor  # bins up to this one go left; the last bin where no split helps
    gain: Tensor


def boosted_regression(x_train: Tensor, y_train: Tensor, x_test: Tensor) -> Boosted:
    """Fits one boosted ensemble a factor.

    Friedman's least-squares boosting (Annals of Statistics 29, 2001, algorithm 2) with trees on
    equally filled bins. Only the order of each latent matters. Ties between splits go to the first
    latent and the lowest bin, so that the result is a function of the data.

    Args:
        x_train: Latents, shape (N, K), float64, on the CPU.
        y_train: Factors, shape (N, D), float64.
        x_test: Latents to predict from, shape (N_test, K), float64.

    Returns:
        Gains and predictions.
    """
    edges = _bin_edges(x_train)
    train, test = (torch.searchsorted(edges, x.T.contiguous()) for x in (x_train, x_test))
    mean = y_train.mean(0)[:, None]
    residual = y_train.T - mean
    prediction = mean.repeat(1, len(x_test))
    gain = torch.zeros(len(residual), len(train), dtype=torch.float64)
    floor = 1e-12 * residual.square().sum(1, keepdim=True)  # below: rounding
    for _ in range(_TREES):
        node, test_node = (
            torch.zeros(len(residual), rows.shape[1], dtype=torch.int64) for rows in (train, test)
        )
        for level in range(_DEPTH):
            split = _best_splits(*_histograms(train, node, residual, 2**level), floor)
            gain.scatter_add_(1, split.feature, split.gain)
            node, test_node = _descend(train, node, split), _descend(test, test_node, split)
        leaves = _LEARNING_RATE * _leaf_means(node, residual)
        residual = residual - leaves.gather(1, node)
        prediction += leaves.gather(1, test_node)
    total = gain.sum(1, keepdim=True)
    shares = torch.where(total > 0, gain / total, 0.0)
    return Boosted(gain=shares.T.contiguous(), prediction=prediction.T.contiguous())


def _bin_edges(x: Tensor) -> Tensor:
    """Upper edges of equally filled bins, shape (K, bins - 1)."""
    ranks = torch.arange(1, _BINS) * len(x) // _BINS
    return x.sort(0).values[ranks].T.contiguous()


def _node_offsets(node: Tensor, nodes: int) -> Tensor:
    """Numbers the nodes of all factors' trees in one row, shape (D, N)."""
    return node + nodes * torch.arange(len(node))[:, None]


def _histograms(bins: Tensor, node: Tensor, residual: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """Sums of residuals and counts of rows up to each bin, shapes (K, D, nodes, bins)."""
    start = _node_offsets(node, nodes) * _BINS
    size = len(node) * nodes * _BINS
    weights = residual.flatten()
    cells = [(start + column).flatten() for column in bins]
    sums = torch.stack([torch.bincount(cell, weights, size) for cell in cells])
    counts = torch.stack([torch.bincount(cell, minlength=size) for cell in cells])
    shape = (len(bins), len(node), nodes, _BINS)
    return sums.view(shape).cumsum(-1), counts.view(shape).cumsum(-1)


def _best_splits(left_sum: Tensor, left_count: Tensor, floor: Tensor) -> _Split:
    """Finds the split of each node that lowers the squared error most."""
    total, count = left_sum[..., -1:], left_count[..., -1:]
    right_count = count - left_count
    gain = (
        left_sum.square() / left_count.clamp(min=1)
        + (total - left_sum).square() / right_count.clamp(min=1)
        - total.square() / count.clamp(min=1)
    )
    small = (left_count < _LEAF_SAMPLES) | (right_count < _LEAF_SAMPLES)
    gain, cell = gain.masked_fill(small, 0.0).permute(1, 2, 0, 3).flatten(2).max(-1)
    helps = gain > floor
    return _Split(
        feature=cell // _BINS,
        threshold=torch.where(helps, cell % _BINS, _BINS - 1),
        gain=torch.where(helps, gain, 0.0),
    )


def _descend(bins: Tensor, node: Tensor, split: _Split) -> Tensor:
    """Sends each row to a child of its node, shape (D, N)."""
    value = bins.gather(0, split.feature.gather(1, node))
    return 2 * node + (value > split.threshold.gather(1, node))


def _leaf_means(node: Tensor, residual: Tensor) -> Tensor:
    """Mean residual of each leaf, 0 for an empty one, shape (D, leaves)."""
    leaves = 2**_DEPTH
    leaf = _node_offsets(node, leaves).flatten()
    size = len(node) * leaves
    sums = torch.bincount(leaf, residual.flatten(), size)
    counts = torch.bincount(leaf, minlength=size)
    return (sums / counts.clamp(min=1)).view(-1, leaves)

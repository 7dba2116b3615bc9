"""A multilayer perceptron over millions of points on a CPU, at nearly the matrix-product rate.

Plain autograd spends much of its time at small widths on moving activations: every operation
writes a fresh array that no longer fits a cache. Here a few thousand points at a time go through
all layers in place, forwards and backwards, so that a layer finds its input where the last one left
it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["chunked_mlp"]

# Rows at a time: large enough for full-speed matrix products, small enough for a core's cache.
_CHUNK_ELEMENTS = 2**19
_CHUNK_ROWS_AT_LEAST = 1024


def chunked_mlp(
    features: Tensor,
    offset: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    negative_slope: float,
) -> Tensor:
    """Evaluates h_1 = act(W_0 x + offset), h_{i+1} = act(W_i h_i + b_i), ..., W_n h_n + b_n.

    Args:
        features: x, shape (B, P, F).
        offset: Offset of the first layer, one an item, shape (B, W).
        weights: W_0 .. W_n, each (out, in).
        biases: b_1 .. b_n, each (out,).
        negative_slope: Slope of the activation below zero; 0 is ReLU.

    Returns:
        Shape (B, P, out).
    """
    if torch.is_grad_enabled():
        output: Tensor = _ChunkedMLP.apply(  # type: ignore[no-untyped-call]
            features, offset, negative_slope, len(weights), *weights, *biases
        )
        return output
    return _forward(features, offset, weights, biases, negative_slope, keep=False)[0]


def _chunks(features: Tensor, width: int) -> Iterator[tuple[int, slice]]:
    """Items and row ranges to be processed at a time."""
    rows = max(_CHUNK_ROWS_AT_LEAST, _CHUNK_ELEMENTS // width)
    points = features.shape[1]
    for item in range(len(features)):
        for start in range(0, points, rows):
            yield item, slice(start, min(start + rows, points))


def _activate_(x: Tensor, negative_slope: float) -> Tensor:
    return torch.nn.functional.leaky_relu_(x, negative_slope) if negative_slope else x.relu_()


def _forward(
    features: Tensor,
    offset: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    negative_slope: float,
    *,
    keep: bool,
) -> tuple[Tensor, list[Tensor]]:
    """Output and, if asked to keep them, the activations h_1 .. h_n, each (B, P, W)."""
    count, points, _ = features.shape
    width = len(offset[0])
    output = features.new_empty(count, points, len(weights[-1]))
    kept = [features.new_empty(count, points, width) for _ in weights[1:]] if keep else []
    for item, rows in _chunks(features, width):
        x = features[item, rows]
        bias = offset[item]
        for layer, weight in enumerate(weights[:-1]):
            if keep:
                x = torch.addmm(bias, x, weight.T, out=kept[layer][item, rows])
            else:
                x = torch.addmm(bias, x, weight.T)
            _activate_(x, negative_slope)
            bias = biases[layer]
        torch.addmm(bias, x, weights[-1].T, out=output[item, rows])
    return output, kept


class _ChunkedMLP(torch.autograd.Function):
    """`chunked_mlp` with its hand-written gradient."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        features: Tensor,
        offset: Tensor,
        negative_slope: float,
        depth: int,
        *parameters: Tensor,
    ) -> Tensor:
        weights, biases = parameters[:depth], parameters[depth:]
        output, kept = _forward(features, offset, weights, biases, negative_slope, keep=True)
        ctx.save_for_backward(features, *weights, *kept)
        ctx.negative_slope = negative_slope
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        features, *saved = ctx.saved_tensors
        depth = (len(saved) + 1) // 2
        weights, kept = saved[:depth], saved[depth:]
        count, _, width = kept[0].shape
        grad_features = torch.empty_like(features) if ctx.needs_input_grad[0] else None
        grad_offset = features.new_zeros(count, width)
        grad_weights = [torch.zeros_like(weight) for weight in weights]
        grad_biases = [features.new_zeros(len(weight)) for weight in weights[1:]]
        for item, rows in _chunks(features, width):
            grad = grad_output[item, rows]
            for layer in range(depth - 1, 0, -1):
                hidden = kept[layer - 1][item, rows]
                grad_weights[layer].addmm_(grad.T, hidden)
                grad_biases[layer - 1] += grad.sum(0)
                grad = torch.mm(grad, weights[layer])
                _activation_backward_(grad, hidden, ctx.negative_slope)
            grad_weights[0].addmm_(grad.T, features[item, rows])
            grad_offset[item] += grad.sum(0)
            if grad_features is not None:
                torch.mm(grad, weights[0], out=grad_features[item, rows])
        return grad_features, grad_offset, None, None, *grad_weights, *grad_biases


def _activation_backward_(grad: Tensor, activated: Tensor, negative_slope: float) -> None:
    """Multiplies a gradient in place by the activation's slope, read from its output's sign."""
    if negative_slope:
        torch.ops.aten.leaky_relu_backward.grad_input(
            grad, activated, negative_slope, True, grad_input=grad
        )
    else:
        torch.ops.aten.threshold_backward.grad_input(grad, activated, 0, grad_input=grad)

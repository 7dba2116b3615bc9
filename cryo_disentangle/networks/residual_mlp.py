"""Multilayer perceptron with residual layers, state-dict compatible with cryoDRGN's."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["ResidualMLP"]


class _ResidualLinear(nn.Module):
    """x + A x + b; holds the layer as ``linear``, the name in cryoDRGN's checkpoints."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(x)

    def matrix(self) -> Tensor:
        """A + 1, so that the layer is one affine map."""
        return self.linear.weight + torch.eye(
            len(self.linear.weight), device=self.linear.weight.device
        )

    @property
    def bias(self) -> Tensor:
        return self.linear.bias


def _layer(in_features: int, out_features: int, residual: bool) -> nn.Module:
    if residual and in_features == out_features:
        return _ResidualLinear(in_features)
    return nn.Linear(in_features, out_features)


def _affine(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Matrix and offset of a layer, its residual connection folded in."""
    if isinstance(layer, _ResidualLinear):
        return layer.matrix(), layer.bias
    if isinstance(layer, nn.Linear):
        return layer.weight, layer.bias
    raise TypeError(f"expected a linear layer, found {type(layer).__name__}")


class ResidualMLP(nn.Module):
    """in -> width, ``layers`` residual layers, -> out, an activation after all but the last.

    A layer whose input and output are equally wide is residual: x + Linear(x), the activation after
    the sum.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        width: Width of the hidden layers.
        layers: Number of residual hidden layers after the first.
        activation: ReLU, or leaky ReLU of slope 0.01.
        residual: Whether equally wide layers are residual; without, a plain perceptron.

    Raises:
        ValueError: If a width is not positive or ``layers`` is negative.

    References:
        Zhong et al. 2021, cryoDRGN; keys ``main.{2i}[.linear].{weight,bias}`` of version 4.3.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int,
        layers: int,
        activation: Literal["relu", "leaky_relu"] = "relu",
        residual: bool = True,
    ) -> None:
        super().__init__()
        if min(in_features, out_features, width) < 1 or layers < 0:
            raise ValueError(
                "a network needs positive widths and layers >= 0, found in_features="
                f"{in_features}, out_features={out_features}, width={width}, layers={layers}"
            )
        self.negative_slope = 0.01 if activation == "leaky_relu" else 0.0
        self.residual = residual
        act = nn.LeakyReLU if activation == "leaky_relu" else nn.ReLU
        sizes = [in_features] + [width] * (layers + 1) + [out_features]
        modules: list[nn.Module] = []
        for size_in, size_out in pairwise(sizes):
            modules += [_layer(size_in, size_out, residual), act()]
        self.main = nn.Sequential(*modules[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Evaluates the network.

        Args:
            x: Shape (..., in_features).

        Returns:
            Shape (..., out_features).
        """
        output: Tensor = self.main(x)
        return output

    def forward_points(self, features: Tensor, shared: Tensor) -> Tensor:
        """Evaluates the network at many points of each item, part of whose input all points share.

        The same as ``forward(cat([features, shared of the item], -1))`` without repeating the
        shared part, and without the gradient for features that need none.

        Args:
            features: Input of each point, shape (B, P, F).
            shared: Input shared by an item's points, shape (B, S), F + S = in_features.

        Returns:
            Shape (B, P, out_features).
        """
        weight, bias = _affine(self.main[0])
        split = features.shape[-1]
        offset = nn.functional.linear(shared, weight[:, split:], bias)
        x = nn.functional.linear(features, weight[:, :split]) + offset[:, None]
        # From here the layers as they are: in bfloat16 a folded 1 + A would round A away.
        output: Tensor = self.main[1:](x)
        return output

"""Whether the steps of a trajectory tell the coordinates of the conformation apart."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.unmixing import (
    fourth_cumulants,
    halves,
    joint_diagonalizer,
    significance,
    whitener,
)

__all__ = ["SlownessIdentifiability", "slowness_identifiability"]

_FEWEST_PAIRS = 200
# Shapes between this and a normal distribution's 2 are too near to normal to be of use.
_LARGEST_SHAPE = 1.8


class SlownessIdentifiability(NamedTuple):
    """Identifiability of Z coordinates from their steps between frames.

    Steps tell coordinates apart if they are sparse, most of them small and a few large, and
    independent of each other. Steps that are normally distributed look the same in any mixture.

    Attributes:
        axes: Rows are the directions that were judged, shape (Z, Z): the step in direction i is
            ``(z1 - z0) @ axes[i]``.
        kurtosis: Of the steps, shape (Z,): 3 for normal and 6 for Laplace-distributed ones.
        shape: Exponent α of the generalised normal distribution exp(-|Δ/a|^α) with the same ratio
            of mean absolute and standard deviation, shape (Z,): 2 is normal, 1 Laplace, less is
            sparser.
        sparse: Whether the exponent is clearly below 2, shape (Z,), bool.
        dependence: Correlation of the steps' sizes |Δ_i| and |Δ_j|, shape (Z, Z).
        dependent: Whether it is clearly not zero, shape (Z, Z), bool.

    References:
        Klindt et al. 2021, Towards nonlinear disentanglement in natural data with temporal sparse
        coding, Theorem 1: identifiable for generalised normal transitions with α < 2. One
        coordinate may be normal, as in independent component analysis.
    """

    axes: Tensor
    kurtosis: Tensor
    shape: Tensor
    sparse: Tensor
    dependence: Tensor
    dependent: Tensor

    @property
    def together(self) -> list[tuple[int, int]]:
        """Pairs of directions that move together, counted from 0."""
        first, second = torch.triu_indices(len(self.axes), len(self.axes), offset=1)
        clear = self.dependent.cpu()[first, second]
        return list(zip(first[clear].tolist(), second[clear].tolist(), strict=True))

    @property
    def identifiable(self) -> bool:
        """Whether at most one direction is not sparse, and all are independent."""
        return int((~self.sparse).sum()) <= 1 and not self.together

    @property
    def verdict(self) -> str:
        """The finding in words."""
        dense = [str(number + 1) for number in (~self.sparse).nonzero().flatten().tolist()]
        if len(dense) > 1:
            return (
                "Not identifiable: the steps between frames are not clearly sparser than normally "
                f"distributed ones in the directions {', '.join(dense)} of the latent space. Any "
                "mixture of such directions moves in the same way, so single coordinates have no "
                "meaning. Frames that are closer in time, less noise or more pairs could help."
            )
        if self.together:
            pairs = ", ".join(f"{i + 1} and {j + 1}" for i, j in self.together)
            return (
                "Not identifiable: steps between frames are sparse, but large ones come at the "
                f"same time in these directions of the latent space: {pairs}. Motions that occur "
                "together cannot be distinguished."
            )
        return (
            "Identifiable: between frames the molecule mostly moves in one direction of the latent "
            "space at a time, so each can be found by its movement."
        )


def _check(first: Tensor, second: Tensor) -> None:
    """Refuses latents that can't be judged."""
    if first.ndim != 2 or first.shape != second.shape or len(first) < _FEWEST_PAIRS:
        raise ValueError(
            f"latents of both frames of at least {_FEWEST_PAIRS} pairs are needed, of the same "
            f"shape (N, Z), found {tuple(first.shape)} and {tuple(second.shape)}"
        )
    if not bool((first.isfinite() & second.isfinite()).all()):
        raise ValueError("latents have values that are not finite")


def _steps(first: Tensor, second: Tensor, interval: Tensor | None) -> Tensor:
    """Steps of zero mean in units that do not depend on the interval, float64."""
    steps = second.double() - first.double()
    if interval is not None:
        if interval.shape != first.shape[:1] or not bool((interval > 0).all()):
            raise ValueError(
                f"positive intervals of shape ({len(first)},) are needed, found "
                f"{tuple(interval.shape)} with the smallest {float(interval.min()):g}"
            )
        steps = steps * interval.double().rsqrt()[:, None]
    return steps - steps.mean(0)


def _flatness(shape: Tensor) -> Tensor:
    """E|Δ| / √E Δ² of generalised normal distributions."""
    return torch.exp(
        torch.lgamma(2 / shape) - 0.5 * (torch.lgamma(1 / shape) + torch.lgamma(3 / shape))
    )


def _shape(flatness: Tensor) -> Tensor:
    """Inverts `_flatness`, by a table of shapes from 0.1 to 20."""
    table = torch.logspace(math.log10(20), -1, 4000, dtype=torch.float64).flip(0)
    values = _flatness(table)
    right = torch.searchsorted(values, flatness.cpu()).clamp(max=len(table) - 1)
    return table[right].to(flatness.device)


def slowness_identifiability(
    first: Tensor, second: Tensor, interval: Tensor | None = None, minimum_effect: float = 0.1
) -> SlownessIdentifiability:
    """Tests whether steps between frames distinguish the coordinates.

    The latents may be mixed linearly: the directions whose steps are most independent are found
    from one half of the pairs and judged by the other, so that the choice does not bias the result.

    Args:
        first: Conformations of the earlier frames, such as posterior means, shape (N, Z).
        second: Conformations of the later frames, shape (N, Z).
        interval: Time between the frames, shape (N,), by whose square root steps are divided; None
            if it is always the same.
        minimum_effect: Correlations of step sizes up to this are taken for zero, beyond the
            sampling error.

    Returns:
        The finding, with `SlownessIdentifiability.verdict` in words.

    Raises:
        ValueError: If shapes don't fit, there are less than 200 pairs, values are not finite,
            intervals are not positive, or a coordinate does not vary.
    """
    _check(first, second)
    steps = _steps(first, second, interval)
    fitted, held_out = halves(steps)
    width = steps.shape[1]
    white = whitener(torch.cov(fitted.T).reshape(width, width))
    axes = joint_diagonalizer(fourth_cumulants(fitted @ white.T)) @ white

    along = held_out @ axes.T
    along = (along - along.mean(0)) / along.std(0, correction=0)
    count = len(along)
    sizes = along.abs()
    flatness = sizes.mean(0)
    # The ratio's influence function: both the mean size and the standard deviation are estimated.
    error = (sizes - 0.5 * flatness * along.square()).std(0) / math.sqrt(count)
    largest = _flatness(torch.tensor(_LARGEST_SHAPE, dtype=torch.float64)).to(flatness)
    dependence = torch.corrcoef(sizes.T).reshape(width, width)
    accident = significance(width * (width - 1) // 2) / math.sqrt(count)
    return SlownessIdentifiability(
        axes=axes,
        kurtosis=along.pow(4).mean(0),
        shape=_shape(flatness),
        sparse=flatness + significance(width) * error < largest,
        dependence=dependence,
        dependent=(dependence.abs() - accident > minimum_effect).fill_diagonal_(False),
    )

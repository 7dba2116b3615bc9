"""Where conformations come from: independent, correlated, or along a given path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from cryo_disentangle.files.arrays import read_archive
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.quantiles import laplace_quantile, tabulated_quantile

__all__ = [
    "ConformationProcess",
    "Conformations",
    "CorrelatedFactors",
    "FactorPath",
    "LaplaceFactors",
    "NormalFactors",
    "UniformFactors",
]


class Conformations(NamedTuple):
    """True factors of some particles, and what belongs to them.

    Attributes:
        factors: Shape (B, K), float64.
        time: Time stamp of each particle, shape (B,), float64, or None.
        trajectory: Number of the particle's trajectory, shape (B,), int64, or None.
        temperature: In kelvin, shape (B,), float64, or None.
        coordinates: Coordinates of the molecule where the factors do not determine them, shape
            (B, C), float64, or None.
    """

    factors: Tensor
    time: Tensor | None = None
    trajectory: Tensor | None = None
    temperature: Tensor | None = None
    coordinates: Tensor | None = None


class ConformationProcess(Protocol):
    """A distribution of conformational factors."""

    @property
    def dim(self) -> int:
        """Number of factors K."""
        ...

    def sample(self, draws: Draws) -> Conformations:
        """Draws factors.

        Args:
            draws: Random numbers of B particles, which these alone determine.

        Returns:
            Factors, shape (B, K), and what belongs to them.
        """
        ...


def check_range(low: float, high: float) -> None:
    """Refuses an empty range of factors.

    Args:
        low: Smallest value.
        high: Largest value.

    Raises:
        ValueError: If ``low`` is not below ``high``.
    """
    if not low < high:
        raise ValueError(f"factors need low < high, found low {low} and high {high}")


def _check_dim(dim: int) -> None:
    """Refuses a process without factors."""
    if dim < 1:
        raise ValueError(f"a process needs at least one factor, found dim {dim}")


def _check_scale(scale: float) -> None:
    """Refuses a spread that is not positive."""
    if not scale > 0:
        raise ValueError(f"scale must be positive, found {scale}")


@dataclass(frozen=True)
class UniformFactors:
    """Independent factors, uniform on a range.

    Args:
        dim: Number of factors K.
        low: Smallest value.
        high: Largest value.

    Raises:
        ValueError: If the range is empty or ``dim`` is below 1.
    """

    dim: int = 2
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _check_dim(self.dim)
        check_range(self.low, self.high)

    def sample(self, draws: Draws) -> Conformations:
        """Draws factors (B, K)."""
        uniform = draws.uniform("factors", self.dim)
        return Conformations(self.low + (self.high - self.low) * uniform)


@dataclass(frozen=True)
class NormalFactors:
    """Independent factors, normally distributed.

    Args:
        dim: Number of factors K.
        scale: Standard deviation.
        mean: Mean.

    Raises:
        ValueError: If the scale is not positive or ``dim`` is below 1.
    """

    dim: int = 2
    scale: float = 0.4
    mean: float = 0.0

    def __post_init__(self) -> None:
        _check_dim(self.dim)
        _check_scale(self.scale)

    def sample(self, draws: Draws) -> Conformations:
        """Draws factors (B, K)."""
        return Conformations(self.mean + self.scale * draws.normal("factors", self.dim))


@dataclass(frozen=True)
class LaplaceFactors:
    """Independent factors with the density exp(-|z - mean| / scale) / (2 scale).

    Args:
        dim: Number of factors K.
        scale: Mean absolute deviation.
        mean: Mean.

    Raises:
        ValueError: If the scale is not positive or ``dim`` is below 1.
    """

    dim: int = 2
    scale: float = 0.25
    mean: float = 0.0

    def __post_init__(self) -> None:
        _check_dim(self.dim)
        _check_scale(self.scale)

    def sample(self, draws: Draws) -> Conformations:
        """Draws factors (B, K)."""
        return Conformations(
            self.mean + self.scale * laplace_quantile(draws.uniform("factors", self.dim))
        )


@dataclass(frozen=True)
class CorrelatedFactors:
    """Factors on a range of which one pair is correlated.

    The pair has the density p(z_1, z_2) ∝ exp(-(z_1 - z_2)² / (2 s²)) on the square, with s the
    ``strength`` times the length of the range; the other factors are independent and uniform.

    Args:
        dim: Number of factors K, at least 2.
        strength: Small is strongly correlated (0.2 is the paper's strongest), large is independent.
        low: Smallest value.
        high: Largest value.
        pair: Which two factors are correlated.

    Raises:
        ValueError: If the pair does not name two factors, the range is empty, or the strength is
            not positive.

    References:
        Träuble et al. 2021, On disentangled representations learned from correlated data, Eq. 1.
    """

    dim: int = 2
    strength: float = 0.2
    low: float = -1.0
    high: float = 1.0
    pair: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        check_range(self.low, self.high)
        _check_scale(self.strength)
        if self.pair[0] == self.pair[1] or not all(0 <= p < self.dim for p in self.pair):
            raise ValueError(f"pair must name two of {self.dim} factors, found {self.pair}")

    def sample(self, draws: Draws) -> Conformations:
        """Draws factors (B, K)."""
        unit = draws.uniform("factors", self.dim)
        first, second = self.pair
        # On the unit square: the marginal of one by its tabulated quantile function, then the other
        # given it, a truncated normal.
        grid = torch.linspace(0, 1, 4097, dtype=torch.float64)
        low, high = (torch.special.ndtr((b - grid) / self.strength) for b in (0.0, 1.0))
        given = tabulated_quantile(grid, high - low, unit[:, second])
        low, high = (torch.special.ndtr((b - given) / self.strength) for b in (0.0, 1.0))
        normal = torch.special.ndtri(low + unit[:, first] * (high - low))
        unit[:, second] = given
        unit[:, first] = (given + self.strength * normal).clamp(0, 1)
        return Conformations(self.low + (self.high - self.low) * unit)


@dataclass(frozen=True)
class FactorPath:
    """Factors along a given path, each stretch between two of its points equally likely.

    Args:
        points: The path's points, shape (P, K).
        spread: Standard deviation of normal noise about the path.

    Raises:
        ValueError: If there are fewer than two points, they are not all of one dimension, or the
            spread is negative.
    """

    points: Sequence[Sequence[float]]
    spread: float = 0.0

    def __post_init__(self) -> None:
        if len(self.points) < 2 or len({len(point) for point in self.points}) != 1:
            raise ValueError(
                "a path needs two points or more, each with the same number of factors"
            )
        if self.spread < 0:
            raise ValueError(f"spread must not be negative, found {self.spread}")

    @classmethod
    def from_file(cls, file: Path, key: str, spread: float = 0.0) -> FactorPath:
        """Reads the points from an .npz file.

        Args:
            file: NumPy archive.
            key: Name of the array (P, K) in it.
            spread: Standard deviation of normal noise about the path.

        Returns:
            The path.

        Raises:
            ValueError: If the file lacks the key, or the array has no two dimensions.
        """
        points = read_archive(file, [key], "points of a path")[key]
        if points.ndim != 2:
            raise ValueError(f"{file}, key {key!r}: shape (P, K) expected, found {points.shape}")
        return cls(points.tolist(), spread)

    @property
    def dim(self) -> int:
        """Number of factors K."""
        return len(self.points[0])

    def sample(self, draws: Draws) -> Conformations:
        """Draws factors (B, K)."""
        points = torch.tensor(self.points, dtype=torch.float64)
        position = draws.uniform("path", 1) * (len(points) - 1)
        stretch = position.long().clamp_max(len(points) - 2)
        factors = torch.lerp(points[stretch[:, 0]], points[stretch[:, 0] + 1], position - stretch)
        return Conformations(factors + self.spread * draws.normal("factors", self.dim))

"""How far two latent spaces of the same particles agree: axis by axis, and up to what maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional import mcc, spline_mcc
from cryo_disentangle.metrics.functional.codes import Array, check_codes, standardize
from cryo_disentangle.metrics.functional.correlation import (
    matching,
    mean_canonical_correlation,
    pearson_matrix,
)
from cryo_disentangle.metrics.functional.neighbourhood import neighbourhood_similarity
from cryo_disentangle.metrics.intervals import bootstrap_interval, permutation_null

__all__ = ["Agreement", "AxisAgreement", "Level", "compare_latents"]

# Enough for errors of 0.01 in correlations; more would only take longer.
_MOST_ROWS = 20_000
_RESAMPLES = 40
# Neighbours cost the square of the number of particles.
_NEIGHBOURS, _NEIGHBOUR_ROWS = 20, 500
# An axis whose variance the other space explains to a smaller share is not in it.
_FOUND = 0.25
# Two plain autoencoders that turned their axes at random agree within 5 degrees in one pair of
# nine in two dimensions, and more seldom in more; axes that data determine agree within 2.
_SAME_DEGREES = 5.0


class AxisAgreement(NamedTuple):
    """Agreement of one axis of the first latent space with the second space.

    Attributes:
        axis: Its name.
        partner: The axis of the second space that was assigned to it, or None.
        correlation: Pearson correlation of the two, with its sign.
        attainable: Multiple correlation of the axis with all axes of the second space: the most
            that any turn of them can reach.
        angle_deg: arccos of the absolute correlation over ``attainable``, the angle between the two
            in degrees.
        low_deg: Lower end of its interval.
        high_deg: Upper end.
        verdict: ``reproduced``, ``mixed`` (found, along other axes) or ``lost``.
    """

    axis: str
    partner: str | None
    correlation: float
    attainable: float
    angle_deg: float
    low_deg: float
    high_deg: float
    verdict: str


class Level(NamedTuple):
    """A score of two spaces up to a class of maps.

    Attributes:
        value: The score.
        low: Lower end of its interval of 95 %.
        high: Upper end.
        null: Mean score of particles that were permuted.
        p_value: Of the hypothesis that the spaces have nothing in common.
    """

    value: float
    low: float
    high: float
    null: float
    p_value: float


class Agreement(NamedTuple):
    """Agreement of two latent spaces.

    Attributes:
        particles: Number of particles compared.
        axes: Each axis of the first space.
        levels: Scores up to permutation and sign (``axes``), up to a function of each axis
            (``functions``), up to a linear map (``linear``), and of neighbourhoods, which any
            smooth map keeps (``neighbourhoods``).
    """

    particles: int
    axes: tuple[AxisAgreement, ...]
    levels: dict[str, Level]

    @property
    def words(self) -> str:
        """The finding in a sentence."""
        kinds = [axis.verdict for axis in self.axes]
        if all(kind == "reproduced" for kind in kinds):
            return "Every axis is reproduced."
        reproduced = kinds.count("reproduced")
        if not reproduced and self.levels["linear"].p_value > 0.05:
            return "The latent spaces have nothing in common that a linear map would show."
        if not reproduced:
            return "The space is found again, but along other axes: no single axis is reproduced."
        return f"{reproduced} of {len(kinds)} axes are reproduced."


def compare_latents(
    first: Array,
    second: Array,
    *,
    names: tuple[Sequence[str], Sequence[str]] | None = None,
    seed: int = 0,
) -> Agreement:
    """Compares two latent spaces of the same particles.

    Args:
        first: Latents, shape (N, K).
        second: Latents of the same particles in the same order, shape (N, L).
        names: Names of the K and of the L axes; None numbers them.
        seed: Of the 20,000 particles that are drawn where there are more, and of resamples.

    Returns:
        The agreement.

    Raises:
        ValueError: If the latents are no finite columns of the same particles, or fewer than 12.
    """
    a, b = check_codes(first, second, minimum=12)
    if len(a) > _MOST_ROWS:
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(a), generator=generator)[:_MOST_ROWS].to(a.device)
        a, b = a[rows], b[rows]
    if names is None:
        names = tuple([f"z{k + 1}" for k in range(x.shape[1])] for x in (a, b))  # type: ignore[assignment]
    scores: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "axes": lambda x, y: mcc(y, x),
        "functions": lambda x, y: spline_mcc(y, x, seed=seed),
        "linear": lambda x, y: mean_canonical_correlation(y, x),
        "neighbourhoods": partial(
            neighbourhood_similarity,
            k=min(_NEIGHBOURS, len(a) // 2 - 1),
            max_samples=_NEIGHBOUR_ROWS,
        ),
    }
    levels = {name: _level(score, a, b, seed) for name, score in scores.items()}
    return Agreement(len(a), _axes(a, b, names or ((), ()), seed), levels)


def _level(score: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor, seed: int) -> Level:
    """A score with interval and null."""
    interval = bootstrap_interval(score, a, b, resamples=_RESAMPLES, seed=seed)
    null = permutation_null(score, a, b, permutations=_RESAMPLES, seed=seed)
    values = (*interval, null.mean, null.p_value)
    return Level(*(float(value) for value in values))


def _axes(
    a: Tensor, b: Tensor, names: tuple[Sequence[str], Sequence[str]], seed: int
) -> tuple[AxisAgreement, ...]:
    """Each axis of the first space."""
    correlation = pearson_matrix(a, b)
    rows, columns = (index.tolist() for index in matching(correlation.abs()))
    partner = dict(zip(rows, columns, strict=True))

    def measured(x: Tensor, y: Tensor) -> Tensor:
        """|r| with the partner, the multiple correlation and the angle, shape (3, K)."""
        matched = pearson_matrix(x, y).abs()
        own = torch.stack(
            [
                matched[k, partner[k]] if k in partner else matched.new_zeros(())
                for k in range(len(x.T))
            ]
        )
        reach = _multiple_correlation(x, y)
        cosine = (own / reach.clamp(min=1e-12)).clamp(max=1)
        return torch.stack([own, reach, torch.rad2deg(torch.arccos(cosine))])

    interval = bootstrap_interval(measured, a, b, resamples=_RESAMPLES, seed=seed)
    found = []
    for k, axis in enumerate(names[0]):
        value, low, high = (part[:, k].tolist() for part in interval)
        other = partner.get(k)
        signed = 0.0 if other is None else float(correlation[k, other])
        found.append(
            AxisAgreement(
                axis,
                None if other is None else names[1][other],
                signed,
                value[1],
                value[2],
                max(0.0, low[2]),
                high[2],
                _verdict(value[1], value[2]),
            )
        )
    return tuple(found)


def _multiple_correlation(x: Tensor, y: Tensor) -> Tensor:
    """Correlation of each column of x with its best linear function of y, adjusted, shape (K,)."""
    targets, sources = standardize(x), standardize(y)
    fitted = sources @ torch.linalg.lstsq(sources, targets, driver="gelsd").solution
    share = fitted.square().mean(0) / targets.square().mean(0).clamp(min=1e-30)
    count, width = sources.shape
    # Chance explains width / count of anything.
    adjusted = 1 - (1 - share) * (count - 1) / max(count - width - 1, 1)
    return adjusted.clamp(0, 1).sqrt()


def _verdict(attainable: float, angle_deg: float) -> str:
    """What became of an axis."""
    if math.isnan(angle_deg) or attainable**2 < _FOUND:
        return "lost"
    return "reproduced" if angle_deg <= _SAME_DEGREES else "mixed"

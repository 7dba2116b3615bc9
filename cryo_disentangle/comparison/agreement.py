"""How far two latent spaces of the same particles agree: axis by axis, and up to what maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.comparison.angles import SpacePair, chance_angles
from cryo_disentangle.metrics.functional import mcc, spline_mcc
from cryo_disentangle.metrics.functional.codes import Array, check_codes
from cryo_disentangle.metrics.functional.correlation import matching, mean_canonical_correlation
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
# An axis more of whose variance lies along others of the other space than this is another axis.
_OTHERS = 0.05
# Two spaces whose axes were turned at random come so close once in twenty.
_BY_CHANCE = 0.05
_TURNS = 2000


class AxisAgreement(NamedTuple):
    """Agreement of one axis of the first latent space with the second space.

    An axis is ``reproduced`` if its angle to its partner is smaller than that of axes turned at
    random is 19 times out of 20, and the whole interval is below 12.9 degrees, where others have
    5 % of its variance. It is ``mixed`` (found, along other axes) if the whole interval is above
    either; ``lost`` if the other space explains less than a quarter of its variance; ``undecided``
    else: chance, or too few particles, may bring it so near.

    Attributes:
        axis: Its name.
        partner: The axis of the second space that was assigned to it, or None.
        correlation: Pearson correlation of the two, with its sign.
        attainable: Multiple correlation of the axis with all axes of the second space: the most
            that any turn of them can reach.
        angle_deg: Angle between the two in degrees, noise apart: arccos of the absolute correlation
            over what is attainable of either.
        low_deg: Lower end of its interval of 95 %.
        high_deg: Upper end.
        chance_deg: Angle that axes turned at random fall below once in twenty; None where there is
            one axis alone, which cannot be turned.
        p_value: Share of random turns that bring a partner as near; None as above.
        verdict: ``reproduced``, ``mixed``, ``undecided`` or ``lost``.
    """

    axis: str
    partner: str | None
    correlation: float
    attainable: float
    angle_deg: float
    low_deg: float
    high_deg: float
    chance_deg: float | None
    p_value: float | None
    verdict: str

    @property
    def angle(self) -> str:
        """The angle and its interval, in words."""
        if self.partner is None:
            return "no partner"
        # Of the same latents nothing but rounding is left.
        angle, low, high = (
            f"{round(value, 1) if value < 1 else value:.2g}"
            for value in (self.angle_deg, self.low_deg, self.high_deg)
        )
        return f"{angle}° ({low} to {high})"

    @property
    def chance(self) -> str:
        """The angle by chance, in words."""
        return "" if self.chance_deg is None else f"{self.chance_deg:.2g}°"


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
        if not reproduced and "mixed" in kinds:
            return "The space is reproduced, but along other axes: no single axis is."
        if not reproduced:
            return (
                "It is undecided whether any axis is reproduced: the agreement "
                "may be chance, or particles are too few."
            )
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
    pair = SpacePair.of(a, b)
    correlation = pair.correlation()
    rows, columns = (index.tolist() for index in matching(correlation.abs()))
    partner = dict(zip(rows, columns, strict=True))

    def angles(x: Tensor, y: Tensor) -> Tensor:
        """Angles to the same partners, shape (K,)."""
        found = correlation.new_full((x.shape[1],), 90.0)
        found[rows] = SpacePair.of(x, y).angles()[rows, columns]
        return found

    interval = bootstrap_interval(angles, a, b, resamples=_RESAMPLES, seed=seed)
    chance = chance_angles(pair, _TURNS, seed)
    reach = pair.reach()[0][:, 0].tolist()
    found = []
    for k, axis in enumerate(names[0]):
        angle, low, high = (float(part[k]) for part in interval)
        nearer, often = None, None
        if chance is not None:
            nearer = float((1 + (chance[:, k] <= angle).sum()) / (1 + _TURNS))
            often = float(chance[:, k].quantile(_BY_CHANCE))
        found.append(
            AxisAgreement(
                axis,
                names[1][partner[k]] if k in partner else None,
                float(correlation[k, partner[k]]) if k in partner else 0.0,
                reach[k],
                angle,
                max(0.0, low),
                high,
                often,
                nearer,
                _verdict(reach[k], (angle, low, high), often),
            )
        )
    return tuple(found)


def _verdict(attainable: float, angle: tuple[float, float, float], chance: float | None) -> str:
    """What became of an axis, by its angle with both ends and that of turned axes."""
    value, low, high = angle
    if attainable**2 < _FOUND:
        return "lost"
    limit = math.degrees(math.asin(_OTHERS**0.5))
    near = limit if chance is None else min(limit, chance)
    if low > near:
        return "mixed"
    return "reproduced" if value <= near and high <= limit else "undecided"

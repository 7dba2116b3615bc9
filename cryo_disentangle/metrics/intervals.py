"""How sure a score is: intervals from half of the samples, and the null of unrelated factors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.codes import Array, check_codes

__all__ = [
    "Interval",
    "Null",
    "Score",
    "bootstrap_interval",
    "half_sample_interval",
    "permutation_null",
]

Score: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A metric of latents (N, K) and factors (N, D): one score, or any shape of scores."""


class Interval(NamedTuple):
    """A score and the interval that holds it.

    Attributes:
        value: The score on all samples, scalar or shape (...).
        low: Lower end, of the shape of ``value``.
        high: Upper end, of the same shape.
    """

    value: Tensor
    low: Tensor
    high: Tensor


class Null(NamedTuple):
    """Null distribution of a metric under permuted factors, all scalars.

    Attributes:
        mean: Mean over permutations: the metric's true zero.
        low: Lower end of the interval that holds the permuted scores.
        high: Upper end.
        p_value: Probability of a score as good as the observed one under the null,
            (1 + number of permutations as good) / (1 + permutations).
    """

    mean: Tensor
    low: Tensor
    high: Tensor
    p_value: Tensor


def bootstrap_interval(
    metric: Score,
    z: Array,
    factors: Array,
    *,
    level: float = 0.95,
    resamples: int = 100,
    seed: int = 0,
) -> Interval:
    """Finds the interval of a score by the half-sample bootstrap.

    Each resample is a random half of the rows, none twice. The score of m rows out of n scatters
    about that of all n with (n - m)/m times the variance that the latter has itself: with
    halves it is the same. Drawing n rows with repetition, as the plain bootstrap does, would put
    copies of a row both among a probe's training and test rows and add mutual information that
    is none. The deviations are taken about the resamples' own mean, so that a bias that falls with
    the number of samples does not move the interval.

    Args:
        metric: A functional metric, ``partial(...)`` where it has options.
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).
        level: Probability that the interval holds.
        resamples: Number of halves.
        seed: Of the halves.

    Returns:
        Score and interval; ends are not clipped to the metric's range. Rows are taken as
        independent: for frames of a trajectory the interval is too narrow.

    Raises:
        ValueError: If level or resamples is out of range, or the latents don't fit.

    References:
        Shao and Wu 1989, A general theory for jackknife variance estimation (delete-d jackknife);
        Politis, Romano and Wolf 1999, Subsampling.
    """
    z, factors = check_codes(z, factors, minimum=4)
    return half_sample_interval(
        lambda rows: metric(z[rows], factors[rows]),
        len(z),
        level=level,
        resamples=resamples,
        seed=seed,
    )


def half_sample_interval(
    score: Callable[[Tensor], Tensor],
    count: int,
    *,
    level: float = 0.95,
    resamples: int = 100,
    seed: int = 0,
) -> Interval:
    """Finds the interval of a score of any samples; see `bootstrap_interval`.

    Args:
        score: Scores the samples with these numbers, int64 on the CPU.
        count: Number of samples.
        level: Probability that the interval holds.
        resamples: Number of halves.
        seed: Of the halves.

    Returns:
        Score and interval.

    Raises:
        ValueError: If level or resamples is out of range.
    """
    tails = _tails(level, resamples, "resamples")
    kept = count // 2
    halves = (order[:kept] for order in _permutations(count, resamples, seed))
    scores = torch.stack([score(half) for half in halves])
    value = score(torch.arange(count))
    deviations = (scores - scores.mean(0)) * (kept / (count - kept)) ** 0.5
    low, high = torch.quantile(deviations, tails.to(scores), dim=0)
    return Interval(value, value + low, value + high)


def permutation_null(
    metric: Score,
    z: Array,
    factors: Array,
    *,
    level: float = 0.95,
    permutations: int = 100,
    seed: int = 0,
    higher_is_better: bool = True,
) -> Null:
    """Finds the values of a metric at chance, with the rows of the factors permuted.

    Whole rows are permuted, so that the factors keep their dependence on each other.

    Args:
        metric: A functional metric, ``partial(...)`` where it has options.
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).
        level: Share of permuted scores between ``low`` and ``high``.
        permutations: Number of permutations; the smallest p-value is 1 / (1 + permutations).
        seed: Of the permutations.
        higher_is_better: Whether large scores speak against the null.

    Returns:
        Mean, interval and p-value, each of the metric's shape.

    Raises:
        ValueError: If level or permutations is out of range, or the latents don't fit.

    References:
        Phipson and Smyth 2010, Permutation p-values should never be zero, Eq. 2.
    """
    z, factors = check_codes(z, factors)
    tails = _tails(level, permutations, "permutations")
    orders = (order.to(z.device) for order in _permutations(len(z), permutations, seed))
    scores = torch.stack([metric(z, factors[order]) for order in orders])
    value = metric(z, factors)
    as_good = scores >= value if higher_is_better else scores <= value
    low, high = torch.quantile(scores, tails.to(scores), dim=0)
    p_value = (1 + as_good.sum(0).to(scores)) / (1 + permutations)
    return Null(scores.mean(0), low, high, p_value)


def _tails(level: float, count: int, name: str) -> Tensor:
    """Quantiles of the two ends."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if count < 2:
        raise ValueError(f"{name} must be at least 2, got {count}")
    return torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)


def _permutations(length: int, count: int, seed: int) -> Iterator[Tensor]:
    """Random orders of the rows, drawn on the CPU: the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield torch.randperm(length, generator=generator)

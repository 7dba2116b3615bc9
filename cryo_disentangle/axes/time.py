"""Axes along which a molecule moves one at a time between frames."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.axes.contrast import (
    Orientation,
    least_normal,
    orientation,
    refine,
    resampled,
    together,
    turned_to,
    whitened,
)
from cryo_disentangle.axes.linear import (
    LARGEST_ANGLE,
    SINGLE,
    FloatArray,
    LinearAxes,
    in_words,
)
from cryo_disentangle.axes.noisy import (
    NoisyLatents,
    check_explained,
    conformation_covariance,
    mean_conformation,
    noisy_latents,
    solve_covariance,
)
from cryo_disentangle.metrics.functional.codes import Array, as_tensor, check_columns

__all__ = ["FramePairs", "TimeAxes", "frame_pairs", "words_of_time"]

_FEWEST_PAIRS = 200
# A thirtieth of what two Laplace distributions show; latents are never exact.
_SMALLEST_EFFECT = 0.002


class FramePairs(NamedTuple):
    """Latents of pairs of consecutive frames.

    Attributes:
        raw: As they were given, shape (2N, Z), all earlier frames first.
        latents: The same with their uncertainties.
        scale: One over the root of the interval, shape (N, 1).
    """

    raw: Tensor
    latents: NoisyLatents
    scale: Tensor

    @property
    def earlier(self) -> NoisyLatents:
        """Earlier frames, (N, Z)."""
        return self.latents.take(torch.arange(len(self.scale)))

    @property
    def later(self) -> NoisyLatents:
        """Later frames, (N, Z)."""
        return self.latents.take(torch.arange(len(self.scale)) + len(self.scale))

    @property
    def steps(self) -> Tensor:
        """Steps in units that do not depend on the interval, of zero mean, (N, Z)."""
        steps = (self.later.value - self.earlier.value) * self.scale
        return steps - steps.mean(0)


def frame_pairs(
    earlier: Array,
    later: Array,
    covariance: tuple[Array, Array] | None,
    interval: Array | None,
    *,
    errors: bool,
) -> FramePairs:
    """Takes latents of consecutive frames.

    Args:
        earlier: Of the earlier frames, shape (N, Z).
        later: Of the later ones, shape (N, Z).
        covariance: Of each frame, as in `noisy_latents`, or None.
        interval: Time between frames, shape (N,), positive; None where it is always the same.
        errors: As in `noisy_latents`.

    Returns:
        The pairs.

    Raises:
        ValueError: If shapes don't fit, there are fewer than 200 pairs, an interval is not
            positive, or as in `noisy_latents`.
    """
    one, other = check_columns(earlier, "earlier"), check_columns(later, "later")
    if one.shape != other.shape or len(one) < _FEWEST_PAIRS:
        raise ValueError(
            f"latents of both frames of at least {_FEWEST_PAIRS} pairs are needed, of the same "
            f"shape (N, Z), got {tuple(one.shape)} and {tuple(other.shape)}"
        )
    both = torch.cat([one, other.to(one.device)])
    spread = None
    if covariance is not None:
        spread = torch.cat([as_tensor(part, "covariance").to(both) for part in covariance])
    scale = torch.ones_like(one[:, :1])
    if interval is not None:
        times = check_columns(interval, "interval").to(one.device)
        if times.shape != scale.shape or not bool((times > 0).all()):
            raise ValueError(
                f"positive intervals of shape ({len(one)},) are needed, got shape "
                f"{tuple(times.shape)} and the smallest {float(times.min()):g}"
            )
        scale = times.rsqrt()
    return FramePairs(both, noisy_latents(both, spread, errors=errors), scale)


class TimeAxes(LinearAxes):
    """Axes by time: those along which steps between frames are farthest from normal.

    Steps are differences of posterior means. The means shrink uncertain values, which weights them
    correctly, and undoing the shrinkage is unstable. The axes are a closed form, up to FastICA's
    iteration, and need no training.

    Noise that depends on the conformation has axes of its own. Where steps are mostly noise, axes
    may be those, and still be called determined.

    Args:
        errors: Whether ``covariance`` holds errors of estimates rather than posteriors under a
            standard normal prior.

    Attributes:
        kurtosis_: Of the steps along each axis, shape (Z,): 3 for normal ones.
        contrast_: How much farther from normal steps are along two axes than between them, shape
            (Z, Z); the contribution of noise is subtracted where it is known, and as much again is
            required, as posteriors know only part of it.
        contrast_error_: Its standard error, shape (Z, Z).

    References:
        Hyvärinen 1998, Independent component analysis for time-dependent stochastic processes
        (innovations); Klindt et al. 2021, Theorem 1: identifiable where steps are sparse.
    """

    kurtosis_: FloatArray
    contrast_: FloatArray
    contrast_error_: FloatArray

    def __init__(self, *, errors: bool = False) -> None:
        self.errors = errors

    def fit(
        self,
        earlier: Array,
        later: Array,
        covariance: tuple[Array, Array] | None = None,
        interval: Array | None = None,
    ) -> TimeAxes:
        """Finds the axes.

        Args:
            earlier: Latents of the earlier frames, such as posterior means, shape (N, Z).
            later: Of the later ones, shape (N, Z).
            covariance: Covariances (N, Z, Z) or variances (N, Z) of both; None where unknown. They
                keep noise that differs between particles from passing for movement.
            interval: Time between frames, shape (N,), by whose root steps are divided; None where
                it is always the same.

        Returns:
            Itself; axes are ordered from slow to fast.

        Raises:
            ValueError: If shapes don't fit, numbers are not finite, there are fewer than 200
                pairs, or noise explains all of the steps.
        """
        pairs = frame_pairs(earlier, later, covariance, interval, errors=self.errors)
        normal = normal_steps(pairs)
        steps = pairs.steps
        white, whiten = whitened(steps)
        axes = least_normal(white) @ whiten
        spread = torch.cov(pairs.latents.value.T).reshape(whiten.shape)
        slowness = (axes @ spread * axes).sum(1)
        axes = self._settle(axes, slowness.argsort(descending=True), pairs.latents, pairs.raw)
        found, scale = resampled(steps, axes)
        self._spread_of(found, axes, spread, scale)
        along = steps @ axes.T
        along = along / along.std(0)
        self.kurtosis_ = along.pow(4).mean(0).cpu().numpy()
        self._judge(held_out_orientation(steps, normal, axes))
        return self

    def _judge(self, found: Orientation) -> None:
        """Keeps the diagnostic and the verdict."""
        self.contrast_ = found.contrast.cpu().numpy()
        self.contrast_error_ = found.standard_error.cpu().numpy()
        distinct = found.distinct(_SMALLEST_EFFECT)
        self.determined_, self.verdict_ = words_of_time(distinct, self.angle_)


def words_of_time(distinct: Tensor, angle: FloatArray) -> tuple[bool, str]:
    """Judges axes by time.

    Args:
        distinct: Whether steps have a direction of their own in the plane of two axes, (Z, Z).
        angle: Within how many degrees each axis is known, shape (Z,).

    Returns:
        Whether axes are determined, and the finding in words.
    """
    width = len(angle)
    alike = [f"{i + 1} and {j + 1}" for j in range(width) for i in range(j) if not distinct[i, j]]
    if width == 1:
        return True, SINGLE
    if alike:
        return False, (
            "Not determined by time: steps between frames have no direction of their own in the "
            f"plane of axes {', '.join(alike)}. Steps that are normally distributed, and those "
            "that are large in several directions at once, look the same in any mixture, so "
            "single coordinates have no "
            "meaning. Frames that are closer in time, less noise or "
            "more pairs could help."
        )
    if float(angle.max()) > LARGEST_ANGLE:
        return False, (
            "Not determined by time: steps between frames have directions of their own, but "
            f"there are too few pairs to find them. {in_words(angle)}"
        )
    return True, (
        "Determined by time: between frames the molecule mostly moves along one axis at a time. "
        f"{in_words(angle)}"
    )


def normal_steps(pairs: FramePairs) -> Tensor | None:
    """Covariance that each step would have were the movement normal and the noise as it is.

    Args:
        pairs: Latents of both frames.

    Returns:
        Shape (N, Z, Z), or None where noise is unknown.

    Raises:
        ValueError: If noise explains all of the steps.
    """
    one, other = pairs.earlier, pairs.later
    if one.gain is None or one.noise is None or other.gain is None or other.noise is None:
        return None
    centre = mean_conformation(pairs.latents)
    count, spread = len(one.value), conformation_covariance(pairs.latents, centre)
    scale = torch.cov(pairs.latents.value.T).reshape(spread.shape)
    check_explained(spread, scale, count, "the latents")
    observed = pairs.steps.T @ pairs.steps / len(pairs.scale)
    units = pairs.scale[:, :, None].square()
    noise = one.noise + other.noise
    change = other.gain - one.gain
    # Of conformations that stay where they are, only noise and shrinkage differ.
    still = ((change @ spread @ change + noise) * units).mean(0)
    check_explained(observed - still, observed, count, "the steps between frames")
    lagged = _lagged_covariance(one.value, other.value, (one.gain, other.gain), centre)
    cross = other.gain @ lagged @ one.gain
    total = one.gain @ spread @ one.gain + noise + other.gain @ spread @ other.gain
    normal = (total - cross - cross.mT) * units
    # Movement over different intervals is not all of this; what is left is scaled to fit.
    return normal * (observed.trace() / normal.mean(0).trace())


def _lagged_covariance(
    one: Tensor, other: Tensor, gains: tuple[Tensor, Tensor], centre: Tensor
) -> Tensor:
    """Covariance of conformations in consecutive frames, free of noise, symmetric (Z, Z)."""
    width = len(centre)
    kernel = torch.zeros(width**2, width**2, dtype=centre.dtype, device=centre.device)
    target = torch.zeros(width, width, dtype=centre.dtype, device=centre.device)
    for rows in torch.arange(len(one), device=centre.device).split(8192):
        a, b = gains[0][rows], gains[1][rows]
        x, y = one[rows] - a @ centre, other[rows] - b @ centre
        kernel += torch.einsum("nij,nkl->ikjl", a @ a, b @ b).reshape(width**2, width**2)
        target += torch.einsum("nij,nj,nk,nkl->il", a, x, y, b)
    return solve_covariance(kernel, target.flatten())


def held_out_orientation(steps: Tensor, normal: Tensor | None, axes: Tensor) -> Orientation:
    """Judges axes on steps that did not choose them: those of each half on the other half.

    Args:
        steps: Shape (N, Z).
        normal: As `normal_steps` returns it.
        axes: Found from all steps, shape (Z, Z); those of a half start from them.

    Returns:
        The finding, in the order of the axes.
    """
    order = torch.randperm(len(steps), generator=torch.Generator().manual_seed(0))
    one, other = order.to(steps.device).tensor_split(2)
    found = []
    for fitted, judged in ((one, other), (other, one)):
        white, whiten = whitened(steps[fitted] - steps[fitted].mean(0))
        half = refine(white, turned_to(axes @ torch.linalg.inv(whiten))) @ whiten
        variance = None if normal is None else half @ normal[judged] @ half.T
        found.append(orientation(steps[judged] @ half.T, variance))
    return together(*found)

"""How good a subspace is on particles that it has not seen."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.statistics.posterior import Likelihood
from cryo_disentangle.statistics.processes import sum_over_processes

__all__ = ["Calibration", "HeldOutGains", "calibration", "held_out_gains"]

# An increment of the held-out likelihood counts from so many of its standard errors on.
_STANDARD_ERRORS = 3.0
# A volume is worth keeping if it adds this share of the whole gain.
_WORTHWHILE = 2e-3


class HeldOutGains(NamedTuple):
    """Held-out gains of volumes, on particles that did not make them.

    Attributes:
        gain: Mean gain in log likelihood of the first 1, 2, ... volumes over the mean alone, in
            nats a particle, shape (K,).
        deviation: Standard error of what each volume adds to those before it, shape (K,).
    """

    gain: Tensor
    deviation: Tensor

    def supported(self) -> int:
        """Number of volumes that the data support: up to the last with a clear gain."""
        return self._last(0.0)

    def worthwhile(self) -> int:
        """Number of volumes worth keeping: up to the last with 0.2 % of the whole gain."""
        return self._last(_WORTHWHILE * float(self.gain.max()))

    def _last(self, least: float) -> int:
        """Number of volumes up to the last whose increment is clear and not too small."""
        steps = self.gain.diff(prepend=self.gain.new_zeros(1))
        kept = torch.nonzero((steps > _STANDARD_ERRORS * self.deviation) & (steps > least))
        return int(kept[-1, 0]) + 1 if len(kept) else 0


def held_out_gains(likelihood: Likelihood) -> HeldOutGains:
    """Compares ranks on statistics of volumes that come strongest first.

    Args:
        likelihood: Statistics of particles from volumes that did not see them.

    Returns:
        The gains, over the particles of all processes.
    """
    gains = []
    for rank in range(1, likelihood.information.shape[1] + 1):
        first = Likelihood(
            likelihood.precision[:, :rank, :rank],
            likelihood.information[:, :rank],
            likelihood.offset,
        )
        gains.append(first.posterior().gain)
    # On the host: not every device has float64.
    each = torch.stack(gains, 1).cpu().double()
    steps = each.diff(dim=1, prepend=each.new_zeros(len(each), 1))
    count = torch.tensor(float(len(each)), dtype=torch.float64)
    sums = [each.sum(0), steps.sum(0), steps.square().sum(0), count]
    sum_over_processes(sums)
    gain, step, square = (value / sums[3] for value in sums[:3])
    deviation = ((square - step.square()) / sums[3]).clamp_min(0).sqrt()
    return HeldOutGains(gain.float(), deviation.float())


class Calibration(NamedTuple):
    """Whether a subspace says of new particles what is so.

    Attributes:
        held_out: Mean of bᵀ (Λ + 1)⁻¹ b over particles that did not make the volumes.
        training: The same over particles that did; larger where volumes hold their noise.
        covariance: Smallest and largest eigenvalue of E[m mᵀ] + S, 1 where the prior holds.
    """

    held_out: float
    training: float
    covariance: tuple[float, float]

    @property
    def excess(self) -> float:
        """By how much training's mean is larger, as a share of the held-out one."""
        return self.training / self.held_out - 1 if self.held_out else math.inf


def calibration(held_out: Likelihood, training: Likelihood) -> Calibration:
    """Compares particles that a subspace has not seen with those that it has.

    Args:
        held_out: Statistics from the other half's volumes.
        training: Statistics of the same particles from their own half's volumes.

    Returns:
        The comparison, over the particles of all processes.
    """
    mean, covariance, _ = held_out.posterior()
    own = training.posterior().mean
    sums = [
        (held_out.information * mean).sum(),
        (training.information * own).sum(),
        mean.T @ mean + covariance.sum(0),
        torch.tensor(float(len(mean))),
    ]
    sum_over_processes(sums)
    values = torch.linalg.eigvalsh(sums[2] / sums[3])
    held, seen = (float(total / sums[3]) for total in sums[:2])
    return Calibration(held, seen, (float(values[0]), float(values[-1])))

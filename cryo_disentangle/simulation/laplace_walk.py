"""Time-resolved conformations: walks whose steps are sparse."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.processes import Conformations, check_range
from cryo_disentangle.simulation.quantiles import laplace_quantile

__all__ = ["LaplacePairs", "LaplaceWalk"]


@dataclass(frozen=True)
class LaplaceWalk:
    """Trajectories whose factors take Laplace-distributed steps and are reflected at bounds.

    Each trajectory starts uniformly on the range, which is also where reflected walks settle. The
    particles of a trajectory follow each other in the stack, in the order of time; the last
    trajectory may be cut short by the end of the stack.

    Args:
        dim: Number of factors K.
        scale: Mean absolute step per frame, of every factor.
        frames: Particles of a trajectory.
        frame_interval: Time between frames; time stamps are its multiples, in the same unit.
        low: Lower bound.
        high: Upper bound.

    Raises:
        ValueError: If the range is empty, or another number is not positive.

    References:
        Klindt et al. 2021, Towards nonlinear disentanglement in natural data with temporal sparse
        coding, Eq. 1.
    """

    dim: int = 2
    scale: float = 0.1
    frames: int = 50
    frame_interval: float = 1.0
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        check_range(self.low, self.high)
        positive = (self.dim, self.scale, self.frames, self.frame_interval)
        if min(positive) <= 0:
            raise ValueError(
                "dim, scale, frames and frame_interval must be positive, found "
                + ", ".join(f"{value:g}" for value in positive)
            )

    def _reflect(self, free: Tensor) -> Tensor:
        """Folds an unbounded walk into the range.

        Steps are symmetric, so the folded sum is a reflected walk.
        """
        length = self.high - self.low
        phase = torch.remainder(free - self.low, 2 * length)
        return self.low + torch.minimum(phase, 2 * length - phase)

    def sample(self, draws: Draws) -> Conformations:
        """Draws factors (B, K), with time stamps and trajectory numbers."""
        trajectory = torch.div(draws.index, self.frames, rounding_mode="floor")
        first, last = int(trajectory.min()), int(trajectory.max())
        count = (last - first + 1) * self.frames
        # Whole trajectories are walked, of which the particles asked for are a part.
        whole = Draws.consecutive(draws.seed, first * self.frames, count)
        uniform = whole.uniform("factors", self.dim).unflatten(0, (-1, self.frames))
        start = self.low + (self.high - self.low) * uniform[:, :1]
        steps = self.scale * laplace_quantile(uniform[:, 1:])
        walk = self._reflect(torch.cat([start, steps], dim=1).cumsum(dim=1)).flatten(0, 1)
        return Conformations(
            walk[draws.index - first * self.frames],
            time=(draws.index % self.frames).double() * self.frame_interval,
            trajectory=trajectory,
        )


@dataclass(frozen=True)
class LaplacePairs:
    """Pairs of frames: normal first frames, Laplace-distributed steps to the second.

    The generative model that a slowness prior assumes, without bounds to reflect at. Particles 2i
    and 2i + 1 are the frames of trajectory i, at times 0 and 1.

    Args:
        dim: Number of factors K.
        start_scale: Standard deviation of every factor in first frames.
        scale: Mean absolute step of every factor.

    Raises:
        ValueError: If a number is not positive.

    References:
        Klindt et al. 2021, Towards nonlinear disentanglement in natural data with temporal sparse
        coding, Eqs. 1 and 2.
    """

    dim: int = 2
    start_scale: float = 0.4
    scale: float = 0.2

    def __post_init__(self) -> None:
        if min(self.dim, self.start_scale, self.scale) <= 0:
            raise ValueError(
                "dim, start_scale and scale must be positive, found "
                f"{self.dim}, {self.start_scale:g} and {self.scale:g}"
            )

    @property
    def frames(self) -> int:
        """Particles of a trajectory."""
        return 2

    def sample(self, draws: Draws) -> Conformations:
        """Draws factors (B, K), with time stamps and trajectory numbers."""
        trajectory = torch.div(draws.index, 2, rounding_mode="floor")
        first, last = int(trajectory.min()), int(trajectory.max())
        whole = Draws.consecutive(draws.seed, 2 * first, 2 * (last - first + 1))
        start = self.start_scale * whole.normal("start", self.dim).unflatten(0, (-1, 2))[:, :1]
        uniform = whole.uniform("factors", self.dim).unflatten(0, (-1, 2))[:, 1:]
        pairs = torch.cat([start, start + self.scale * laplace_quantile(uniform)], dim=1)
        return Conformations(
            pairs.flatten(0, 1)[draws.index - 2 * first],
            time=(draws.index % 2).double(),
            trajectory=trajectory,
        )

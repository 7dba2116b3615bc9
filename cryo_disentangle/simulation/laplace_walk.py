"""Time-resolved conformations: walks whose steps are sparse."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.processes import Conformations, check_range
from cryo_disentangle.simulation.quantiles import laplace_quantile

__all__ = ["LaplaceWalk"]


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

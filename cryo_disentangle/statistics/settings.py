"""How a subspace is estimated, and what receives its progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from cryo_disentangle.statistics.hypotheses import PoseSearch
from cryo_disentangle.statistics.nuisance import Nuisance

__all__ = ["Progress", "SubspaceSettings"]


class Progress(Protocol):
    """Receives the progress of the work."""

    def say(self, what: str) -> None:
        """Reports a choice.

        Args:
            what: A line.
        """
        ...

    def start(self, what: str, total: int) -> None:
        """Reports the start of a stage.

        Args:
            what: Its name.
            total: Of how many units.
        """
        ...

    def advance(self, count: int) -> None:
        """Reports that more is done.

        Args:
            count: How many units.
        """
        ...


@dataclass(frozen=True)
class SubspaceSettings:
    """Settings of the estimation of a subspace.

    Args:
        rank: Number K of volumes besides the mean; null chooses it by the held-out likelihood.
        largest_rank: Most volumes that are tried where it is chosen.
        radius: Radius in Fourier pixels up to which images are compared; null is as far as the half
            maps of the mean agree.
        mask_radius: Radius of the sphere that volumes are held in, as a fraction of half the box.
        nuisance: Errors of poses and contrast that are integrated out.
        refine_poses: Whether poses follow what their posterior expects.
        search: What is not known of poses, and is searched for before the subspace is estimated.
        seed: Seed of the volumes' start, and of the half sets where the particle file has none.

    Raises:
        ValueError: If an option is out of range, poses are to be refined without a prior, or what a
            search leaves wrong is not integrated out.
    """

    rank: int | None = None
    largest_rank: int = 8
    radius: int | None = None
    mask_radius: float = 0.9
    nuisance: Nuisance = field(default_factory=Nuisance)
    refine_poses: bool = False
    search: PoseSearch = field(default_factory=PoseSearch)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rank", "largest_rank", "radius"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, found {value}")
        if not 0 < self.mask_radius <= 1:
            raise ValueError(f"mask_radius must be above 0 and at most 1, found {self.mask_radius}")
        if self.refine_poses and not self.nuisance.pose_count:
            raise ValueError(
                "poses are refined by the posterior of their errors: give the standard deviation "
                "of shifts or rotations (nuisance.shift in pixels, nuisance.rotation in degrees)"
            )
        missing = self.search.wanted and not self.nuisance.rotation
        if missing or (self.search.shift and not self.nuisance.shift):
            raise ValueError(
                "a search leaves errors of a few degrees, and of a pixel where shifts are searched "
                "for: give their standard deviations (nuisance.rotation in degrees, nuisance.shift "
                "in pixels), so that they are integrated out"
            )

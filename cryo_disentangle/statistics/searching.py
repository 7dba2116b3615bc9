"""Searches for poses that are not known, in turn with the volumes, from low to high frequencies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import roma
import torch
from torch import Tensor

from cryo_disentangle.decoders.spline import pair_nodes
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.statistics.fitting import HalfSetFit
from cryo_disentangle.statistics.grid import SliceGrid
from cryo_disentangle.statistics.hypotheses import (
    Hypotheses,
    PoseSearch,
    hypothesis_likelihood,
)
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.processes import process, sum_over_processes
from cryo_disentangle.statistics.settings import Progress, SubspaceSettings
from cryo_disentangle.statistics.views import ParticleViews, view_batches
from cryo_disentangle.types import Pose

__all__ = ["FoundPoses", "search_poses"]

_GROWTH = 1.5
# Angles between hypotheses, in Fourier pixels at the edge of the disc.
_SPACING = 1.0
_REACH = 2.2
_MOST_VOLUMES = 3
_MEAN_STEPS, _EARLY_STEPS, _STEPS = 3, 6, 3
# Until this radius halves are compared with their average, or each would find its own frame.
_JOINED = 6
# Rounds at each of these radii, at which poses that are far off find their way.
_AROUND = 3
# Errors left in a hypothesis's cell, as a share of the spacing.
_CELL = 0.5
_BATCH = 32
_PIXELS = Nuisance(shift=1.0)


class FoundPoses(NamedTuple):
    """Poses that were found.

    Attributes:
        pose: Rotations (N, 3, 3) and translations (N, 2) in pixels.
        probability: Of the best hypothesis among all in the last round, shape (N,).
    """

    pose: Pose
    probability: Tensor


@torch.no_grad()
def search_poses(
    images: ParticleDataset, half: Tensor, settings: SubspaceSettings, progress: Progress
) -> FoundPoses:
    """Finds poses from those given and what is known of their errors.

    Every particle is compared with hypotheses around its pose, its coefficients integrated out;
    the best is moved to by derivatives while mean and volumes follow, and a finer lattice at a
    higher radius comes next.

    Args:
        images: The particles.
        half: Half set of each, shape (N,).
        settings: How; of its volumes at most three are used.
        progress: Receives the progress.

    Returns:
        The poses of all particles.

    References:
        Scheres 2012, RELION: implementation of a Bayesian approach, for priors of poses and
        lattices from coarse to fine; Punjani et al. 2017, cryoSPARC, for their bounds.
    """
    side, rank, count = images.stack.box_size, *process()
    rows = torch.arange(len(half))[rank::count]
    radius = min(settings.search.radius, side // 2)
    disc = SliceGrid(side, radius).disc
    parts = [views for _, views in view_batches(images, disc, rows)]
    given = ParticleViews(*(torch.cat(part) for part in zip(*parts, strict=True)))
    search = _Search(given, half[rows], side, radius, settings)
    search.run(progress)
    total = len(half)
    rotation, shift, sure = (torch.zeros(total, *size) for size in ((3, 3), (2,), ()))
    rotation[rows] = search.turn @ given.rotation
    shift[rows], sure[rows] = search.shift, search.probability
    sum_over_processes([rotation, shift, sure])
    if images.stack.translation is not None:
        shift += torch.from_numpy(images.stack.translation)
    return FoundPoses(Pose(rotation, shift), sure)


@dataclass
class _Search:
    """Errors of poses found so far, beside the volumes."""

    given: ParticleViews
    half: Tensor
    box_size: int
    radius: int
    settings: SubspaceSettings

    def __post_init__(self) -> None:
        self.turn = torch.eye(3).repeat(len(self.half), 1, 1)
        self.shift = torch.zeros(len(self.half), 2)
        self.probability = torch.ones(len(self.half))
        self.wide = SliceGrid(self.box_size, self.radius)
        volumes = min(self.settings.rank or _MOST_VOLUMES, _MOST_VOLUMES)
        start = Nuisance(self.prior.shift, self.prior.rotation, self.settings.nuisance.contrast)
        self.fit = HalfSetFit(
            *(self.given, self.half, self.box_size, self.radius, volumes, start),
            self.settings.mask_radius,
        )

    @property
    def prior(self) -> PoseSearch:
        """What is known of the poses."""
        return self.settings.search

    def run(self, progress: Progress) -> None:
        """Goes through all rounds."""
        radius, fit = self.prior.first_radius(self.box_size, self.radius), self.fit
        fit.resize(radius)
        fit.steps(_MEAN_STEPS)
        if not self.prior.in_plane:
            self._start_volumes()
        reach = math.inf
        while True:
            progress.start(f"poses to radius {radius}", len(self.half))
            for _ in range(_AROUND if radius <= _JOINED else 1):
                self._round(radius, reach, progress)
            if fit.nodes[0].shape[1] == 1:
                self._start_volumes()
            if radius == self.radius:
                return
            radius, reach = min(self.radius, round(radius * _GROWTH)), _REACH
            fit.resize(radius)
            fit.find_molecule()

    def _start_volumes(self) -> None:
        """Adds what varies, which must not be taken for an error of the pose."""
        self.fit.start_volumes(torch.Generator().manual_seed(self.settings.seed))
        self.fit.steps(_EARLY_STEPS)

    def _round(self, radius: int, reach: float, progress: Progress) -> None:
        """Tries all hypotheses, and lets volumes and poses follow."""
        angle = _SPACING / radius
        step = angle * self.box_size / (2 * math.pi)
        tried = self.prior.hypotheses(angle, step, reach)
        noise, nodes = self.fit.noise[self.fit.grid.shell], self.fit.nodes
        if radius <= _JOINED:
            nodes = [(nodes[0] + nodes[1]) / 2] * 2
        for number in (0, 1):
            paired = pair_nodes(nodes[number])
            for rows in torch.nonzero(self.half == number)[:, 0].split(_BATCH):
                self._choose(rows, tried, paired, noise)
                progress.advance(len(rows))
        self.fit.restart(self._views(), self._cell(angle, step))
        self.fit.steps(_STEPS, refine=True)
        shift, turn = self.fit.nuisance.split(self.fit.error)
        if not self.prior.rotation:
            # The beam's direction is known.
            turn[:, :2] = 0
        self.shift += shift
        self.turn = roma.rotvec_to_rotmat(turn) @ self.turn

    def _cell(self, angle: float, step: float) -> Nuisance:
        """Errors that are left within a hypothesis's cell."""
        turns = self.prior.rotation > 0 or self.prior.in_plane
        return Nuisance(
            _CELL * step if self.prior.shift else 0.0,
            math.degrees(_CELL * angle) if turns else 0.0,
            self.settings.nuisance.contrast,
        )

    def _views(self) -> ParticleViews:
        """Views at the poses found so far."""
        moved = _PIXELS.corrected(self.given, self.shift, self.wide)
        return moved._replace(rotation=self.turn @ self.given.rotation)

    def _choose(self, rows: Tensor, tried: Hypotheses, paired: Tensor, noise: Tensor) -> None:
        """Moves particles to their best hypotheses."""
        grid = self.fit.grid
        views = self.fit.views.take(rows).within(self.wide.points_within(grid.radius))
        found = hypothesis_likelihood(grid, paired, views.whitened(noise), tried)
        turn = tried.turn @ self.turn[rows][:, None]
        shift = tried.shift + self.shift[rows][:, None]
        log_prior = self.prior.log_prior(turn[:, :, None], shift[:, None])
        log_posterior = (found.evidence() + log_prior).flatten(1)
        best = log_posterior.argmax(1)
        chosen_turn, chosen_shift = tried.of_row(best)
        self.turn[rows] = chosen_turn @ self.turn[rows]
        self.shift[rows] += chosen_shift
        self.probability[rows] = log_posterior.softmax(1).amax(1)

"""Fits a subspace in two half sets: the mean, then K volumes from low to higher frequencies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cryo_disentangle.decoders.spline import pair_nodes
from cryo_disentangle.statistics.expectation import (
    Expectation,
    expanded,
    expectation,
    maximized,
)
from cryo_disentangle.statistics.grid import SliceGrid, shell_means
from cryo_disentangle.statistics.half_sets import aligned, half_set_correlation, prior_precision
from cryo_disentangle.statistics.masks import local_weights, molecule_mask, sphere_mask
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.processes import sum_over_processes
from cryo_disentangle.statistics.views import ParticleViews

__all__ = ["HalfSetFit"]

# Random volumes start at this share of the mean's amplitude in each shell.
_START = 0.1
_BATCH = 64


@dataclass
class HalfSetFit:
    """Two subspaces, each fitted to its half of the particles, with what they share.

    Noise is that of both halves, priors come from comparing them, and volumes are held inside a
    mask.

    Args:
        views: Views at the poses given, of this process's particles, unwhitened.
        half: Half set of each, shape (N,).
        box_size: Image side D in pixels.
        radius: Radius in Fourier pixels of the views.
        rank: Number K of volumes.
        nuisance: What is integrated out.
        mask_radius: Radius of the sphere that volumes are held in, as a fraction of half the box.

    Attributes:
        error: Expected errors of the poses in standard deviations, shape (N, Q).
        nodes: Volumes of the two halves.
        noise: Variance of the noise in each shell, shape (radius + 1,).
        correlation: Of the halves' volumes, as `half_set_correlation` has it.
    """

    views: ParticleViews
    half: Tensor
    box_size: int
    radius: int
    rank: int
    nuisance: Nuisance = field(default_factory=Nuisance)
    mask_radius: float = 0.9

    def __post_init__(self) -> None:
        device = self.views.rotation.device
        self._widest = SliceGrid(self.box_size, self.radius).to(device)
        self.error = torch.zeros(len(self.half), self.nuisance.count, device=device)
        self._set_grid(self._widest)
        power = self.views.coefficients.square().mean((0, 2)) * len(self.half)
        totals = [power, torch.tensor(float(len(self.half)))]
        sum_over_processes(totals)
        self._power = shell_means(totals[0] / totals[1], self._widest.shell, self.radius + 1)
        self._power[0] = self._power[1]
        self.noise = self._power.clone()
        self.nodes = [torch.zeros(self.grid.side**3, 1, device=device) for _ in range(2)]
        self._precision = torch.zeros_like(self.nodes[0])

    def _set_grid(self, grid: SliceGrid) -> None:
        """Works up to the radius of a grid from now on."""
        self.grid = grid
        self._within = self._widest.points_within(grid.radius)
        self._mask = sphere_mask(grid, self.mask_radius)
        self._weights: Tensor | None = None

    def resize(self, radius: int) -> None:
        """Goes on with another radius; frequencies that are new start from zero.

        Args:
            radius: In Fourier pixels, at most that of the views.
        """
        old, known = self.grid, len(self.noise)
        self._set_grid(SliceGrid(self.box_size, radius).to(old.points.device))
        self.nodes = [old.resized(nodes, self.grid) for nodes in self.nodes]
        noise = self._power[: radius + 1].clone()
        noise[: known - 1] = self.noise[: len(noise)][: known - 1]
        self.noise = noise
        # Nothing is known of new shells: the last prior holds there.
        shells = shell_means(self._precision, old.node_shell, old.radius + 1)
        at = self.grid.node_shell.clamp_max(old.radius)
        self._precision = shells[at]

    def restart(self, views: ParticleViews, nuisance: Nuisance) -> None:
        """Goes on with other poses of the same particles, of whose errors nothing is known yet.

        Args:
            views: Views at these poses.
            nuisance: What is integrated out about them.
        """
        self.views, self.nuisance = views, nuisance
        self.error = torch.zeros(len(self.half), nuisance.count)

    def find_molecule(self) -> None:
        """Narrows the mask to where the halves' volumes are, and weighs where these move."""
        sphere = sphere_mask(self.grid, self.mask_radius)
        self._mask = sphere * molecule_mask(self.nodes[0], self.nodes[1], self.grid)
        self._weigh()

    def start_volumes(self, generator: torch.Generator) -> None:
        """Adds random volumes to the mean, the same in both halves.

        Args:
            generator: Source of randomness.
        """
        shells = self.grid.radius + 2
        power = shell_means(self.nodes[0].square(), self.grid.node_shell, shells)
        amplitude = power.sqrt()[self.grid.node_shell.clamp_max(shells - 1)]
        drawn = torch.randn(len(amplitude), self.rank, generator=generator).to(amplitude.device)
        drawn = drawn * amplitude * _START
        self.nodes = [torch.cat([mean, self._masked(drawn)], 1) for mean in self.nodes]
        self._precision = torch.cat([self._precision, torch.zeros_like(drawn)], 1)

    def steps(
        self,
        count: int,
        share: float = 1.0,
        *,
        refine: bool = False,
        told: Callable[[], None] | None = None,
    ) -> None:
        """Takes steps of expectation and maximisation in both halves.

        Args:
            count: How many.
            share: Share of the particles that each step sees, others each time.
            refine: Whether poses are corrected by their expected errors.
            told: Called after each step.
        """
        for number in range(count):
            power, seen = torch.zeros_like(self.noise), 0.0
            apart = max(1, round(1 / share))
            for half in (0, 1):
                rows = torch.nonzero(self.half == half)[:, 0]
                found = self._expectation(half, rows[number % apart :: apart], refine)
                totals = [torch.tensor(float(len(rows)))]
                sum_over_processes(totals)
                total = float(totals[0])
                prior = self._precision
                stepped = maximized(self.nodes[half], found, prior, self.grid.inside, total)
                self.nodes[half] = self._masked(self._scaled(stepped, found))
                weight = found.folded()[1] * (total / float(found.count))
                power += shell_means(found.power / 2, self.grid.shell, len(power))
                seen += float(found.count)
            self.noise = self.noise * power / seen
            self.noise[0] = self.noise[1]
            self._compare(weight)
            if told is not None:
                told()

    def _compare(self, weight: Tensor) -> None:
        """Aligns the halves, and takes the prior from how well they agree."""
        if self.nodes[0].shape[1] > 1:
            self._align()
            if self._weights is not None:
                self._weigh()
        self.correlation = half_set_correlation(self.nodes[0], self.nodes[1], self.grid)
        self._precision = prior_precision(self.correlation, weight, self.grid)

    def _weigh(self) -> None:
        """Weighs the volumes by what the halves share of them in each voxel."""
        first, second = (nodes[:, 1:] for nodes in self.nodes)
        self._weights = local_weights(first, second, self.grid) if first.shape[1] else None

    def _expectation(self, half: int, rows: Tensor, refine: bool) -> Expectation:
        """Sums over some particles of a half."""
        found = Expectation.nothing(self.grid, self.nodes[half].shape[1] - 1)
        noise, paired = self.noise[self.grid.shell], pair_nodes(self.nodes[half])
        for some in rows.split(_BATCH):
            views = self.views.take(some).within(self._within).whitened(noise)
            error = self.pose_error(some)
            views = self.nuisance.corrected(views, error, self.grid)
            added, expected = self._seen(some, paired, views, error)
            found.add(added)
            if refine:
                self.error[some] = expected
        sum_over_processes(found.sums())
        return found

    def _seen(
        self, rows: Tensor, paired: Tensor, views: ParticleViews, error: Tensor
    ) -> tuple[Expectation, Tensor]:
        """The expectation step of a batch."""
        del rows
        return expectation(self.grid, paired, views, self.nuisance, error)

    def _scaled(self, nodes: Tensor, found: Expectation) -> Tensor:
        """Makes the coefficients of a half's volumes standard normal."""
        return expanded(nodes, found.moments / found.count)

    def _align(self) -> None:
        """Turns the halves' bases until they agree, the strongest volume first."""
        self.nodes = list(aligned(self.nodes[0], self.nodes[1]))

    def pose_error(self, rows: Tensor) -> Tensor:
        """Errors that the poses of particles are corrected by; contrast stays as it is.

        Args:
            rows: Which particles, shape (B,).

        Returns:
            In standard deviations, shape (B, Q).
        """
        error = self.error[rows].clone()
        error[:, self.nuisance.pose_count :] = 0
        return error

    def _masked(self, nodes: Tensor) -> Tensor:
        """Holds volumes inside the mask, and those that vary to where the molecule moves."""
        densities = self.grid.densities(nodes) * self._mask
        if self._weights is not None:
            densities[1:] *= self._weights
        return self.grid.nodes(densities)

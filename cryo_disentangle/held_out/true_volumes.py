"""The true molecule as a subspace of many volumes, with coefficients that its factors determine."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from scipy.interpolate import BSpline, make_interp_spline
from torch import Tensor

from cryo_disentangle.decoders.spline import SplinePoints, pair_nodes, spline_gain
from cryo_disentangle.metrics.functional.oracle import (
    posterior_means_of_draws,
    posterior_means_of_samples,
)
from cryo_disentangle.simulation.mixing import Mixing
from cryo_disentangle.simulation.molecule import GaussianMolecule
from cryo_disentangle.statistics.grid import SliceGrid, shell_means
from cryo_disentangle.statistics.views import ParticleViews
from cryo_disentangle.types import ParticleBatch

__all__ = ["TrueVolumes"]

_SAMPLES = 4096
# Conformations along each factor that volumes are made of, until splines between them leave out no
# more than this share of other conformations' variance.
_PLACES, _MOST_LEFT, _NUMBERS = (7, 13, 25), 1e-3, 2**28
# Volumes may leave out this share of the variance of the conformations, and shells that of slices'.
_LEFT_OUT = 3e-4
_MOST_VOLUMES = 64
_FINER, _MARGIN = 2, 1.25
_SHOWN = 8
_FEW, _DRAWS = 16, 256
_POINTS_AT_ONCE = 4096

_Axis: TypeAlias = npt.NDArray[np.float64]


class _Spline(NamedTuple):
    """A cubic spline through values on a grid of one or more axes.

    Attributes:
        knots: Of each axis.
        values: Coefficients of the B-splines, shape (n_1, ..., n_F, R).
    """

    knots: list[_Axis]
    values: Tensor

    @classmethod
    def of(cls, axes: list[_Axis], values: Tensor) -> _Spline:
        """Interpolates values of shape (n_1, ..., n_F, R)."""
        knots, found = [], values.numpy()
        for number, axis in enumerate(axes):
            spline = make_interp_spline(axis, np.moveaxis(found, number, 0), 3)
            knots.append(spline.t)
            found = np.moveaxis(spline.c, 0, number)
        return cls(knots, torch.from_numpy(np.ascontiguousarray(found)))

    def __call__(self, points: Tensor) -> Tensor:
        """Evaluates at points (..., F), shape (..., R)."""
        flat = points.reshape(-1, points.shape[-1])
        parts = [self._evaluated(some) for some in flat.split(_POINTS_AT_ONCE)]
        return torch.cat(parts).reshape(*points.shape[:-1], -1)

    def _evaluated(self, points: Tensor) -> Tensor:
        first, *others = (
            torch.from_numpy(BSpline.design_matrix(column.contiguous().numpy(), t, 3).toarray())
            for t, column in zip(self.knots, points.T, strict=True)
        )
        found = torch.tensordot(first, self.values, 1)
        for weights in others:
            found = torch.einsum("na,na...->n...", weights, found)
        return found


@dataclass(frozen=True)
class TrueVolumes:
    """Principal volumes of a true molecule's conformations.

    A particle's likelihood depends on its factors through a few hundred numbers then, and is summed
    over thousands of samples of the prior without an image being rendered.

    Attributes:
        grid: Of the images, up to the radius that conformations differ within.
        paired: R volumes that leave out 0.03 % of the conformations' variance, on nodes twice as
            dense as those of ``grid``, as `pair_nodes` has them.
        samples: Of the factors' prior, shape (S, F).
        coefficients: Of the volumes, as a function of the factors.
    """

    grid: SliceGrid
    paired: Tensor
    samples: Tensor
    coefficients: _Spline

    @property
    def spread(self) -> Tensor:
        """Standard deviation of the factors, shape (F,)."""
        return self.samples.std(0)

    def __call__(self, factors: Tensor) -> Tensor:
        """Coefficients of the volumes, those of the nearest factors where there are samples.

        Args:
            factors: Shape (..., F).

        Returns:
            Shape (..., R), float64.
        """
        inside = factors.clamp(self.samples.min(0).values, self.samples.max(0).values)
        return self.coefficients(inside.double())

    @classmethod
    def of(
        cls,
        molecule: GaussianMolecule,
        mixing: Mixing | None,
        factors: Tensor,
        box_size: int,
        pixel_size: float,
    ) -> TrueVolumes:
        """Makes volumes on a grid of factors, and their principal components.

        Args:
            molecule: The density as a function of the mixed factors.
            mixing: Of the factors; None takes them as they are.
            factors: Samples of one or two factors, shape (N, F).
            box_size: Image side D in pixels.
            pixel_size: Å per pixel.

        Returns:
            The volumes.

        Raises:
            ValueError: If a factor does not vary.
        """
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(factors), generator=generator)[:_SAMPLES]
        samples = factors[order].double()
        if not bool((samples.std(0) > 0).all()):
            raise ValueError(
                f"factors must vary, found standard deviations {samples.std(0).tolist()}"
            )

        def densities(some: Tensor, side: int) -> Tensor:
            mixed = some.float() if mixing is None else mixing.mix(some.float())
            return molecule.volume(mixed, side, pixel_size * box_size / side)

        shown = samples[:_SHOWN]
        grid = SliceGrid(box_size, _reach(densities(one, box_size) for one in shown.split(1)))
        # Voxels as small as the frequencies that are kept need them.
        side = min(box_size, 2 * math.ceil(_MARGIN * grid.radius))

        def nodes(some: Tensor) -> Tensor:
            return _transformed(densities(some, side), grid)

        expected = nodes(shown)
        affordable = (_NUMBERS / len(expected)) ** (1 / samples.shape[1])
        for count in (_PLACES[0], *(more for more in _PLACES[1:] if more <= affordable)):
            axes = _places(samples, count)
            places = torch.tensor(list(itertools.product(*axes)), dtype=torch.float64)
            made = expected.new_empty(len(expected), len(places))
            for rows in torch.arange(len(places)).split(_SHOWN):
                made[:, rows] = nodes(places[rows])
            mean, volumes, known = _principal(made, _weights(axes, samples))
            spline = _Spline.of(axes, known.unflatten(0, tuple(len(axis) for axis in axes)))
            found = cls(grid, pair_nodes(volumes), samples, spline)
            left = expected - mean - volumes @ found(shown).T.float()
            if left.square().sum() < _MOST_LEFT * (expected - mean).square().sum():
                break
        return found

    def posterior(self, noises: Iterable[ParticleBatch], variance: Tensor) -> Tensor:
        """Posterior means of the factors of particles, from the noise of their images.

        The noise is added to slices of these volumes in the true conformations. Slices differ a
        little from images, whose pixels average the density otherwise than voxels do, and that
        would count as evidence where noise is weak.

        Args:
            noises: Images without the molecule, with true factors, poses and CTFs.
            variance: Of the noise of Hartley coefficients in shells 0 .. D / 2, shape (D / 2 + 1,).

        Returns:
            Means, shape (N, F), float64.
        """
        found, coefficients = [], self(self.samples)
        generator = torch.Generator().manual_seed(0)
        for batch in noises:
            information, precision = self._statistics(batch, variance)
            mean, effective = posterior_means_of_samples(
                self.samples, coefficients, information, precision
            )
            narrow = effective < _FEW
            if bool(narrow.any()):
                # Too few samples lie within the posterior.
                some = (information[narrow], precision[narrow])
                mean[narrow] = posterior_means_of_draws(
                    self, self.samples, some, mean[narrow], _DRAWS, generator
                )
            found.append(mean)
        return torch.cat(found)

    def _statistics(self, batch: ParticleBatch, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Information (B, R) and precision (B, R, R) of particles from their noise."""
        grid = self.grid
        views = ParticleViews.of(batch, grid.disc, grid.box_size)
        views = views.whitened(variance[grid.shell].to(views.coefficients))
        position = _FINER * (grid.points @ views.rotation[:, :2]).flatten(0, 1)
        at = SplinePoints(position, _nodes_side(grid), views.transfer.flatten())
        slices = grid.read(at, self.paired).flatten(1, 2).double()
        precision = slices.mT @ slices
        pulled = slices.mT @ views.coefficients.flatten(1).double()[..., None]
        known = precision @ self(batch["factors"])[..., None]
        return (pulled + known)[..., 0], precision


def _nodes_side(grid: SliceGrid) -> int:
    """Nodes along an axis where they are denser than those of a grid of the same radius."""
    return _FINER * 2 * grid.radius + 3


def _transformed(volumes: Tensor, grid: SliceGrid) -> Tensor:
    """Hartley transforms of volumes (B, S, S, S) as nodes of splines, shape (G, B).

    Nodes are twice as dense as the transform's own frequencies, for what splines lose between nodes
    grows towards the faces of the box. The average over voxels of this size is undone, and that
    over pixels done.
    """
    side = volumes.shape[-1]
    position = torch.arange(side) - side // 2
    frequency = torch.arange(_nodes_side(grid)) / _FINER - grid.radius - 1 / _FINER
    phase = frequency[:, None] * position * (-2 * torch.pi / side)
    average = torch.sinc(frequency / grid.box_size) / torch.sinc(frequency / side)
    gain = spline_gain(position, _FINER * side)
    wave = torch.polar(average[:, None].expand_as(phase), phase) / gain
    found = volumes.to(wave.dtype)
    for _ in range(3):
        # Transforms the last axis, and puts it first.
        found = (found @ wave.T).movedim(3, 1)
    return (found.real - found.imag).flatten(1).T


def _reach(volumes: Iterable[Tensor]) -> int:
    """Radius in Fourier pixels that slices of volumes, each (1, D, D, D), differ within."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for volume in volumes:
        transform = torch.fft.fftn(volume[0])
        count, total = count + 1, total + transform
        squares = squares + transform.abs().square()
    power = squares - total.abs().square() / count
    side = len(power)
    axis = torch.fft.fftfreq(side, 1 / side).square()
    radius = (axis[:, None, None] + axis[:, None] + axis).sqrt().round().long()
    shells = shell_means(power.flatten(), radius.flatten(), side // 2 + 1)
    # Of a slice, a shell holds as many points as it is far from the centre.
    beyond = (shells * torch.arange(len(shells))).flip(0).cumsum(0).flip(0)
    return max(1, int((beyond > _LEFT_OUT * beyond[0]).sum()) - 1)


def _places(samples: Tensor, count: int) -> list[_Axis]:
    """Evenly spaced values of each factor, from the least to the largest sample."""
    ends = zip(samples.min(0).values.tolist(), samples.max(0).values.tolist(), strict=True)
    return [np.linspace(low, high, count) for low, high in ends]


def _weights(axes: list[_Axis], samples: Tensor) -> Tensor:
    """How many samples lie next to each place of a grid, at least a tenth; normalised, (P,)."""
    edges = [np.concatenate([[-np.inf], (a[1:] + a[:-1]) / 2, [np.inf]]) for a in axes]
    counts, _ = np.histogramdd(samples.numpy(), edges)
    weights = torch.from_numpy(counts.ravel()).clamp_min(0.1)
    return weights / weights.sum()


def _principal(nodes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted mean (G, 1) of columns, principal volumes (G, R), and coefficients (P, R).

    Columns lose their mean in place, for they are large.
    """
    mean = nodes @ weights.to(nodes)[:, None]
    away = nodes.sub_(mean)
    root = weights.sqrt()
    gram = root[:, None] * (away.T @ away).double() * root
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(gram))
    left = 1 - values.cumsum(0) / values.sum()
    rank = min(_MOST_VOLUMES, len(values), 1 + int((left > _LEFT_OUT).sum()))
    scale = values[:rank].clamp_min(torch.finfo(torch.float64).tiny).sqrt()
    volumes = away @ (root[:, None] * vectors[:, :rank] / scale).float()
    return mean, volumes, (away.T @ volumes).double()

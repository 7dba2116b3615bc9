"""What the truth would tell of simulated particles: the bound on any method."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.held_out.particles import make_true_generator
from cryo_disentangle.held_out.sources import SimulatedFolder, SimulatedSource, SimulatedStream
from cryo_disentangle.held_out.true_volumes import TrueVolumes
from cryo_disentangle.imaging.lattice import FourierDisc
from cryo_disentangle.metrics.functional.oracle import (
    fit_factor_mixture,
    posterior_means,
    posterior_means_linearised,
)
from cryo_disentangle.metrics.permutations import TrueGenerator
from cryo_disentangle.particles.preprocessing import HartleyPreprocessing
from cryo_disentangle.simulation import Simulation
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.molecule import GaussianMolecule
from cryo_disentangle.statistics.grid import shell_means
from cryo_disentangle.statistics.particle_statistics import ParticleStatistics
from cryo_disentangle.statistics.posterior import draw_information
from cryo_disentangle.types import ParticleBatch, Pose, known_precision

__all__ = [
    "posterior_of_stack",
    "posterior_of_statistics",
    "true_molecule_posterior",
    "true_statistics",
]

# Of the factors' spread.
_STEP = 0.02
_BATCH = 100
_PRIOR_SAMPLES = 4096
# Of the images' variance; what rounding leaves is less.
_LEAST_NOISE = 1e-6
_PREPROCESSING = HartleyPreprocessing(invert=True, window_radius=None, norm=(0.0, 1.0))
_NO_NOISE = "an oracle needs noise, and the simulation has none: every method finds z"


@torch.no_grad()
def true_molecule_posterior(simulation: Simulation, draws: Draws) -> tuple[Tensor, Tensor]:
    """Posterior means of the factors of simulated particles under the true molecule.

    As `posterior_of_stack`, with samples of the prior that are drawn for it.

    Args:
        simulation: What makes the particles.
        draws: Random numbers of N particles, preferably none that were trained on.

    Returns:
        Posterior means and true factors, each of shape (N, F).

    Raises:
        ValueError: If the simulation has no noise.
    """
    if not simulation.noise_std:
        raise ValueError(_NO_NOISE)
    prior = simulation.describe(simulation.calibration_draws(0, _PRIOR_SAMPLES)).factors
    source = SimulatedStream(simulation)
    made = source.dataset(_PREPROCESSING)
    parts = (Draws(draws.seed, rows) for rows in draws.index.split(_BATCH))
    means = _posterior(source, (made.batch(part) for part in parts), prior)
    return means, simulation.describe(draws).factors


@torch.no_grad()
def posterior_of_stack(source: SimulatedFolder, rows: npt.NDArray[np.int64]) -> Tensor:
    """Posterior means of the factors of particles of a stack under the true molecule.

    Of one or two factors, thousands of samples of their prior are weighted by the likelihood of the
    particle's image (`TrueVolumes`). Of more, or where a molecule is not made of Gaussians, images
    are taken to be linear in the factors about the truth, which is optimistic: another conformation
    that the image would suit as well does not count. The noise's variance in each shell of Fourier
    space is measured on the first particles.

    Args:
        source: The stack, with its molecule beside it.
        rows: Particles, shape (N,).

    Returns:
        Means, shape (N, F).

    Raises:
        FileNotFoundError: If a stack has no description of its molecule.
        ValueError: If the molecule can't be built again, or the images have no noise.
    """
    known = source.stack.labels.factors
    if known is None:
        raise ValueError(f"{source.name}: true factors expected, found none")
    dataset = source.dataset(_PREPROCESSING)
    parts = np.array_split(rows, -(-len(rows) // _BATCH))
    batches = (dataset.__getitems__(part.tolist()) for part in parts)
    return _posterior(source, batches, torch.from_numpy(known))


def posterior_of_statistics(
    statistics: ParticleStatistics, factors: Tensor, places: Tensor
) -> Tensor:
    """Posterior means of the factors within a subspace: the best encoder of its statistics.

    The volumes' coefficients are the polynomials of the factors that explain the statistics of all
    other particles best.

    Args:
        statistics: Of N particles.
        factors: Their true factors, shape (N, F).
        places: Particles that are asked for, shape (S,).

    Returns:
        Means, shape (S, F).

    Raises:
        ValueError: If there are too few other particles, or a factor does not vary.
    """
    others = torch.ones(len(statistics), dtype=torch.bool)
    others[places] = False
    rest, asked = statistics.take(others.nonzero()[:, 0]), statistics.take(places)
    mixture = fit_factor_mixture(factors[others], rest.information, rest.precision)
    return posterior_means(mixture, factors[others], asked.information, asked.precision)


def true_statistics(
    statistics: ParticleStatistics, factors: Tensor, held_out: int
) -> TrueGenerator:
    """Makes the generator g* of statistics of particles whose factors are known.

    b' = Λ φ*(f) + Λ^½ ε, φ* the polynomials that explain the statistics of all particles but the
    last ones best; ε is drawn from torch's global generator.

    Args:
        statistics: Of N particles.
        factors: Their true factors, shape (N, F).
        held_out: Number of last particles that φ* does not see.

    Returns:
        The generator; it needs poses with precisions.

    Raises:
        ValueError: If there are too few other particles, or a factor does not vary.
    """
    rest = statistics.take(slice(0, len(statistics) - held_out))
    mixture = fit_factor_mixture(factors[: len(rest)], rest.information, rest.precision)

    def render(moved: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        del batch
        precision = known_precision(pose).cpu().double()
        drawn = draw_information(mixture(moved.cpu().double()), precision)
        return drawn.to(moved)

    return TrueGenerator(render)


def _posterior(source: SimulatedSource, batches: Iterable[ParticleBatch], prior: Tensor) -> Tensor:
    """Posterior means of the factors of batches, under samples (S, F) of their prior."""
    truth, disc = make_true_generator(source, _PREPROCESSING), FourierDisc(source.box_size)
    noises = (_without_molecule(truth, batch) for batch in batches)
    first = next(noises)
    power = disc.select(first["images"]).double().square().mean(0)
    shell = (disc.frequencies.norm(dim=1) * disc.box_size).round().long()
    variance = shell_means(power, shell, int(shell.max()) + 1)
    every = itertools.chain([first], noises)
    molecule, mixing = source.molecule()
    if prior.shape[1] > 2 or not isinstance(molecule, GaussianMolecule):
        return _linearised(truth, disc, every, variance[shell].rsqrt(), prior)
    volumes = TrueVolumes.of(molecule, mixing, prior, source.box_size, source.pixel_size)
    return volumes.posterior(every, variance)


def _without_molecule(truth: TrueGenerator, batch: ParticleBatch) -> ParticleBatch:
    """A batch whose images are their noise."""
    images = batch["images"].double()
    pose = Pose(batch["rotation"], batch.get("translation"))
    noise = images - truth.generate(batch["factors"].double(), pose, batch)
    if float(noise.square().mean()) <= _LEAST_NOISE * float(images.square().mean()):
        raise ValueError(_NO_NOISE)
    return cast(ParticleBatch, {**batch, "images": noise.float()})


def _linearised(
    truth: TrueGenerator,
    disc: FourierDisc,
    noises: Iterable[ParticleBatch],
    white: Tensor,
    prior: Tensor,
) -> Tensor:
    """Posterior means from derivatives of clean images after the factors."""
    slopes, left, factors = [], [], []
    steps = _STEP * torch.diag(prior.double().std(0))
    for batch in noises:
        at = batch["factors"].double()
        pose = Pose(batch["rotation"], batch.get("translation"))

        def seen(moved: Tensor, pose: Pose = pose, batch: ParticleBatch = batch) -> Tensor:
            return disc.select(truth.generate(moved, pose, batch)).double()

        slope = [(seen(at + step) - seen(at - step)) / (2 * step.sum()) for step in steps]
        noise = disc.select(batch["images"]).double() * white
        # What the posterior depends on is as small as the factors are many.
        basis, triangle = torch.linalg.qr(torch.stack(slope, 2) * white[:, None])
        slopes.append(triangle)
        left.append((basis.mT @ noise[..., None])[..., 0])
        factors.append(at)
    return posterior_means_linearised(torch.cat(slopes), torch.cat(left), 1.0, torch.cat(factors))

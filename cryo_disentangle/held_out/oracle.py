"""What the truth would tell of simulated particles: the bound on any method."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.held_out.particles import make_true_generator
from cryo_disentangle.held_out.sources import SimulatedFolder
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
from cryo_disentangle.simulation.particles import Particles
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
# Of the images' variance; what rounding leaves is less.
_LEAST_NOISE = 1e-6
_NO_NOISE = "an oracle needs noise, and the simulation has none: every method finds z"


@torch.no_grad()
def true_molecule_posterior(simulation: Simulation, draws: Draws) -> tuple[Tensor, Tensor]:
    """Posterior means of the factors of simulated particles under the true molecule.

    Images are taken to be linear in the factors about the truth, with derivatives by central
    differences of rendered images, so that it is a little optimistic where the noise is strong.

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
    particles = simulation.describe(draws)
    clean = simulation.clean(particles)
    noise = (simulation.add_noise(clean.clone(), draws) - clean).flatten(1)
    slopes = torch.stack(
        [
            (_seen(simulation, particles, step) - _seen(simulation, particles, -step)) / (2 * _STEP)
            for step in _STEP * torch.eye(particles.factors.shape[1])
        ],
        dim=2,
    )
    variance = float(noise.square().mean())
    means = posterior_means_linearised(slopes, noise, variance, particles.factors)
    return means, particles.factors


@torch.no_grad()
def posterior_of_stack(source: SimulatedFolder, rows: npt.NDArray[np.int64]) -> Tensor:
    """Posterior means of the factors of particles of a stack under the true molecule.

    As `true_molecule_posterior`, from the stack's own images; the noise's variance in each shell of
    Fourier space is measured on them.

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
    factors = torch.from_numpy(known).double()
    disc = FourierDisc(source.box_size)
    radius = (disc.frequencies.norm(dim=1) * source.box_size).round().long()
    slopes, noises = [], []
    weights: list[Tensor] = []
    for slope, noise in _rendered(source, rows, factors.std(0), disc):
        # Measured once, on the first batch.
        weights = weights or [_whitening(noise, radius)]
        weight = weights[0]
        # What the posterior depends on is as small as the factors are many.
        basis, triangle = torch.linalg.qr(slope * weight[:, None])
        slopes.append(triangle)
        noises.append((basis.mT @ (noise * weight)[..., None])[..., 0])
    return posterior_means_linearised(
        torch.cat(slopes), torch.cat(noises), 1.0, factors[torch.from_numpy(rows)]
    )


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


def _rendered(
    source: SimulatedFolder, rows: npt.NDArray[np.int64], spread: Tensor, disc: FourierDisc
) -> Iterator[tuple[Tensor, Tensor]]:
    """Derivatives (B, M, F) of clean images after the factors and the noise (B, M), in batches."""
    preprocessing = HartleyPreprocessing(invert=True, window_radius=None, norm=(0.0, 1.0))
    truth = make_true_generator(source, preprocessing)
    dataset = source.dataset(preprocessing)
    for part in np.array_split(rows, -(-len(rows) // _BATCH)):
        batch = dataset.__getitems__(part.tolist())
        pose, factors = Pose(batch["rotation"], batch.get("translation")), batch["factors"].double()

        def seen(moved: Tensor, pose: Pose = pose, batch: ParticleBatch = batch) -> Tensor:
            return disc.select(truth.generate(moved, pose, batch)).double()

        images = disc.select(batch["images"]).double()
        noise = images - seen(factors)
        if float(noise.square().mean()) <= _LEAST_NOISE * float(images.square().mean()):
            raise ValueError(_NO_NOISE)
        slopes = [
            (seen(factors + step) - seen(factors - step)) / (2 * step.sum())
            for step in _STEP * torch.diag(spread)
        ]
        yield torch.stack(slopes, 2), noise


def _whitening(noise: Tensor, radius: Tensor) -> Tensor:
    """One over the noise's standard deviation at each coefficient, by shells, (M,)."""
    power = noise.square().mean(0)
    count = torch.bincount(radius)
    shells = torch.zeros(len(count), dtype=power.dtype).index_add_(0, radius, power)
    return (shells / count.clamp(min=1))[radius].rsqrt()


def _seen(simulation: Simulation, particles: Particles, step: Tensor) -> Tensor:
    """Clean images with factors moved by a step (F,), shape (N, M)."""
    factors = particles.factors + step
    hinges = simulation.hinges(factors)
    return simulation.clean(particles._replace(factors=factors, hinges=hinges)).flatten(1)

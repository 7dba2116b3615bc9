"""Molecule, conformations and microscope put together: images of particles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cryo_disentangle.imaging.noise import signal_variance
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.entangled_views import ConformationViews
from cryo_disentangle.simulation.microscope import Microscope
from cryo_disentangle.simulation.mixing import Mixing
from cryo_disentangle.simulation.molecule import Molecule
from cryo_disentangle.simulation.particles import Particles
from cryo_disentangle.simulation.processes import ConformationProcess
from cryo_disentangle.simulation.transfer import apply_contrast_transfer

__all__ = ["SimulatedImages"]

_PIXELS_PER_CHUNK = 2**20
_CALIBRATION_IMAGES = 256
_CHECKED_PARTICLES = 1024
_STACK, _CALIBRATION = 0, 1


@dataclass(frozen=True)
class SimulatedImages:
    """Images and particles as a function of the arguments of a `Simulation` alone.

    Args:
        molecule: Density as a function of coordinates.
        process: Distribution of true factors.
        microscope: Poses, CTF and noise.
        n_images: Number of particles.
        box_size: Image side D in pixels, even.
        pixel_size: Å per pixel.
        mixing: Map of true factors to the molecule's coordinates; none takes them as they are.
        seed: Another seed gives another stack.

    Raises:
        ValueError: If a size is not positive, the box is odd, numbers of factors differ, or the
            molecule cannot be shown, for example does not fit into the box.
    """

    molecule: Molecule
    process: ConformationProcess
    microscope: Microscope
    n_images: int = 10_000
    box_size: int = 32
    pixel_size: float = 4.25
    mixing: Mixing | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_images < 1 or not self.pixel_size > 0 or self.seed < 0:
            raise ValueError(
                "n_images and pixel_size must be positive and seed not negative, found "
                f"{self.n_images}, {self.pixel_size} and {self.seed}"
            )
        if self.box_size < 2 or self.box_size % 2:
            raise ValueError(f"box_size must be even and positive, found {self.box_size}")
        self._check_dims()
        # Reads every file that is named, too, so that a missing one is told before any work.
        sample = self.describe(self.calibration_draws(0, _CHECKED_PARTICLES))
        self.molecule.check(sample.hinges, self.box_size, self.pixel_size)

    def _check_dims(self) -> None:
        """Refuses a process, a mixing and a molecule that do not fit together."""
        coordinates = self.process.sample(self.calibration_draws(0, 1)).coordinates
        given = self.process.dim if coordinates is None else coordinates.shape[1]
        if coordinates is not None and self.mixing is not None:
            raise ValueError(
                f"{type(self.process).__name__} gives the molecule's coordinates, which no mixing "
                f"of factors makes: mixing null expected, found {type(self.mixing).__name__}"
            )
        dims = {given, self.molecule.dim}
        dims |= {self.mixing.dim} if self.mixing is not None else set()
        if len(dims) > 1:
            mixing = "" if self.mixing is None else f", mixing {self.mixing.dim}"
            raise ValueError(
                f"numbers of factors differ: process {given}, molecule {self.molecule.dim}{mixing}"
            )

    @cached_property
    def determined(self) -> bool:
        """Whether the factors determine the molecule's coordinates."""
        return self.process.sample(self.calibration_draws(0, 1)).coordinates is None

    def hinges(self, factors: Tensor) -> Tensor:
        """Mixes true factors into the molecule's coordinates.

        Args:
            factors: Shape (B, K).

        Returns:
            Shape (B, K).

        Raises:
            ValueError: If the factors do not determine them.
        """
        if not self.determined:
            raise ValueError(
                f"factors of {type(self.process).__name__} do not determine the coordinates of the "
                "molecule"
            )
        return factors if self.mixing is None else self.mixing.mix(factors)

    @property
    def chunk_size(self) -> int:
        """Images that are simulated at once: a few MB of them, whatever the box."""
        return max(1, _PIXELS_PER_CHUNK // self.box_size**2)

    @cached_property
    def noise_std(self) -> float:
        """Standard deviation of the noise of every pixel; 0 without noise."""
        if self.microscope.noise is None:
            return 0.0
        total = 0.0
        for start in range(0, _CALIBRATION_IMAGES, self.chunk_size):
            count = min(self.chunk_size, _CALIBRATION_IMAGES - start)
            clean = self.clean(self.describe(self.calibration_draws(start, count)))
            total += count * signal_variance(clean)
        return math.sqrt(total / _CALIBRATION_IMAGES / self.microscope.noise.snr)

    def stack_draws(self, start: int, count: int) -> Draws:
        """Random numbers of particles of the stack.

        Args:
            start: First particle.
            count: Number of particles.

        Returns:
            Their random numbers.
        """
        return Draws.consecutive((self.seed, _STACK), start, count)

    def calibration_draws(self, start: int, count: int) -> Draws:
        """Random numbers of particles that are in no stack, to measure typical images by.

        Args:
            start: First particle.
            count: Number of particles.

        Returns:
            Their random numbers.
        """
        return Draws.consecutive((self.seed, _CALIBRATION), start, count)

    def describe(self, draws: Draws) -> Particles:
        """Draws everything but the images.

        Args:
            draws: Random numbers of the particles.

        Returns:
            What is true of them.
        """
        conformations = self.process.sample(draws)
        hinges = conformations.coordinates
        hinges = self.hinges(conformations.factors) if hinges is None else hinges
        scope = self.microscope
        if scope.shifts is None:
            translation = torch.zeros(len(draws.index), 2)
        else:
            translation = scope.shifts.translations(draws, self.box_size)
        time, temperature = conformations.time, conformations.temperature
        return Particles(
            factors=conformations.factors.float(),
            hinges=hinges.float(),
            rotation=self._rotations(draws, conformations.factors).float(),
            translation=translation.float(),
            ctf=None
            if scope.ctf is None
            else scope.ctf.rows(draws, self.box_size, self.pixel_size),
            time=None if time is None else time.float(),
            trajectory=conformations.trajectory,
            temperature=None if temperature is None else temperature.float(),
        )

    def _rotations(self, draws: Draws, factors: Tensor) -> Tensor:
        """Views, of each conformation where they depend on it, (B, 3, 3)."""
        views = self.microscope.views
        if isinstance(views, ConformationViews):
            return views.rotations_of(draws, factors)
        return views.rotations(draws)

    @torch.no_grad()
    def clean(self, particles: Particles) -> Tensor:
        """Renders images without noise.

        Args:
            particles: What is to be seen.

        Returns:
            Images -CTF ⊙ projection, shape (B, D, D), float32.
        """
        images = self.molecule.project(
            particles.hinges,
            particles.rotation,
            particles.translation,
            self.box_size,
            self.pixel_size,
        )
        if particles.ctf is not None:
            images = apply_contrast_transfer(images, particles.ctf)
        return images.neg_()

    def images(self, draws: Draws) -> tuple[Tensor, Particles]:
        """Simulates particles.

        Args:
            draws: Random numbers of the particles.

        Returns:
            Images (B, D, D), float32, and what is true of them.
        """
        particles = self.describe(draws)
        return self.add_noise(self.clean(particles), draws), particles

    def add_noise(self, images: Tensor, draws: Draws) -> Tensor:
        """Adds the stack's noise in place.

        Args:
            images: Clean images, shape (B, D, D).
            draws: Random numbers of the particles; B of them.

        Returns:
            The same tensor.
        """
        noise = self.microscope.noise
        if noise is None:
            return images
        return images.add_(noise.sample(draws, self.box_size), alpha=self.noise_std)

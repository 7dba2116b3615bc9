"""Conformations in Boltzmann equilibrium, in energies that no temperature changes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cryo_disentangle.precision import may_look
from cryo_disentangle.priors._parameters import ScaledParameter, check_dim
from cryo_disentangle.priors._quantiles import interpolated_quantiles
from cryo_disentangle.priors._temperature import (
    GAS_CONSTANT,
    HOTTEST_KELVIN,
    check_kelvin,
    temperatures,
)
from cryo_disentangle.protocols import ConformationPrior
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = ["Boltzmann"]

_QUADRATURE_POINTS = 4097


class Boltzmann(nn.Module, ConformationPrior):
    """One energy of each coordinate, shared by all temperatures.

        p(z_i | T) = exp(-ε_i(z_i) / RT) / Q_i(T),
        ε_i(z) / RT_ref = z² / 2 + Σ_k w_ik exp(-(z - c_k)² / 2h²).

    The start, w = 0, is N(0, 1) at the reference temperature. Learned wells and barriers are sums
    of evenly spaced Gaussians, a spacing h wide; beyond them the quadratic holds. The mean of this
    energy under a normal posterior is known in closed form, so the divergence has no sampling noise
    and is exact up to Q, the trapezoidal rule on 4,097 points, which errs by rounding alone unless
    wells are narrower than a spacing of the points (about a 100th of a unit).

    Args:
        conformation_dim: Number Z of coordinates.
        reference_kelvin: T_ref, where the start is standard normal; best in the middle of the data.
        kernels: Number of Gaussians of each coordinate.
        half_width: Their centres run from minus this to this.
        learning_rate_scale: Energies are trained at this multiple of the learning rate.

    Raises:
        ValueError: If there are not at least one coordinate and two kernels, the width is not
            positive, or the temperature can't be in kelvin.
    """

    def __init__(
        self,
        conformation_dim: int,
        reference_kelvin: float = 300.0,
        kernels: int = 33,
        half_width: float = 4.0,
        learning_rate_scale: float = 20.0,
    ) -> None:
        super().__init__()
        check_kelvin([reference_kelvin])
        if conformation_dim < 1 or kernels < 2 or not half_width > 0:
            raise ValueError(
                "Boltzmann needs conformation_dim >= 1, kernels >= 2 and half_width > 0, found "
                f"{conformation_dim}, {kernels} and {half_width:g}"
            )
        self.conformation_dim = conformation_dim
        self.reference_kelvin = reference_kelvin
        self.half_width = half_width
        self.kernel_width = 2 * half_width / (kernels - 1)
        start = torch.zeros(conformation_dim, kernels)
        self._weights = ScaledParameter(start, learning_rate_scale)

    def energy(self, conformation: Tensor) -> Tensor:
        """Energy of each coordinate.

        Args:
            conformation: Shape (..., Z).

        Returns:
            ε_i(z_i) in kJ/mol, shape (..., Z); the zero is arbitrary.

        Raises:
            ValueError: If the conformations have another number of coordinates.
        """
        reduced = self._mean_energy(conformation, torch.zeros_like(conformation))
        return GAS_CONSTANT * self.reference_kelvin * reduced

    def log_partition(self, temperature: Tensor) -> Tensor:
        """Logarithm of each coordinate's partition function.

        Args:
            temperature: In kelvin, shape (...,).

        Returns:
            log Q_i(T), shape (..., Z).
        """
        step = 2 * self._end / (_QUADRATURE_POINTS - 1)
        # The integrand vanishes at both ends, so the trapezoidal rule is a plain sum.
        if not may_look(temperature.device):
            masses = self._exponents(temperature.flatten()).logsumexp(-1)
            return (masses + math.log(step)).unflatten(0, temperature.shape)
        levels, level = temperature.unique(return_inverse=True)
        return (self._exponents(levels).logsumexp(-1) + math.log(step))[level]

    def kl(self, inference: Inference, batch: ParticleBatch) -> Tensor:
        """Divergence of each posterior from the prior at the particle's temperature.

        Args:
            inference: Posteriors of B particles.
            batch: Its ``temperature`` in kelvin is used.

        Returns:
            Nats, shape (B,), or (B, 2) for pairs.

        Raises:
            ValueError: If temperatures are missing or not in kelvin.
        """
        kelvin = temperatures(batch, self)
        mean, log_variance = inference.mean, inference.log_variance
        energy = self._mean_energy(mean, log_variance.exp())
        cross_entropy = self._inverse(kelvin)[..., None] * energy + self.log_partition(kelvin)
        entropy = 0.5 * (1 + math.log(2 * math.pi) + log_variance)
        return (cross_entropy - entropy).sum(-1) + inference.total_correlation

    def log_prob(self, conformation: Tensor, batch: ParticleBatch) -> Tensor:
        """Log-density of conformations at their particle's temperature.

        Args:
            conformation: Shape (B, Z), or (B, 2, Z) for pairs.
            batch: Its ``temperature`` in kelvin is used.

        Returns:
            Nats, shape (B,) or (B, 2).

        Raises:
            ValueError: As `kl`.
        """
        kelvin = temperatures(batch, self)
        energy = self._mean_energy(conformation, torch.zeros_like(conformation))
        return -(self._inverse(kelvin)[..., None] * energy + self.log_partition(kelvin)).sum(-1)

    @torch.no_grad()
    def sample(
        self,
        batch: ParticleBatch,
        conformation_dim: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws a conformation at the temperature of each particle.

        Quantiles of the distribution tabulated at the quadrature points, straight between them.

        Args:
            batch: Its ``temperature`` in kelvin is used.
            conformation_dim: Number Z of coordinates, the prior's.
            generator: Source of randomness on the batch's device.

        Returns:
            Shape (B, Z), or (B, 2, Z) for pairs, without gradients.

        Raises:
            ValueError: As `kl`.
        """
        check_dim(conformation_dim, self.conformation_dim, self)
        levels, level = temperatures(batch, self).unique(return_inverse=True)
        shape = (*level.shape, conformation_dim)
        uniform = torch.rand(shape, device=level.device, generator=generator)
        uniform = uniform.to(self._weights.raw)
        conformation = torch.empty_like(uniform)
        for number, masses in enumerate(self._exponents(levels).softmax(-1)):
            here = level == number
            conformation[here] = self._quantiles(masses, uniform[here].T.contiguous()).T
        return conformation

    def _quantiles(self, masses: Tensor, uniform: Tensor) -> Tensor:
        """Inverts the distribution function of masses (Z, G) at the points; (Z, N) -> (Z, N)."""
        points = self._spaced(self._end, _QUADRATURE_POINTS)
        # Half of a point's mass lies to its left.
        return interpolated_quantiles(points, masses.cumsum(-1) - 0.5 * masses, uniform)

    @property
    def _end(self) -> float:
        """End of the quadrature: eight standard deviations of the quadratic when hottest."""
        return self.half_width + 8 * math.sqrt(HOTTEST_KELVIN / self.reference_kelvin)

    def _spaced(self, end: float, count: int) -> Tensor:
        """Evenly spaced points of the parameters' type, which may change after construction."""
        raw = self._weights.raw
        return torch.linspace(-end, end, count, dtype=raw.dtype, device=raw.device)

    def _inverse(self, kelvin: Tensor) -> Tensor:
        """T_ref / T, of the parameters' type."""
        return (self.reference_kelvin / kelvin).to(self._weights.raw)

    def _mean_energy(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Mean of ε_i / RT_ref under normal distributions, shapes (..., Z)."""
        check_dim(mean.shape[-1], self.conformation_dim, self)
        weights = self._weights()
        distance = mean[..., None] - self._spaced(self.half_width, weights.shape[1])
        # A Gaussian blurred by another has the sum of their variances.
        blurred = (variance + self.kernel_width**2)[..., None]
        kernels = torch.exp(-0.5 * distance.square() / blurred)
        kernels = kernels * self.kernel_width * blurred.rsqrt()
        return 0.5 * (mean.square() + variance) + (kernels * weights).sum(-1)

    def _exponents(self, levels: Tensor) -> Tensor:
        """-ε_i / RT at the quadrature points, (T,) -> (T, Z, G)."""
        weights = self._weights()
        points = self._spaced(self._end, _QUADRATURE_POINTS)
        centres = self._spaced(self.half_width, weights.shape[1])
        kernels = torch.exp(-0.5 * ((points - centres[:, None]) / self.kernel_width).square())
        energy = 0.5 * points.square() + weights @ kernels
        return -self._inverse(levels)[:, None, None] * energy

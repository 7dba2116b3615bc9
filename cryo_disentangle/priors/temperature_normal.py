"""Normal conformations whose means and spreads depend on the temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from cryo_disentangle.options.parts import part
from cryo_disentangle.precision import exact_dtype, may_look
from cryo_disentangle.priors._parameters import ScaledParameter, check_dim
from cryo_disentangle.priors._temperature import GAS_CONSTANT, check_kelvin, temperatures
from cryo_disentangle.priors.standard_normal import kl_standard_normal, log_prob_standard_normal
from cryo_disentangle.protocols import ConformationPrior
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = [
    "ArrheniusLaw",
    "LevelTable",
    "NormalMoments",
    "TemperatureLaw",
    "TemperatureNormal",
]

# Batches hold single-precision temperatures, whose spacing at 1,000 K is 6e-5.
_SAME_LEVEL_KELVIN = 1e-2


class NormalMoments(NamedTuple):
    """Normal distributions of each coordinate.

    Attributes:
        mean: μ, shape (..., Z).
        log_scale: log σ, shape (..., Z).
    """

    mean: Tensor
    log_scale: Tensor


@part
class TemperatureLaw(Protocol):
    """Mean and spread of each coordinate as functions of temperature."""

    conformation_dim: int

    def forward(self, temperature: Tensor) -> NormalMoments:
        """Evaluates mean and spread.

        Args:
            temperature: In kelvin, shape (...).

        Returns:
            Moments, shape (..., Z).
        """
        ...


def _check_positive_dim(conformation_dim: int) -> None:
    """Refuses a law of no coordinates."""
    if conformation_dim < 1:
        raise ValueError(f"conformation_dim must be at least 1, found {conformation_dim}")


class LevelTable(nn.Module, TemperatureLaw):
    """A mean and a spread of each coordinate at each of a few temperatures.

    The unit and the origin of a coordinate are arbitrary, so they are fixed: over the levels, the
    means average to zero and the spreads to one (geometrically). At the start all are N(0, 1).

    Args:
        conformation_dim: Number Z of coordinates.
        levels_kelvin: The temperatures, at least two.
        learning_rate_scale: Moments are trained at this multiple of the learning rate; at that of
            the network they hardly change before the network has converged.

    Raises:
        ValueError: If there are not two different levels, or one can't be in kelvin.
    """

    _levels: Tensor

    def __init__(
        self,
        conformation_dim: int,
        levels_kelvin: Sequence[float],
        learning_rate_scale: float = 20.0,
    ) -> None:
        super().__init__()
        _check_positive_dim(conformation_dim)
        check_kelvin(levels_kelvin)
        self.conformation_dim = conformation_dim
        self.levels_kelvin = tuple(sorted(set(levels_kelvin)))
        levels = torch.tensor(self.levels_kelvin, dtype=torch.float32)
        self.register_buffer("_levels", levels, persistent=False)
        if len(self.levels_kelvin) < 2:
            raise ValueError(
                f"LevelTable needs at least two temperatures, found {list(levels_kelvin)}"
            )
        start = torch.zeros(2, len(self.levels_kelvin), conformation_dim)
        self._moments = ScaledParameter(start, learning_rate_scale)

    def forward(self, temperature: Tensor) -> NormalMoments:
        """Returns moments.

        Args:
            temperature: In kelvin, shape (...,).

        Returns:
            Moments of shape (..., Z).

        Raises:
            ValueError: If a temperature is none of the levels, on a CPU.
        """
        distance, level = (temperature[..., None] - self._levels).abs().min(-1)
        if may_look(temperature.device):
            unknown = temperature[distance > _SAME_LEVEL_KELVIN]
            if unknown.numel():
                raise ValueError(
                    f"LevelTable has the temperatures {list(self.levels_kelvin)} K, found "
                    f"{float(unknown[0]):g} K"
                )
        moments = self._moments()
        centred = moments - moments.mean(1, keepdim=True)
        return NormalMoments(centred[0][level], centred[1][level])


class ArrheniusLaw(nn.Module, TemperatureLaw):
    """Variances that follow Arrhenius' law, smooth and monotone in the temperature.

    σ_i² ∝ exp(-E_i / RT), with an activation energy E_i of each coordinate. With v = (1/T_c - 1/T)
    / (1/T_c - 1/T_h) - 1/2, which runs from -1/2 at the coldest temperature to 1/2 at the hottest,

        log σ_i = s_i v,    μ_i = m_i v,

    so every coordinate is N(0, 1) in the middle. The start is nearly neutral: s_i are spread evenly
    from -0.1 to 0.1, since coordinates that react alike would be exchangeable.

    Args:
        conformation_dim: Number Z of coordinates.
        coldest_kelvin: T_c, the lowest temperature of the data.
        hottest_kelvin: T_h, the highest.
        learning_rate_scale: s and m are trained at this multiple of the learning rate.

    Raises:
        ValueError: If the temperatures are not increasing, or can't be in kelvin.
    """

    def __init__(
        self,
        conformation_dim: int,
        coldest_kelvin: float,
        hottest_kelvin: float,
        learning_rate_scale: float = 20.0,
    ) -> None:
        super().__init__()
        _check_positive_dim(conformation_dim)
        check_kelvin([coldest_kelvin, hottest_kelvin])
        if not coldest_kelvin < hottest_kelvin:
            raise ValueError(
                "ArrheniusLaw needs coldest_kelvin < hottest_kelvin, found "
                f"{coldest_kelvin:g} and {hottest_kelvin:g}"
            )
        self.conformation_dim = conformation_dim
        self.coldest_kelvin, self.hottest_kelvin = coldest_kelvin, hottest_kelvin
        start = torch.zeros(2, conformation_dim)
        start[1] = torch.linspace(-0.1, 0.1, conformation_dim)
        self._slopes = ScaledParameter(start, learning_rate_scale)

    @property
    def _range(self) -> float:
        """Difference of the inverse temperatures, in 1/K."""
        return 1 / self.coldest_kelvin - 1 / self.hottest_kelvin

    @property
    def activation_energy(self) -> Tensor:
        """E_i in kJ/mol, shape (Z,); negative where cold spreads the coordinate."""
        return 2 * GAS_CONSTANT / self._range * self._slopes()[1]

    def forward(self, temperature: Tensor) -> NormalMoments:
        """Evaluates the law.

        Args:
            temperature: In kelvin, shape (...,).

        Returns:
            Moments of shape (..., Z).
        """
        kelvin = temperature.to(exact_dtype(temperature.device))
        progress = (1 / self.coldest_kelvin - 1 / kelvin) / self._range - 0.5
        slopes = self._slopes()
        return NormalMoments(*(progress[..., None].to(slopes) * slope for slope in slopes))


class TemperatureNormal(nn.Module, ConformationPrior):
    """Independent normal coordinates, N(μ_i(T), σ_i(T)²) at temperature T.

    Args:
        law: How means and spreads depend on the temperature: a `LevelTable` or an `ArrheniusLaw`.

    References:
        Khemakhem et al. 2020, Variational autoencoders and nonlinear ICA: the conditional prior,
        with the temperature as the observed variable.
    """

    law: TemperatureLaw

    def __init__(self, law: TemperatureLaw) -> None:
        super().__init__()
        self.law = law

    def kl(self, inference: Inference, batch: ParticleBatch) -> Tensor:
        """Divergence of each posterior from the prior at the particle's temperature.

        With u = (z - μ(T)) / σ(T) it is that of u from the standard normal.

        Args:
            inference: Posteriors of B particles.
            batch: Its ``temperature`` in kelvin is used.

        Returns:
            Nats, shape (B,), or (B, 2) for pairs.

        Raises:
            ValueError: If temperatures are missing, or none that the law knows.
        """
        mean, log_scale = self._moments(batch, inference.mean)
        reduced = (inference.mean - mean) * torch.exp(-log_scale)
        marginal = kl_standard_normal(reduced, inference.log_variance - 2 * log_scale)
        return marginal + inference.total_correlation

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
        mean, log_scale = self._moments(batch, conformation)
        reduced = (conformation - mean) * torch.exp(-log_scale)
        return log_prob_standard_normal(reduced) - log_scale.sum(-1)

    def sample(
        self,
        batch: ParticleBatch,
        conformation_dim: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws a conformation at the temperature of each particle.

        Args:
            batch: Its ``temperature`` in kelvin is used.
            conformation_dim: Number Z of coordinates, the law's.
            generator: Source of randomness on the batch's device.

        Returns:
            Shape (B, Z), or (B, 2, Z) for pairs.

        Raises:
            ValueError: As `kl`.
        """
        index = batch["index"]
        shape = (*index.shape, conformation_dim)
        noise = torch.randn(shape, device=index.device, generator=generator)
        mean, log_scale = self._moments(batch, noise)
        return mean + noise * torch.exp(log_scale)

    def _moments(self, batch: ParticleBatch, like: Tensor) -> NormalMoments:
        """Moments (..., Z) for each particle, of the type of ``like``."""
        check_dim(like.shape[-1], self.law.conformation_dim, self)
        mean, log_scale = self.law.forward(temperatures(batch, self))
        return NormalMoments(mean.to(like), log_scale.to(like))

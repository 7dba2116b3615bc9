"""Slowness: conformations move little between frames, and mostly one coordinate at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cryo_disentangle.precision import exact_dtype, may_look
from cryo_disentangle.priors._parameters import ScaledParameter, check_dim
from cryo_disentangle.priors.standard_normal import kl_standard_normal, log_prob_standard_normal
from cryo_disentangle.protocols import ConformationPrior
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = ["LaplaceTransition", "kl_laplace"]


def kl_laplace(mean: Tensor, log_variance: Tensor, location: Tensor, rate: Tensor) -> Tensor:
    """Divergence of a diagonal normal posterior from a Laplace distribution.

    With d = μ - m, and E|z - m| = σ √(2/π) exp(-d² / 2σ²) + d erf(d / σ√2) the mean of a folded
    normal distribution,

        KL = Σ_j [λ_j E|z_j - m_j| - log(λ_j / 2) - (1 + log 2πσ_j²) / 2].

    Args:
        mean: μ, shape (..., Z).
        log_variance: log σ², shape (..., Z).
        location: m, shape (..., Z).
        rate: λ, one over the Laplace scale, broadcast to (..., Z).

    Returns:
        KL in nats, shape (...,), never below 0.048 Z, for no normal distribution is Laplace.

    References:
        Klindt et al. 2021, Towards nonlinear disentanglement in natural data with temporal sparse
        coding, appendix (divergence of a normal from a Laplace distribution).
    """
    distance = mean - location
    # Beyond 9 standard deviations the folded normal is |d|; the bound keeps gradients finite.
    reduced = (distance * torch.exp(-0.5 * log_variance) * math.sqrt(0.5)).clamp(-9, 9)
    spread = torch.exp(0.5 * log_variance) * math.sqrt(2 / math.pi)
    absolute = spread * torch.exp(-reduced.square()) + distance * torch.erf(reduced)
    entropy = 0.5 * (1 + math.log(2 * math.pi) + log_variance)
    return (rate * absolute - torch.log(0.5 * rate) - entropy).sum(-1)


class LaplaceTransition(nn.Module, ConformationPrior):
    """Prior of SlowVAE: a standard normal frame, and a Laplace-distributed step to the next.

    For a pair of frames (0, 1) with posteriors q₀ and q₁ the divergence is

        KL(q₀ || N(0, 1)) + γ KL(q₁ || Laplace(mean of q₀, b)),

    and with ``symmetric`` the mean of this and of the same with time reversed. As in the authors'
    code, the Laplace distribution sits at the posterior's mean and not at a sample of it, and
    gradients flow into both means. The bound on the likelihood is exact up to that for γ = 1; the
    authors weight the transition by 10. Their code trains in both directions, too, but with the
    cross-entropy counted for each and the entropy once.

    The scale grows as b = (Δt / reference_interval)^power / rate. Independent steps add their
    variances, so their standard deviation grows with the square root of time: power 1/2. (Their
    sum tends to a normal distribution; a Laplace distribution of the right variance stands for
    it.) Steady drifts have power 1.

    Args:
        rate: λ, one over the mean absolute step in an interval of ``reference_interval``, positive.
        gamma: Weight γ of the transition.
        symmetric: Whether both frames are predicted from each other; otherwise only the later one
            from the earlier one, for molecules that relax irreversibly.
        learnable: Whether each coordinate learns its own rate, from ``rate`` on.
        conformation_dim: Number Z of coordinates, needed for learned rates.
        reference_interval: Time between frames that ``rate`` is meant for, in the unit of the
            particles' time; particles without time are this far apart.
        power: How the scale of steps grows with the interval.
        learning_rate_scale: The log of learned rates is trained at this multiple of the learning
            rate.

    Raises:
        ValueError: If the rate or the interval is not positive, γ is negative, or learned rates
            have no ``conformation_dim``.

    References:
        Klindt et al. 2021, Towards nonlinear disentanglement in natural data with temporal sparse
        coding (SlowVAE); its rate 6 and γ = 10 are the defaults.
    """

    def __init__(
        self,
        rate: float = 6.0,
        gamma: float = 10.0,
        symmetric: bool = True,
        learnable: bool = False,
        conformation_dim: int | None = None,
        reference_interval: float = 1.0,
        power: float = 0.5,
        learning_rate_scale: float = 20.0,
    ) -> None:
        super().__init__()
        if not (rate > 0 and reference_interval > 0 and gamma >= 0):
            raise ValueError(
                "LaplaceTransition needs rate > 0, reference_interval > 0 and gamma >= 0, found "
                f"{rate:g}, {reference_interval:g} and {gamma:g}"
            )
        if learnable and not conformation_dim:
            raise ValueError(
                "LaplaceTransition needs conformation_dim to learn a rate of each coordinate, "
                f"found {conformation_dim}"
            )
        self.gamma, self.symmetric = gamma, symmetric
        self.conformation_dim = conformation_dim
        self.reference_interval, self.power = reference_interval, power
        start = torch.full((conformation_dim or 1,), math.log(rate))
        self._log_rate = ScaledParameter(start, learning_rate_scale).requires_grad_(learnable)

    @property
    def rate(self) -> Tensor:
        """Rates at the reference interval, shape (Z,), or (1,) if they are all one."""
        return self._log_rate().exp()

    def kl(self, inference: Inference, batch: ParticleBatch) -> Tensor:
        """Divergence of each frame's posterior from what the prior says of it.

        Args:
            inference: Posteriors of B pairs, mean (B, 2, Z).
            batch: Its ``time`` (B, 2) is used where present.

        Returns:
            Nats, shape (B, 2): a row sums to the divergence of the pair.

        Raises:
            ValueError: If the particles are no pairs, or, on a CPU, the frames are not in the order
                of time.
        """
        mean, log_variance = inference.mean, inference.log_variance
        rate = self._rates(mean, batch)
        dependence = inference.total_correlation
        marginal = kl_standard_normal(mean, log_variance) + dependence
        if not self.symmetric:
            step = kl_laplace(mean[:, 1], log_variance[:, 1], mean[:, 0], rate) + dependence[:, 1]
            return torch.stack([marginal[:, 0], self.gamma * step], dim=1)
        step = kl_laplace(mean, log_variance, mean.flip(1), rate[:, None]) + dependence
        return 0.5 * (marginal + self.gamma * step)

    def log_prob(self, conformation: Tensor, batch: ParticleBatch) -> Tensor:
        """Log-density of the earlier frame, and of the later one given the earlier.

        Args:
            conformation: Shape (B, 2, Z).
            batch: As in `kl`.

        Returns:
            Log-densities in nats, shape (B, 2): a row sums to that of the pair.

        Raises:
            ValueError: As `kl`.
        """
        rate = self._rates(conformation, batch)
        step = (conformation[:, 1] - conformation[:, 0]).abs()
        transition = (torch.log(0.5 * rate) - rate * step).sum(-1)
        return torch.stack([log_prob_standard_normal(conformation[:, 0]), transition], dim=1)

    def sample(
        self,
        batch: ParticleBatch,
        conformation_dim: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws pairs of conformations.

        Args:
            batch: Gives the number of pairs and the device; its ``time`` is used where present.
            conformation_dim: Number Z of coordinates.
            generator: Source of randomness on the batch's device.

        Returns:
            Shape (B, 2, Z).

        Raises:
            ValueError: As `kl`.
        """
        index = batch["index"]
        first = torch.randn(
            (*index.shape, conformation_dim), device=index.device, generator=generator
        )
        rate = self._rates(first, batch)
        waits = torch.empty_like(first).exponential_(generator=generator)
        return torch.stack([first[:, 0], first[:, 0] + (waits[:, 0] - waits[:, 1]) / rate], dim=1)

    def _rates(self, conformation: Tensor, batch: ParticleBatch) -> Tensor:
        """Rates for the interval of each pair, (B, Z) or (B, 1)."""
        if conformation.ndim != 3 or conformation.shape[1] != 2:
            raise ValueError(
                "LaplaceTransition needs pairs of frames, conformations of shape (B, 2, Z), found "
                f"{tuple(conformation.shape)}: set data.pairs"
            )
        if self.conformation_dim is not None:
            check_dim(conformation.shape[-1], self.conformation_dim, self)
        rate = self.rate.to(conformation)[None]
        if "time" not in batch:
            return rate.expand(len(conformation), -1)
        interval = batch["time"][:, 1] - batch["time"][:, 0]
        interval = interval.to(exact_dtype(interval.device))
        # Those of a data set were checked when they were read.
        if may_look(interval.device) and not bool((interval > 0).all()):
            wrong = int((interval > 0).logical_not().nonzero()[0])
            raise ValueError(
                "LaplaceTransition needs the later frame of a pair second, found an interval of "
                f"{float(interval[wrong]):g} in pair {wrong}"
            )
        growth = (interval / self.reference_interval) ** self.power
        return rate / growth.to(rate)[:, None]

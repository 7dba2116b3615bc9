"""Axes bent by a small flow, kept where particles that did not bend them are likelier so."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cryo_disentangle.axes.labelled import KnownLatents
from cryo_disentangle.axes.linear import FloatArray, LinearAxes
from cryo_disentangle.axes.noisy import NoisyLatents, noisy_latents
from cryo_disentangle.metrics.functional.codes import Array, as_tensor
from cryo_disentangle.networks.coupling import CouplingFlow
from cryo_disentangle.unmixing import significance

__all__ = ["BentAxes", "bent_by_temperature", "bent_by_time"]

# With fewer pairs or particles nothing is bent, and of more these many are taken.
_FEWEST, _MOST = 2000, 8000
_SAMPLES, _JUDGED_SAMPLES, _WIDEN = 16, 64, 1.2
_BATCH, _LOOK, _RATE = 512, 20, 3e-2
_STRAIGHT_STEPS, _STEPS = 100, 300
# Shares of pairs that bend, and that say when to stop; the rest judges.
_FITTED, _STOPPING = 0.7, 0.1
# Nats; a gain up to this is none.
_SMALLEST_EFFECT = 0.002


_Model: TypeAlias = tuple[CouplingFlow, nn.Module]
"""A flow, and the density of what it maps to."""


class BentAxes(LinearAxes):
    """Named axes after a small flow.

    Coordinates are those of straight axes mapped by a flow, each again of mean 0 and variance 1
    over the latents that were fitted. ``matrix_`` and ``offset_`` are those of the straight axes.

    Args:
        straight: The axes that are bent.
        flow: Maps their coordinates.
        latents: That the axes were fitted to, shape (N, Z).

    Attributes:
        evidence_gain_: By how many nats pairs, or particles, that did not bend the axes are
            likelier, each on average.
        evidence_gain_error_: Its standard error.
    """

    evidence_gain_: float
    evidence_gain_error_: float

    def __init__(self, straight: LinearAxes, flow: CouplingFlow, latents: Array) -> None:
        vars(self).update(vars(straight))
        self._straight = straight
        self._flow = flow.double().requires_grad_(False)
        self._shift, self._scale = np.zeros(flow.dim), np.ones(flow.dim)
        before, after = super().transform(latents), self.transform(latents)
        centred = after - after.mean(0)
        sign = np.sign((before * centred).mean(0))
        self._shift, self._scale = after.mean(0), sign * after.std(0)

    @property
    def straight(self) -> LinearAxes:
        """The axes before they were bent."""
        return self._straight

    def transform(self, latents: Array) -> FloatArray:
        """Expresses latents in the bent coordinates, as `LinearAxes.transform`."""
        along = torch.from_numpy(super().transform(latents))
        return np.asarray((self._flow(along)[0].numpy() - self._shift) / self._scale)

    def inverse_transform(self, coordinates: npt.NDArray[Any]) -> FloatArray:
        """Brings bent coordinates back to the latents', as `LinearAxes.inverse_transform`."""
        flowed = np.asarray(coordinates, dtype=np.float64) * self._scale + self._shift
        return super().inverse_transform(self._flow.inverse(torch.from_numpy(flowed)).numpy())

    def transform_covariance(
        self, covariance: npt.NDArray[Any], latents: Array | None = None
    ) -> FloatArray:
        """Expresses covariances in the bent coordinates, by the map's slope at each latent.

        Args:
            covariance: As for `LinearAxes.transform_covariance`.
            latents: Shape (N, Z).

        Returns:
            Shape (N, Z, Z).

        Raises:
            ValueError: If there are no latents.
        """
        if latents is None:
            raise ValueError("covariances along bent axes need the latents that they are of")
        along = torch.from_numpy(super().transform(latents))
        slopes: Tensor = torch.func.vmap(torch.func.jacrev(lambda y: self._flow(y)[0]))(along)
        slope = slopes.numpy() / self._scale[:, None]
        straight = super().transform_covariance(covariance)
        return np.asarray(slope @ straight @ np.swapaxes(slope, 1, 2))


def bent_by_time(
    axes: LinearAxes, known: KnownLatents, frames: Array, interval: Array | None = None
) -> LinearAxes:
    """Bends axes by time where held-out pairs of frames are likelier so.

    The earlier frame is normal along each axis, and steps are Laplace-distributed.

    Args:
        axes: By time; where they are not determined nothing is bent.
        known: Latents of N particles.
        frames: Places of the earlier and the later frame of P pairs, shape (P, 2), int64.
        interval: Time between them, shape (P,); None where it is always the same.

    Returns:
        The bent axes, or the axes as they are; their words say which.

    References:
        Klindt et al. 2021, Towards nonlinear disentanglement in natural data with temporal sparse
        coding, Eq. 2.
    """
    pairs = as_tensor(frames, "frames")
    log_time = torch.zeros(len(pairs))
    if interval is not None:
        time = as_tensor(interval, "interval").double()
        log_time = (0.5 * (time / time.median()).log()).float()
    width = len(axes.offset_)
    return _bent(axes, known, pairs, lambda: _StepPrior(width, log_time), "pairs of frames")


def bent_by_temperature(axes: LinearAxes, known: KnownLatents, temperature: Array) -> LinearAxes:
    """Bends axes by temperature where held-out particles are likelier so.

    Along each axis conformations are normal at each temperature.

    Args:
        axes: By temperature; where they are not determined nothing is bent.
        known: Latents of N particles.
        temperature: In kelvin, shape (N,).

    Returns:
        The bent axes, or the axes as they are; their words say which.

    References:
        Khemakhem et al. 2020, Variational autoencoders and nonlinear ICA, Eqs. 5 to 7.
    """
    kelvin = as_tensor(temperature, "temperature").double()
    level = kelvin.unique(return_inverse=True)[1]
    width, places = len(axes.offset_), torch.arange(len(level))[:, None]
    return _bent(axes, known, places, lambda: _LevelPrior(width, level), "particles")


class _StepPrior(nn.Module):
    """Density of pairs of frames: normal, then Laplace steps whose size grows with √Δt."""

    def __init__(self, width: int, log_time: Tensor) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(width))
        self.log_std = nn.Parameter(torch.zeros(width))
        self.log_step = nn.Parameter(torch.full((width,), -0.5))
        self._log_time = log_time

    def forward(self, u: Tensor, rows: Tensor) -> Tensor:
        """Log-density of samples (n, S, 2, Z) of some pairs, (n, S)."""
        earlier, later = u.unbind(-2)
        standard = (earlier - self.mean) / self.log_std.exp()
        log_step = self.log_step + self._log_time[rows][:, None, None]
        step = (later - earlier).abs() / log_step.exp()
        normal = -0.5 * standard.square() - self.log_std - 0.5 * math.log(2 * math.pi)
        return (normal - step - log_step - math.log(2)).sum(-1)


class _LevelPrior(nn.Module):
    """Density of particles: normal along each axis at each temperature."""

    def __init__(self, width: int, level: Tensor) -> None:
        super().__init__()
        count = int(level.max()) + 1
        self.mean = nn.Parameter(torch.zeros(count, width))
        self.log_std = nn.Parameter(torch.zeros(count, width))
        self._level = level

    def forward(self, u: Tensor, rows: Tensor) -> Tensor:
        """Log-density of samples (n, S, 1, Z) of some particles, (n, S)."""
        level = self._level[rows]
        log_std = self.log_std[level][:, None]
        standard = (u[..., 0, :] - self.mean[level][:, None]) / log_std.exp()
        return (-0.5 * standard.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)


class _Posteriors(NamedTuple):
    """Posteriors of items, pairs of frames or single particles, and straight axes.

    Attributes:
        mean: Shape (n, F, Z), under a standard normal prior.
        factor: Cholesky factor of their covariances, (n, F, Z, Z); None for exact latents.
        matrix: Coordinates of the axes are ``mean @ matrix.T + origin``, (Z, Z).
        origin: Shape (Z,).
    """

    mean: Tensor
    factor: Tensor | None
    matrix: Tensor
    origin: Tensor

    @classmethod
    def of(cls, noisy: NoisyLatents, axes: LinearAxes, places: Tensor) -> _Posteriors:
        """Takes the latents of items at some places (n, F)."""
        back = torch.linalg.inv(noisy.frame)
        matrix = torch.from_numpy(axes.matrix_)
        origin = matrix @ (noisy.origin - torch.from_numpy(axes.offset_))
        factor = None
        if noisy.gain is not None:
            eye = torch.eye(noisy.frame.shape[0], dtype=noisy.frame.dtype)
            factor = torch.linalg.cholesky(eye - noisy.gain[places]).float()
        return cls(noisy.value[places].float(), factor, (matrix @ back).float(), origin.float())

    def draw(self, rows: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Samples (n, S, F, Z) along the axes and log p(x | z) - log q(z), (n, S)."""
        mean = self.mean[rows][:, None]
        if self.factor is None:
            return mean @ self.matrix.T + self.origin, torch.zeros(len(rows), 1)
        noise = torch.randn(len(rows), count, *mean.shape[2:], generator=generator)
        spread = (self.factor[rows][:, None] @ noise[..., None])[..., 0]
        z = mean + _WIDEN * spread
        # Posterior over prior is the likelihood; the proposal is wider than the posterior.
        weight = 0.5 * z.square().sum(-1) - 0.5 * (_WIDEN**2 - 1) * noise.square().sum(-1)
        return z @ self.matrix.T + self.origin, weight.sum(-1)


def _bent(
    axes: LinearAxes,
    known: KnownLatents,
    places: Tensor,
    make_prior: Callable[[], nn.Module],
    what: str,
) -> LinearAxes:
    """Bends axes by most of the items, and keeps that if the others are likelier."""
    if not axes.determined_ or len(places) < _FEWEST or len(axes.offset_) == 1:
        return axes
    noisy = noisy_latents(known.latents, known.covariance, errors=known.errors)
    posteriors = _Posteriors.of(noisy, axes, places)
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(0))[:_MOST]
    ends = [round(share * len(order)) for share in (_FITTED, _FITTED + _STOPPING)]
    fitted, stopping, judging = order.tensor_split(ends)
    found = []
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        for start in _starts(len(axes.offset_)):
            straight = CouplingFlow(len(axes.offset_)), make_prior()
            straight[0].matrix.data.copy_(start)
            bent = CouplingFlow(len(axes.offset_)), make_prior()
            own = [straight[0].matrix, *straight[1].parameters()]
            before = _climb(posteriors, straight, (fitted, stopping), own, _STRAIGHT_STEPS)
            for part, same in zip(bent, straight, strict=True):
                part.load_state_dict(same.state_dict())
            own = [*bent[0].parameters(), *bent[1].parameters()]
            after = _climb(posteriors, bent, (fitted, stopping), own, _STEPS)
            found.append((before, straight, after, bent))
    straight = max(found, key=lambda one: one[0])[1]
    bent = max(found, key=lambda one: one[2])[3]
    with torch.no_grad():
        gain = _judged(posteriors, bent, judging) - _judged(posteriors, straight, judging)
    return _chosen(axes, bent[0], known.latents, gain, what)


def _starts(width: int) -> list[Tensor]:
    """The named axes, and others at 45°: where mixing is strongly curved steps may mislead."""
    turned = torch.eye(width)
    for first in range(width - 1):
        turn = torch.eye(width)
        turn[first : first + 2, first : first + 2] = math.sqrt(0.5) * torch.tensor(
            [[1.0, 1.0], [-1.0, 1.0]]
        )
        turned = turn @ turned
    return [torch.eye(width), turned]


def _chosen(
    axes: LinearAxes, flow: CouplingFlow, latents: Array, gain: Tensor, what: str
) -> LinearAxes:
    """Bent axes where held-out items are clearly likelier, and the words for both cases."""
    mean, error = float(gain.mean()), float(gain.std()) / math.sqrt(len(gain))
    kept = mean > significance(1) * error + _SMALLEST_EFFECT
    found = f"({mean:+.3f} ± {error:.3f} nats each)"
    if kept:
        axes = BentAxes(axes, flow, latents)
        axes.verdict_ += f" Bent by a flow, for {what} that did not bend them are likelier {found}."
    else:
        axes.verdict_ += f" Straight: held-out {what} are no likelier with bent ones {found}."
    vars(axes).update(evidence_gain_=mean, evidence_gain_error_=error)
    return axes


def _evidence(model: _Model, drawn: tuple[Tensor, Tensor], rows: Tensor) -> Tensor:
    """Log evidence of items, (n,)."""
    (flow, prior), (samples, weight) = model, drawn
    u, log_volume = flow(samples)
    log = weight + prior(u, rows) + samples.shape[2] * log_volume
    return torch.logsumexp(log, 1) - math.log(log.shape[1])


def _judged(posteriors: _Posteriors, model: _Model, rows: Tensor) -> Tensor:
    """Log evidence of items that were not fitted, by the same samples each time."""
    generator = torch.Generator().manual_seed(1)
    return torch.cat(
        [
            _evidence(model, posteriors.draw(some, _JUDGED_SAMPLES, generator), some)
            for some in rows.split(_BATCH)
        ]
    )


def _climb(
    posteriors: _Posteriors,
    model: _Model,
    rows: tuple[Tensor, Tensor],
    parameters: list[nn.Parameter],
    steps: int,
) -> float:
    """Maximises the evidence of some items, and returns where it is largest for others."""
    fitted, stopping = rows
    optimizer = torch.optim.Adam(parameters, _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(2)
    best, kept = -math.inf, [p.detach().clone() for p in parameters]
    for step in range(steps + 1):
        if step % _LOOK == 0:
            with torch.no_grad():
                found = float(_judged(posteriors, model, stopping).mean())
            if found > best:
                best, kept = found, [p.detach().clone() for p in parameters]
        some = fitted[torch.randint(len(fitted), (_BATCH,), generator=generator)]
        drawn = posteriors.draw(some, _SAMPLES, generator)
        loss = -_evidence(model, drawn, some).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value)
    return best

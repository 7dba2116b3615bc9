"""Latents with their uncertainties, as noisy linear images of the conformations behind them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.codes import Array, as_tensor, check_columns

__all__ = [
    "NoisyLatents",
    "check_explained",
    "conformation_covariance",
    "covariance_sums",
    "mean_conformation",
    "noisy_latents",
    "solve_covariance",
]

# Posteriors as wide as the prior are uninformative; those of networks may be slightly wider.
_LEAST_GAIN = 1e-3
# Steps to a prior that agrees with the covariance found under it.
_ITERATIONS = 5
# Rows whose kernels are in memory at once.
_CHUNK = 8192


class NoisyLatents(NamedTuple):
    """Latents m = A z + η of conformations z, with η normal.

    Attributes:
        value: m, shape (N, Z), float64.
        gain: A, how much of z is in m, shape (N, Z, Z), symmetric; None for the identity.
        noise: Covariance of η, shape (N, Z, Z); None for exact latents.
        frame: Coordinates of z are ``frame @ (latents - origin)``, shape (Z, Z).
        origin: Shape (Z,).
    """

    value: Tensor
    gain: Tensor | None
    noise: Tensor | None
    frame: Tensor
    origin: Tensor

    def take(self, rows: Tensor) -> NoisyLatents:
        """Chooses particles.

        Args:
            rows: Row numbers, shape (M,), or a mask, shape (N,).

        Returns:
            Theirs alone.
        """
        gain = None if self.gain is None else self.gain[rows]
        noise = None if self.noise is None else self.noise[rows]
        return self._replace(value=self.value[rows], gain=gain, noise=noise)


def noisy_latents(latents: Array, covariance: Array | None, *, errors: bool) -> NoisyLatents:
    """Interprets latents and uncertainties as information on the conformations.

    The mean m of a posterior under a standard normal prior, with covariance S, has gain A = 1 - S
    and noise S (1 - S). An estimate e with error covariance E is made such a mean, under a normal
    prior with the covariance C of the conformations: in coordinates where C is 1 its posterior has
    S = E (1 + E)⁻¹, so uncertain particles weigh less.

    Args:
        latents: Posterior means or estimates, shape (N, Z).
        covariance: Of each, shape (N, Z, Z), or variances (N, Z); None for exact latents.
        errors: Whether latents are estimates and covariances those of their errors, rather than
            posteriors'.

    Returns:
        The latents.

    Raises:
        ValueError: If shapes don't fit, numbers are not finite, a covariance is not positive, or
            noise explains all of the latents.
    """
    value = check_columns(latents, "latents", minimum=8)
    identity = torch.eye(value.shape[1], dtype=value.dtype, device=value.device)
    origin = torch.zeros_like(value[0])
    if covariance is None:
        return NoisyLatents(value, None, None, identity, origin)
    spread = _check_covariance(covariance, value)
    if errors:
        return _shrunk(value, spread)
    values, vectors = torch.linalg.eigh(spread)
    values = values.clamp(0, 1 - _LEAST_GAIN)[:, None]
    gain = (vectors * (1 - values)) @ vectors.mT
    noise = (vectors * (values * (1 - values))) @ vectors.mT
    return NoisyLatents(value, gain, noise, identity, origin)


def covariance_sums(
    latents: NoisyLatents, centre: Tensor, block: Tensor, blocks: int
) -> tuple[Tensor, Tensor]:
    """Sums over blocks of particles from which `solve_covariance` finds covariances.

    Args:
        latents: Of N particles.
        centre: Mean conformation, shape (Z,).
        block: Block of each particle, shape (N,), int64.
        blocks: Number G of blocks.

    Returns:
        Kernels A² ⊗ A², shape (G, Z², Z²), or numbers of exact latents (G, 1, 1); and targets
        A ((m - A c)(m - A c)ᵀ - noise) A, shape (G, Z²).
    """
    width = latents.value.shape[1]
    size = 1 if latents.gain is None else width**2
    kernels = latents.value.new_zeros(blocks, size, size)
    targets = latents.value.new_zeros(blocks, width**2)
    for rows in torch.arange(len(block), device=block.device).split(_CHUNK):
        part = latents.take(rows)
        if part.gain is None or part.noise is None:
            centred = part.value - centre
            target = centred[:, :, None] * centred[:, None]
            kernel = centred.new_ones(len(rows), 1, 1)
        else:
            gain = part.gain
            centred = part.value - gain @ centre
            target = gain @ (centred[:, :, None] * centred[:, None] - part.noise) @ gain
            square = gain @ gain
            kernel = torch.einsum("nij,nkl->nikjl", square, square).reshape(-1, size, size)
        kernels.index_add_(0, block[rows], kernel)
        targets.index_add_(0, block[rows], target.flatten(1))
    return kernels, targets


def solve_covariance(kernel: Tensor, target: Tensor) -> Tensor:
    """Covariance of the conformations behind noisy latents, by the method of moments.

    Args:
        kernel: Sum of kernels of `covariance_sums`, shape (..., Z², Z²) or (..., 1, 1).
        target: Sum of targets, shape (..., Z²).

    Returns:
        Shape (..., Z, Z), symmetric; it has negative eigenvalues where noise explains more than
        there is.
    """
    width = round(target.shape[-1] ** 0.5)
    if kernel.shape[-1] == 1:
        flat = target / kernel[..., 0]
    else:
        flat = torch.linalg.solve(kernel, target[..., None])[..., 0]
    matrix = flat.unflatten(-1, (width, width))
    return 0.5 * (matrix + matrix.mT)


def conformation_covariance(latents: NoisyLatents, centre: Tensor) -> Tensor:
    """Covariance of the conformations behind noisy latents.

    Args:
        latents: Of N particles.
        centre: Mean conformation, shape (Z,).

    Returns:
        Shape (Z, Z), as `solve_covariance`.
    """
    block = torch.zeros(len(latents.value), dtype=torch.int64, device=centre.device)
    kernel, target = covariance_sums(latents, centre, block, 1)
    return solve_covariance(kernel[0], target[0])


def mean_conformation(latents: NoisyLatents) -> Tensor:
    """Mean of the conformations behind noisy latents, by least squares.

    Args:
        latents: Of N particles.

    Returns:
        Shape (Z,).
    """
    if latents.gain is None:
        return latents.value.mean(0)
    square = (latents.gain @ latents.gain).mean(0)
    target = (latents.gain @ latents.value[:, :, None]).mean(0)[:, 0]
    return torch.linalg.solve(square, target)


def check_explained(covariance: Tensor, scale: Tensor, count: int, what: str) -> None:
    """Refuses a covariance of which noise leaves nothing in some direction.

    Args:
        covariance: After subtraction of the noise, shape (Z, Z).
        scale: Before, or of all particles, positive, shape (Z, Z).
        count: Number of particles it is from.
        what: Whose spread it is, for the message.

    Raises:
        ValueError: If a direction has less than twice the sampling error of its variance.
    """
    values, vectors = torch.linalg.eigh(scale)
    if bool(values[0] <= 1e-12 * values[-1]):
        raise ValueError(f"{what} does not vary along some direction: leave out a coordinate")
    root = (vectors * values.rsqrt()) @ vectors.T
    share, directions = torch.linalg.eigh(root @ covariance @ root)
    if float(share[0]) <= 2 * (2 / count) ** 0.5:
        worst = root @ directions[:, 0]
        direction = ", ".join(f"{x:.2f}" for x in (worst / worst.norm()).tolist())
        raise ValueError(
            f"noise explains all of the spread of {what} along ({direction}): leave coordinates "
            "out, or take more particles"
        )


def _shrunk(value: Tensor, errors: Tensor) -> NoisyLatents:
    """Posterior means of estimates, under a normal prior as wide as the conformations."""
    identity = torch.eye(value.shape[1], dtype=value.dtype, device=value.device)
    centre = value.mean(0)
    observed = torch.cov(value.T).reshape(identity.shape)
    prior, step = observed, 0
    while True:
        check_explained(prior, observed, len(value), "the latents")
        factor = torch.linalg.cholesky(prior)
        frame = torch.linalg.inv(factor)
        # In coordinates where the prior is standard normal gains are symmetric.
        gain = torch.linalg.inv(identity + frame @ errors @ frame.T)
        gain = 0.5 * (gain + gain.mT)
        mean = (gain @ ((value - centre) @ frame.T)[:, :, None])[:, :, 0]
        found = NoisyLatents(mean, gain, gain @ (identity - gain), frame, centre)
        if step == _ITERATIONS:
            return found
        standard = conformation_covariance(found, torch.zeros_like(centre))
        prior, step = factor @ standard @ factor.T, step + 1


def _check_covariance(covariance: Array, value: Tensor) -> Tensor:
    """Covariances (N, Z, Z), float64."""
    spread = as_tensor(covariance, "covariance").detach().to(value)
    width = value.shape[1]
    if spread.shape == value.shape:
        spread = torch.diag_embed(spread)
    if spread.shape != (len(value), width, width):
        raise ValueError(
            f"covariance must have shape {(len(value), width, width)} or {(len(value), width)} as "
            f"the latents have, got {tuple(spread.shape)}"
        )
    finite = spread.isfinite().flatten(1).all(1)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        raise ValueError(f"covariance must be finite, got other values at row {row}")
    spread = 0.5 * (spread + spread.mT)
    negative = torch.linalg.eigvalsh(spread)[:, 0] < -1e-5 * spread.flatten(1).abs().amax(1)
    if bool(negative.any()):
        row = int(negative.nonzero()[0])
        raise ValueError(f"covariance must be positive, got a negative variance at row {row}")
    return spread

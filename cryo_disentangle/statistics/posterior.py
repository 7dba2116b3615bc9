"""Statistics of one image on its coefficients, and on its errors of the consensus refinement."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.decoders.spline import SplinePoints
from cryo_disentangle.statistics.grid import SliceGrid
from cryo_disentangle.statistics.views import ParticleViews

__all__ = [
    "Likelihood",
    "Posterior",
    "Residuals",
    "draw_information",
    "marginal_likelihood",
    "residuals",
]

# Rounding may leave a singular precision with eigenvalues a little below zero.
_LIFT = 1e-5


class Coefficients(NamedTuple):
    """What is known of N particles' coefficients from elsewhere: of latents, say.

    Attributes:
        mean: Shape (N, K).
        covariance: Shape (N, K, K).
    """

    mean: Tensor
    covariance: Tensor

    def take(self, rows: Tensor) -> Coefficients:
        """Selects particles.

        Args:
            rows: Positions, shape (B,).

        Returns:
            Their coefficients.
        """
        return Coefficients(self.mean[rows], self.covariance[rows])

    def to(self, device: torch.device) -> Coefficients:
        """Copies them to a device.

        Args:
            device: Where to.

        Returns:
            The coefficients there.
        """
        return Coefficients(self.mean.to(device), self.covariance.to(device))

    def turned(self, axes: Tensor, centre: Tensor | None = None) -> Coefficients:
        """Changes coefficients linearly.

        Args:
            axes: What they are multiplied by, shape (K, K').
            centre: Subtracted before, shape (K,); None is nothing.

        Returns:
            K' coefficients.
        """
        mean = self.mean if centre is None else self.mean - centre
        return Coefficients(mean @ axes, axes.T @ self.covariance @ axes)

    def standardised(self) -> Coefficients:
        """Makes mean and covariance of all particles together zero and one."""
        centre = self.mean.mean(0)
        away = self.mean - centre
        total = (away.T @ away + self.covariance.sum(0)) / len(away)
        factor = torch.linalg.cholesky(total)
        eye = torch.eye(len(factor)).to(factor)
        return self.turned(torch.linalg.solve_triangular(factor, eye, upper=False).T, centre)


class Residuals(NamedTuple):
    """Whitened images without the mean, beside what the subspace's volumes look like there.

    Attributes:
        at: Where the slices lie on the grid, the whitened CTF in their weights.
        mean: Whitened slice of the mean, shape (B, M) with M = 2 P.
        columns: Whitened image without the mean, and beside it whitened slices of the K volumes,
            shape (B, M, K + 1).
    """

    at: SplinePoints
    mean: Tensor
    columns: Tensor

    @property
    def residual(self) -> Tensor:
        """Whitened image without the mean, shape (B, M)."""
        return self.columns[..., 0]

    @property
    def volumes(self) -> Tensor:
        """Whitened slices of the K volumes, shape (B, M, K)."""
        return self.columns[..., 1:]

    def beside(self, nuisance: Tensor, error: Tensor) -> Tensor:
        """Lays nuisances beside the volumes, the residual as it is at the poses given.

        Args:
            nuisance: Derivatives of the image in each error, shape (B, M, Q).
            error: Errors that poses were corrected by, shape (B, Q): the prior's mean is where
                poses were before.

        Returns:
            Residual, volumes and nuisances, shape (B, M, 1 + K + Q).
        """
        columns = torch.cat([self.columns, nuisance], dim=2)
        columns[..., 0] += (nuisance @ error[..., None])[..., 0]
        return columns


def residuals(grid: SliceGrid, paired: Tensor, views: ParticleViews) -> Residuals:
    """Reads the slices that views are compared with.

    Args:
        grid: Where volumes lie.
        paired: Mean and K volumes as `pair_nodes` has them, shape (G, 2 K + 2).
        views: Whitened views.

    Returns:
        Slices and residuals.
    """
    at = grid.at(views.rotation, views.transfer)
    columns = grid.read(at, paired).flatten(1, 2)
    mean = columns[..., 0].clone()
    # The residual takes the mean's place, so that one product makes all statistics.
    columns[..., 0] = views.coefficients.flatten(1) - mean
    return Residuals(at, mean, columns)


class Likelihood(NamedTuple):
    """A normal likelihood of coefficients c: log p = -½ cᵀ Λ c + bᵀ c - ½ offset + const.

    Attributes:
        precision: Λ, shape (B, K, K).
        information: b, shape (B, K).
        offset: What does not depend on c, shape (B,).
    """

    precision: Tensor
    information: Tensor
    offset: Tensor

    @classmethod
    def of(cls, columns: Tensor) -> Likelihood:
        """Collects the statistics of whitened residuals.

        Args:
            columns: Whitened residual r, and beside it whitened slices A, shape (B, M, K + 1).

        Returns:
            Λ = Aᵀ A, b = Aᵀ r and |r|².
        """
        products = columns.mT @ columns
        return cls(products[:, 1:, 1:], products[:, 1:, 0], products[:, 0, 0])

    def posterior(self) -> Posterior:
        """Multiplies with the standard normal prior of c."""
        eye = torch.eye(self.information.shape[1]).to(self.precision)
        factor = torch.linalg.cholesky(self.precision + eye)
        mean = torch.cholesky_solve(self.information[..., None], factor)[..., 0]
        log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1)
        gain = 0.5 * ((self.information * mean).sum(1) - log_det)
        return Posterior(mean, torch.cholesky_inverse(factor), gain)


class Posterior(NamedTuple):
    """Posterior of coefficients under a standard normal prior.

    Attributes:
        mean: (Λ + 1)⁻¹ b, shape (B, K).
        covariance: (Λ + 1)⁻¹, shape (B, K, K).
        gain: log p(image) - log p(image | c = 0) in nats: what the K volumes are worth, shape (B,).
    """

    mean: Tensor
    covariance: Tensor
    gain: Tensor


def marginal_likelihood(joint: Likelihood, rank: int) -> Likelihood:
    """Integrates nuisances out that have standard normal priors.

    Of columns J = [A B] with coefficients c and n, the noise's covariance becomes 1 + B Bᵀ, whose
    inverse needs that of a matrix as small as n (Woodbury).

    Args:
        joint: Likelihood of (c, n), rank K + Q.
        rank: Number K of coefficients that stay.

    Returns:
        Likelihood of c, whose offset contains log det(1 + Bᵀ B).
    """
    count = joint.information.shape[1] - rank
    if not count:
        return joint
    kept, lost = slice(None, rank), slice(rank, None)
    eye = torch.eye(count).to(joint.precision)
    factor = torch.linalg.cholesky(joint.precision[:, lost, lost] + eye)
    cross = torch.linalg.solve_triangular(factor, joint.precision[:, lost, kept], upper=False)
    seen = torch.linalg.solve_triangular(factor, joint.information[:, lost, None], upper=False)
    log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1)
    return Likelihood(
        joint.precision[:, kept, kept] - cross.mT @ cross,
        joint.information[:, kept] - (cross.mT @ seen)[..., 0],
        joint.offset - seen.square().sum((1, 2)) + log_det,
    )


def draw_information(coefficients: Tensor, precision: Tensor) -> Tensor:
    """Draws information vectors as images of known coefficients have them.

    b = Λ c + Λ^½ ε, with ε from torch's global generator.

    Args:
        coefficients: c, shape (B, K).
        precision: Λ, shape (B, K, K).

    Returns:
        b, shape (B, K).
    """
    noise = torch.empty_like(coefficients).normal_()
    size = precision.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(1e-12)
    eye = torch.eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    root = torch.linalg.cholesky_ex(precision + _LIFT * size[:, None, None] * eye).L
    return (precision @ coefficients[..., None] + root @ noise[..., None])[..., 0]


def conditional_posterior(joint: Likelihood, known: Coefficients) -> Posterior:
    """Posterior of nuisances n with standard normal priors, where c is known from elsewhere.

    Args:
        joint: Likelihood of (c, n), rank K + Q.
        known: Mean and covariance of c, of the same particles.

    Returns:
        Of (c, n) together; its gain is the expected log likelihood of c with n at its mean.
    """
    rank = known.mean.shape[1]
    count = joint.information.shape[1] - rank
    kept, lost = slice(None, rank), slice(rank, None)
    eye = torch.eye(count).to(joint.precision)
    inverse = torch.linalg.inv(joint.precision[:, lost, lost] + eye)
    slope = -inverse @ joint.precision[:, lost, kept]
    free = (inverse @ joint.information[:, lost, None])[..., 0]
    mean = torch.cat([known.mean, free + (slope @ known.mean[..., None])[..., 0]], 1)
    cross = slope @ known.covariance
    upper = torch.cat([known.covariance, cross.mT], 2)
    lower = torch.cat([cross, inverse + cross @ slope.mT], 2)
    covariance = torch.cat([upper, lower], 1)
    second = mean[:, :, None] * mean[:, None] + covariance
    gain = (joint.information * mean).sum(1) - 0.5 * (joint.precision * second).sum((1, 2))
    return Posterior(mean, covariance, gain)

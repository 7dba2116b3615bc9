"""Posterior of the conformation from a particle's statistics, of full covariance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cryo_disentangle.networks.residual_mlp import ResidualMLP
from cryo_disentangle.types import Inference

__all__ = ["StatisticsEncoder", "coefficient_posterior"]

# Keeps the scale finite where an input does not vary.
_TINY = 1e-6
# In standard deviations; a single particle that is further away would make a first step infinite.
_FARTHEST = 10.0


def coefficient_posterior(information: Tensor, precision: Tensor) -> tuple[Tensor, Tensor]:
    """Posterior of coefficients under a standard normal prior: N((Λ + 1)⁻¹ b, (Λ + 1)⁻¹).

    Args:
        information: b, shape (B, K).
        precision: Λ, shape (B, K, K).

    Returns:
        Mean, shape (B, K), and lower Cholesky factor of the covariance, shape (B, K, K).
    """
    eye = torch.eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    # Of the matrix read from its end, so that the inverse's factor is lower triangular.
    # Definite by construction: a check of errors would wait for the device.
    reversed_factor = torch.linalg.cholesky_ex((precision + eye).flip(-2, -1)).L
    inverse = torch.linalg.solve_triangular(reversed_factor, eye, upper=False)
    factor = inverse.mT.flip(-2, -1)
    return (factor @ (factor.mT @ information[..., None]))[..., 0], factor


class StatisticsEncoder(nn.Module):
    """Reads statistics of K coefficients and infers a normal posterior of full covariance.

    It reads the mean and the Cholesky factor of the coefficients' posterior under a
    standard normal prior (`coefficient_posterior`), so that the network has nothing to learn about
    views, standardised by the first training batch and held within ten standard deviations.

    Args:
        rank: Number K of coefficients.
        conformation_dim: Number Z of conformation coordinates.
        width: Width of the hidden layers.
        layers: Number of residual hidden layers.

    Attributes:
        shift: What is subtracted from the features, shape (K + K (K + 1) / 2,).
        scale: What they are then multiplied by, of the same shape; zero until the first batch.

    References:
        Rolinek et al. 2019, Variational autoencoders pursue PCA directions (by accident): why the
        posterior's coordinates are not independent, which would rotate the axes of the latent
        space.
    """

    shift: Tensor
    scale: Tensor
    _read: Tensor
    _written: Tensor

    def __init__(self, rank: int, conformation_dim: int, width: int = 96, layers: int = 2) -> None:
        super().__init__()
        self._fitted = False
        self.rank, self.conformation_dim = rank, conformation_dim
        self.width, self.layers = width, layers
        read = rank + rank * (rank + 1) // 2
        self.network = ResidualMLP(
            read, conformation_dim + conformation_dim * (conformation_dim + 1) // 2, width, layers
        )
        self.register_buffer("shift", torch.zeros(read))
        self.register_buffer("scale", torch.zeros(read))
        for name, size in (("_read", rank), ("_written", conformation_dim)):
            self.register_buffer(name, torch.tril_indices(size, size), persistent=False)

    def forward(self, information: Tensor, precision: Tensor) -> Inference:
        """Infers the posterior, in full precision under autocast too.

        Args:
            information: b, shape (B, K).
            precision: Λ, shape (B, K, K).

        Returns:
            Posterior of B conformations.

        Raises:
            ValueError: If statistics are of another number of coefficients.
        """
        if information.shape[-1] != self.rank:
            raise ValueError(
                f"the encoder reads statistics of {self.rank} coefficients, found "
                f"{information.shape[-1]}"
            )
        with torch.autocast(information.device.type, enabled=False):
            mean, factor = coefficient_posterior(information.float(), precision.float())
            rows, columns = self._read
            features = torch.cat([mean, factor[:, rows, columns]], 1)
            raw = self.network(self._standardised(features))
            return self._posterior(raw)

    def _standardised(self, features: Tensor) -> Tensor:
        """Features of zero mean and unit spread over the first training batch."""
        if not self._is_fitted():
            if not self.training:
                return features
            self._fit(features.detach())
            self._fitted = True
        standardised = (features - self.shift) * self.scale
        return standardised.clamp(-_FARTHEST, _FARTHEST)

    def _is_fitted(self) -> bool:
        """Whether mean and spread are known, which is read from the device until they are."""
        if not self._fitted:
            self._fitted = bool(self.scale.any())
        return self._fitted

    def _load_from_state_dict(self, *given: Any, **options: Any) -> None:  # noqa: ANN401 - torch's
        super()._load_from_state_dict(*given, **options)
        self._fitted = False

    def _fit(self, features: Tensor) -> None:
        """Takes mean and spread of a batch, of all processes'."""
        count = features.new_tensor([len(features)])
        sums = torch.stack([features.sum(0), features.square().sum(0)])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
            torch.distributed.all_reduce(count)
        mean, square = sums / count
        self.shift.copy_(mean)
        self.scale.copy_(1 / ((square - mean.square()).clamp_min(0).sqrt() + _TINY))

    def _posterior(self, raw: Tensor) -> Inference:
        """Mean and Cholesky factor of what the network wrote."""
        width = self.conformation_dim
        rows, columns = self._written
        lower = raw.new_zeros(len(raw), width, width)
        lower[:, rows, columns] = raw[:, width:]
        diagonal = lower.diagonal(dim1=1, dim2=2).exp()
        return Inference.of_scale(raw[:, :width], lower.tril(-1) + torch.diag_embed(diagonal))

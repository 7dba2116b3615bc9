"""cryoDRGN's encoder: a residual multilayer perceptron on Hartley coefficients."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from cryo_disentangle.networks.residual_mlp import ResidualMLP
from cryo_disentangle.protocols.inference import Evidence
from cryo_disentangle.types import Inference

__all__ = ["MLPEncoder"]


class MLPEncoder(ResidualMLP):
    """Hartley coefficients of a phase-flipped, centred image to mean and log-variance.

    State-dict compatible with the encoder of cryoDRGN's ``HetOnlyVAE``, encode mode ``resid``, or
    ``mlp`` where it is not residual.

    Args:
        coefficients: Number M of coefficients read.
        conformation_dim: Number Z of conformation coordinates.
        width: Width of the hidden layers.
        layers: Number of residual hidden layers.
        activation: Activation of the hidden layers.
        residual: Whether the hidden layers are residual.

    Raises:
        ValueError: If a size is not positive.

    References:
        Zhong et al. 2021, cryoDRGN, Methods.
    """

    def __init__(
        self,
        coefficients: int,
        conformation_dim: int,
        width: int = 1024,
        layers: int = 3,
        activation: Literal["relu", "leaky_relu"] = "relu",
        residual: bool = True,
    ) -> None:
        super().__init__(coefficients, 2 * conformation_dim, width, layers, activation, residual)

    def forward(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Infers the posterior.

        Args:
            coefficients: Shape (B, M).

        Returns:
            Mean and log-variance, each (B, Z).
        """
        mean, log_variance = super().forward(coefficients).chunk(2, dim=-1)
        return mean, log_variance

    def posterior(self, evidence: Evidence) -> Inference:
        """Infers the posterior of B particles from their features.

        Args:
            evidence: What is known of the particles.

        Returns:
            The posterior, mean (B, Z).
        """
        return Inference(*self(evidence.features))

"""Posterior of the conformation from an image, by way of its statistics in a subspace."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from cryo_disentangle.encoders import StatisticsEncoder
from cryo_disentangle.protocols import ConformationEncoder
from cryo_disentangle.protocols.inference import Evidence
from cryo_disentangle.statistics.posterior import Likelihood, residuals
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.views import ParticleViews
from cryo_disentangle.types import Inference

__all__ = ["SubspacePosterior"]


class SubspacePosterior(nn.Module, ConformationEncoder):
    """An encoder for models of images that makes an image's statistics and reads them.

    The subspace is the one that the network was trained with and stays as it is, so that the
    decoder may be trained further without changing what the network reads. Images must be prepared
    as the statistics' were: without a window, divided by the subspace's ``norm``.

    Args:
        coefficients: Not read; other encoders are made from (number of coefficients, Z).
        conformation_dim: Number Z of conformation coordinates.
        subspace: File of the subspace, ``subspace.pt`` of a folder of statistics.
        width: Width of the network's hidden layers.
        layers: Number of its residual hidden layers.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no subspace.
    """

    paired: Tensor
    noise: Tensor

    def __init__(
        self,
        coefficients: int,  # noqa: ARG002
        conformation_dim: int,
        subspace: str | Path,
        width: int = 96,
        layers: int = 2,
    ) -> None:
        super().__init__()
        found = Subspace.open(subspace)
        self.box_size, self._grid = found.box_size, found.grid
        self.register_buffer("noise", found.point_noise, persistent=False)
        self.register_buffer("paired", found.paired, persistent=False)
        self.network = StatisticsEncoder(found.rank, conformation_dim, width, layers)

    def posterior(self, evidence: Evidence) -> Inference:
        """Infers the posterior, of full covariance.

        Args:
            evidence: What is known of B single particles; their images, poses and CTF are read.

        Returns:
            The posterior, mean (B, Z).

        Raises:
            ValueError: If the particles have no poses, or images of another size.
        """
        likelihood = self.likelihood(evidence)
        found: Inference = self.network(likelihood.information, likelihood.precision)
        return found

    @torch.no_grad()
    def likelihood(self, evidence: Evidence) -> Likelihood:
        """Makes the statistics of images.

        Args:
            evidence: As for `posterior`.

        Returns:
            Precision (B, K, K), information (B, K) and offset (B,).

        Raises:
            ValueError: As `posterior`.
        """
        batch, side = evidence.batch, self.box_size + 1
        if "rotation" not in batch:
            raise ValueError("statistics need known poses, and the particles have none")
        if batch["images"].shape[-1] != side:
            raise ValueError(
                f"the subspace has box size {self.box_size} and expects Hartley transforms of side "
                f"{side}, found images of shape {tuple(batch['images'].shape)}"
            )
        with torch.autocast(batch["images"].device.type, enabled=False):
            grid = self._grid.to(self.paired.device)
            views = ParticleViews.of(batch, grid.disc, self.box_size)
            seen = residuals(grid, self.paired, views.whitened(self.noise))
            return Likelihood.of(seen.columns)

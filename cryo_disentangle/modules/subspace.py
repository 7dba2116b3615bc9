"""Learning on particles' statistics, as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.encoders import StatisticsEncoder
from cryo_disentangle.losses.schedules import Schedule
from cryo_disentangle.modules.statistics_model import StatisticsModel
from cryo_disentangle.modules.training import LatentTraining, TrainingSettings
from cryo_disentangle.protocols import ConformationPrior, Penalty
from cryo_disentangle.statistics import StatisticsFolder
from cryo_disentangle.statistics.subspace import Subspace

__all__ = ["SubspaceReconstruction"]

_VOLUMES = "decoder.coefficients"


class SubspaceReconstruction(StatisticsModel, LatentTraining):
    """Variational autoencoder of particles' statistics in a subspace of volumes.

    The encoder reads a particle's information vector and precision, and gives a posterior of full
    covariance; a network φ makes the coefficients of the volumes from the conformation; the
    likelihood of the image is exact, and no image is read. In nats a particle,

        loss = E_q [½ φ(z)ᵀ Λ φ(z) - bᵀ φ(z)] + kl_weight · KL + Σ penalties.

    Prior, penalties, metrics and callbacks are those of models of images, and `StatisticsData` the
    data. With volumes it is a `BasisDecoder`; `assemble` makes a model of images of it.

    The folder of statistics is read whenever the model is made, so it must stay where it is.

    Args:
        statistics: Folder of statistics with its subspace; the data's, filled in by the command
            line.
        conformation_dim: Number Z of conformation coordinates.
        encoder: Makes the encoder from (K, Z).
        hidden: Width of the network φ; 0 is a linear map.
        layers: Number of residual hidden layers of φ.
        prior: Prior of the conformation; null is the standard normal.
        penalties: Terms added to the loss, logged under their names; their unit is the nat.
        kl_weight: Weight of the KL divergence, a number or a schedule; 1 bounds the likelihood.
        optimizer: Makes the optimiser from the parameters.
        lr_scheduler: Makes the learning-rate schedule from the optimiser; null is a constant rate.
        lr_interval: Whether the learning rate changes every ``step`` or every ``epoch``.
        seed: Seed of the draws from the posterior.

    Raises:
        FileNotFoundError: If there is no such folder, or no subspace in it.
        ValueError: If the statistics are of another subspace than the folder's, or a number is out
            of range.

    References:
        Kingma and Welling 2014, Auto-encoding variational Bayes; Punjani and Fleet 2021, 3D
        variability analysis, for the subspace.
    """

    def __init__(  # noqa: PLR0913 - each is a key of the configuration file
        self,
        statistics: str | Path,
        conformation_dim: int = 2,
        encoder: Callable[[int, int], nn.Module] = StatisticsEncoder,
        hidden: int = 48,
        layers: int = 2,
        prior: ConformationPrior | None = None,
        penalties: Mapping[str, Penalty] | None = None,
        kl_weight: float | Schedule = 1.0,
        optimizer: OptimizerCallable = lambda p: torch.optim.Adam(p, lr=2e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["step", "epoch"] = "epoch",
        seed: int = 0,
    ) -> None:
        subspace = StatisticsFolder.open(statistics).subspace()
        super().__init__(
            _with_mixture(subspace, conformation_dim, hidden, layers),
            conformation_dim,
            encoder,
            prior,
            penalties,
            kl_weight,
            subspace.pixel_size,
            subspace.norm,
        )
        self.statistics, self.hidden, self.layers = statistics, hidden, layers
        self.train_with(
            TrainingSettings(optimizer, lr_scheduler, lr_interval, seed),
            ("loss", "reconstruction", "kl", *self.penalties),
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Compares the subspace with the one that the checkpoint's networks were trained in.

        Args:
            checkpoint: What was saved.

        Raises:
            ValueError: If the folder of statistics has been made again with other volumes, or the
                checkpoint is of other networks.
        """
        mine, saved = self.decoder.coefficients, checkpoint["state_dict"].get(_VOLUMES)
        if saved is not None and (
            saved.shape != mine.shape or not torch.allclose(saved.to(mine), mine, rtol=1e-4)
        ):
            raise self.refused(
                f"of a model trained in another subspace than that of {self.statistics}, whose "
                "statistics have been made again since: make them as they were, or train anew"
            )
        super().on_load_checkpoint(checkpoint)


def _with_mixture(
    subspace: Subspace, conformation_dim: int, hidden: int, layers: int
) -> BasisDecoder:
    """The subspace's volumes with a mixture that is still to be learned."""
    decoder = BasisDecoder(subspace.box_size, conformation_dim, subspace.rank, hidden, layers)
    with torch.no_grad():
        decoder.coefficients.copy_(subspace.decoder().coefficients)
    return decoder

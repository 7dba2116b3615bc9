"""Scores of disentanglement, and of conformation and pose, while a model is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor

from cryo_disentangle import metrics
from cryo_disentangle.adapters import AdaptedModel, ModelAdapter
from cryo_disentangle.callbacks.metric_callback import MetricCallback
from cryo_disentangle.held_out.particles import HeldOutSource
from cryo_disentangle.metrics.base import CodesMetric
from cryo_disentangle.metrics.particle_rows import ParticleRowsMetric
from cryo_disentangle.particles import Preprocessing
from cryo_disentangle.types import ParticleBatch

__all__ = ["DisentanglementMetrics", "PoseConformationMetrics"]

_Function = Callable[..., Any]


class _Codes(ParticleRowsMetric):
    """The suite of scores, for which each particle counts once."""

    def __init__(self) -> None:
        super().__init__(("z", "factors"))

    def update(self, model: AdaptedModel, batch: ParticleBatch) -> None:
        """Stores posterior means and true factors."""
        self.keep(batch["index"], {"z": model.infer(batch).mean, "factors": batch["factors"]})

    def compute(self) -> dict[str, Tensor]:
        """Scores all particles."""
        rows = self.rows()
        # Which rows are held out depends on their number alone: latents differ in the last digits
        # with the number of processes, and stacks may be in the order of time.
        order = torch.randperm(len(rows["z"]), generator=torch.Generator().manual_seed(0))
        z, factors = (rows[name][order.to(rows[name].device)] for name in ("z", "factors"))
        suite = metrics.DisentanglementMetrics()
        return {
            name: cast("CodesMetric", metric).evaluate(z, factors)
            for name, metric in suite.items(keep_base=True)
        }


class DisentanglementMetrics(MetricCallback):
    """Scores latents against true factors in every way of the metrics' class of this name.

    Logs ``metrics/mcc_pearson``, ``metrics/dci_disentanglement`` ... and keeps them in
    ``metrics/disentanglement.csv``. A `MetricCallback`, which tells when and how. Without held-out
    particles the validation batches must have ``factors``; all of them count.

    Args: As `MetricCallback`.

    Raises: As `MetricCallback`.
    """

    table = "disentanglement"
    title = "latents and true factors (1 is best)"
    headline = ("mcc_pearson", "dci_disentanglement", "infomec_modularity", "r2_linear")

    def _make_metric(self, trainer: L.Trainer) -> ParticleRowsMetric:  # noqa: ARG002
        return _Codes()

    def _score_name(self, name: str) -> str:
        return name

    def _check_batch(self, batch: ParticleBatch) -> None:
        if "factors" not in batch:
            raise ValueError(
                "DisentanglementMetrics needs true factors: the validation batches have no "
                '"factors"; give held_out, a simulated stack, or particles labelled with factors'
            )


class PoseConformationMetrics(MetricCallback):
    """Scores the six consistencies and invariances of the metrics' class of this name.

    Logs ``metrics/pose_conformation/volume_consistency_normalized`` ... and keeps them in
    ``metrics/pose_conformation.csv``. A `MetricCallback`, which tells when and how. Particles trade
    poses within their batch; so scores of validation batches, not those of held-out particles,
    depend a little on how a run deals particles to batches and processes.

    Args:
        every_n_epochs: Epochs from one evaluation to the next.
        true_generator: Whether the simulation behind the held-out particles stands for g*, instead
            of the model's own generator.
        noise_std: Standard deviation of the noise added to rendered images, in the units of the
            batch's images; null measures it on the held-out images beside their true generator, and
            adds none without.
        held_out: As for `MetricCallback`, and so are the others.
        particles: How many held-out particles at most.
        batch_size: Held-out particles a batch at most.
        preprocessing: What is done to held-out images.
        prefix: First part of the names of logged scores, and the folder of the files.
        infer: As for `PenaltyCallback`.
        generate: As for `PenaltyCallback`.
        as_batch: As for `PenaltyCallback`.

    Raises:
        ValueError: As `MetricCallback`, if a noise is negative, or if the true generator is asked
            for without held-out particles.
        FileNotFoundError: As `MetricCallback`.
        TypeError: As `MetricCallback`, and at the start of a run if the module can't generate.

    References:
        Klindt et al. 2024, Appendix A and Algorithm 1.
    """

    table = "pose_conformation"
    title = "consistency and invariance (0 is best)"
    headline = (
        "pose_conformation/*_consistency_normalized",
        "pose_conformation/*_invariance_normalized",
    )

    def __init__(  # noqa: PLR0913 - each is a key of the configuration file
        self,
        every_n_epochs: int = 1,
        true_generator: bool = False,
        noise_std: float | None = None,
        held_out: HeldOutSource | None = None,
        particles: int = 4000,
        batch_size: int = 64,
        preprocessing: Preprocessing | None = None,
        prefix: str = "metrics",
        infer: str | _Function | None = None,
        generate: str | _Function | None = None,
        as_batch: str | _Function | None = None,
    ) -> None:
        super().__init__(
            every_n_epochs, held_out, particles, batch_size, preprocessing, prefix, infer, as_batch
        )
        self._adapter = ModelAdapter(infer, generate, as_batch)
        if true_generator and held_out is None:
            raise ValueError(
                "true_generator needs the simulation behind held-out particles: give held_out"
            )
        # Refuses a noise that is out of range now rather than at the first validation.
        metrics.PoseConformationMetrics(noise_std=noise_std)
        self.true_generator, self.noise_std = true_generator, noise_std

    def _make_metric(self, trainer: L.Trainer) -> ParticleRowsMetric:
        if not self.true_generator or self.held_out is None:
            return metrics.PoseConformationMetrics(noise_std=self.noise_std)
        noise_std = self.held_out.noise_std(trainer) if self.noise_std is None else self.noise_std
        generator = self.held_out.true_generator(trainer)
        return metrics.PoseConformationMetrics(generator, noise_std=noise_std)

    def _score_name(self, name: str) -> str:
        return f"pose_conformation/{name}"

    def _check_model(self, model: AdaptedModel) -> None:
        model.renderer()

"""What a model's conformations know that they should not, while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lightning as L

from cryo_disentangle import metrics
from cryo_disentangle.adapters import AdaptedModel
from cryo_disentangle.callbacks.metric_callback import MetricCallback
from cryo_disentangle.held_out.particles import HeldOutSource
from cryo_disentangle.metrics.particle_rows import ParticleRowsMetric
from cryo_disentangle.particles import Preprocessing
from cryo_disentangle.types import ParticleBatch

__all__ = ["PoseLeak", "RotationTest"]

_Function = Callable[..., Any]
_NUISANCES = {"rotation", "translation", "ctf", "time", "temperature"}


class RotationTest(MetricCallback):
    """Scores how far conformations move when images are turned in their plane.

    Logs ``metrics/rotation/normalized``, ``metrics/rotation/90_normalized`` ... of the metrics'
    class of this name and keeps them in ``metrics/rotation.csv``. A `MetricCallback`, which tells
    when and how. Works on real data: no truth is needed.

    Args:
        angles_deg: Angles in degrees; multiples of 90 are exact, others interpolate.
        every_n_epochs: As for `MetricCallback`, and so are the others.
        held_out: Simulated particles that the model is not trained on; null takes the validation
            batches.
        particles: How many held-out particles at most.
        batch_size: Held-out particles a batch at most.
        preprocessing: What is done to held-out images.
        prefix: First part of the names of logged scores, and the folder of the files.
        infer: As for `PenaltyCallback`.
        as_batch: As for `PenaltyCallback`.

    Raises: As `MetricCallback`.

    References:
        Edelberg and Lederman 2023, as told by Klindt et al. 2024.
    """

    table = "rotation"
    title = "movement of z when images are turned (0 is best)"
    headline = ("rotation/normalized",)

    def __init__(  # noqa: PLR0913 - each is a key of the configuration file
        self,
        angles_deg: Sequence[float] = (90, 180, 270),
        every_n_epochs: int = 1,
        held_out: HeldOutSource | None = None,
        particles: int = 4000,
        batch_size: int = 64,
        preprocessing: Preprocessing | None = None,
        prefix: str = "metrics",
        infer: str | _Function | None = None,
        as_batch: str | _Function | None = None,
    ) -> None:
        super().__init__(
            every_n_epochs, held_out, particles, batch_size, preprocessing, prefix, infer, as_batch
        )
        self.angles_deg = metrics.RotationTest(angles_deg).angles_deg

    def _make_metric(self, trainer: L.Trainer) -> ParticleRowsMetric:  # noqa: ARG002
        return metrics.RotationTest(self.angles_deg)

    def _score_name(self, name: str) -> str:
        return name.replace("_", "/", 1)


class PoseLeak(MetricCallback):
    """Scores how much conformations know of pose, defocus, shift, time and temperature.

    Logs ``metrics/pose_leak/nonlinear_r2``, ``metrics/defocus_leak/linear_r2`` ... of the metrics'
    class of this name and keeps them in ``metrics/pose_leak.csv``. A `MetricCallback`, which tells
    when and how. Works on real data: no truth is needed.

    Args: As `MetricCallback`.

    Raises:
        ValueError: As `MetricCallback`, or if nothing is known that could leak.
        FileNotFoundError: As `MetricCallback`.
        TypeError: As `MetricCallback`.
    """

    table = "pose_leak"
    title = "R² of z from what it should not know (0 is best)"
    headline = ("*_leak/nonlinear_r2",)

    def _make_metric(self, trainer: L.Trainer) -> ParticleRowsMetric:  # noqa: ARG002
        return metrics.PoseLeak()

    def _update(
        self, metric: ParticleRowsMetric, model: AdaptedModel, batch: ParticleBatch
    ) -> None:
        inference = model.infer(batch)
        if inference.pose is None and not _NUISANCES & batch.keys():
            raise ValueError(
                f"PoseLeak needs one of {', '.join(sorted(_NUISANCES))} in a batch, or a model "
                f"that infers poses, found {', '.join(sorted(batch))}"
            )
        metric.update(inference, batch)

    def _score_name(self, name: str) -> str:
        return name.replace("_leak_", "_leak/", 1)

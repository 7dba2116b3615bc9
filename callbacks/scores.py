"""Short forms of `ScoreCallback`, each for one of the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import lightning as L
from torchmetrics import Metric

from cryo_disentangle import metrics
from cryo_disentangle.adapters import AdaptedModel
from cryo_disentangle.callbacks.score_callback import ScoreCallback
from cryo_disentangle.protocols import Score

__all__ = ["DisentanglementMetrics", "PoseConformationMetrics", "PoseLeak", "RotationTest"]


class DisentanglementMetrics(ScoreCallback):
    """Scores latents against true factors by all scores of the metric class of this name.

    Logs ``metrics/mcc_pearson``, ``metrics/dci_disentanglement`` ... and keeps them in
    ``metrics/disentanglement.csv``. See `ScoreCallback` for when and how. Without held-out
    particles the validation batches must have ``factors``; all of them count.

    Args:
        **options: As for `ScoreCallback`.

    Raises: As `ScoreCallback`.
    """

    title = "latents and true factors (1 is best)"
    headline = ("mcc_pearson", "dci_disentanglement", "infomec_modularity", "r2_linear")

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of ScoreCallback
        suite = cast("Score", metrics.DisentanglementMetrics())
        super().__init__(metric=suite, name="disentanglement", **options)

    def _score_name(self, name: str) -> str:
        return name


class PoseConformationMetrics(ScoreCallback):
    """Scores the six consistencies and invariances of the metric class of this name.

    Logs ``metrics/pose_conformation/volume_consistency_normalized`` ... and keeps them in
    ``metrics/pose_conformation.csv``. See `ScoreCallback` for when and how. Poses are permuted
    within a batch; so scores of validation batches, unlike those of held-out particles, depend
    slightly on how particles are distributed over batches and processes.

    Args:
        true_generator: Whether the simulation behind the held-out particles stands for g*, instead
            of the model's own generator.
        noise_std: Standard deviation of the noise added to rendered images, in the units of the
            batch's images; null measures it on the held-out images beside their true generator, and
            adds none without.
        **options: As for `ScoreCallback`.

    Raises:
        ValueError: As `ScoreCallback`, if a noise is negative, or if the true generator is asked
            for without held-out particles.
        FileNotFoundError: As `ScoreCallback`.
        TypeError: As `ScoreCallback`, and at the start of a run if the module can't generate.

    References:
        Klindt et al. 2024, Appendix A and Algorithm 1.
    """

    title = "consistency and invariance (0 is best)"
    chance = 1.0
    headline = (
        "pose_conformation/*_consistency_normalized",
        "pose_conformation/*_invariance_normalized",
    )

    def __init__(
        self,
        *,
        true_generator: bool = False,
        noise_std: float | None = None,
        **options: Any,  # noqa: ANN401 - those of ScoreCallback
    ) -> None:
        metric = metrics.PoseConformationMetrics(noise_std=noise_std)
        super().__init__(metric=metric, name="pose_conformation", **options)
        if true_generator and self.held_out is None:
            raise ValueError(
                "true_generator needs the simulation behind held-out particles: give held_out"
            )
        self.true_generator, self.noise_std = true_generator, noise_std

    def _make_metric(self, trainer: L.Trainer) -> Metric | Score:
        if not self.true_generator or self.held_out is None:
            return self.metric
        noise_std = self.held_out.noise_std(trainer) if self.noise_std is None else self.noise_std
        generator = self.held_out.true_generator(trainer)
        return metrics.PoseConformationMetrics(generator, noise_std=noise_std)

    def _check_model(self, model: AdaptedModel) -> None:
        model.renderer()


class RotationTest(ScoreCallback):
    """Scores how far conformations move when images are rotated in their plane.

    Logs ``metrics/rotation/normalized``, ``metrics/rotation/90_normalized`` ... of the metrics'
    class of this name and keeps them in ``metrics/rotation.csv``. See `ScoreCallback` for when and
    how. Works on real data, without true factors.

    Args:
        angles_deg: Angles in degrees; multiples of 90 are exact, others interpolate.
        **options: As for `ScoreCallback`.

    Raises: As `ScoreCallback`.

    References:
        Edelberg and Lederman 2023, as cited by Klindt et al. 2024.
    """

    title = "movement of z when images are rotated (0 is best)"
    chance = 1.0
    headline = ("rotation/normalized",)

    def __init__(
        self,
        angles_deg: Sequence[float] = (90, 180, 270),
        **options: Any,  # noqa: ANN401 - those of ScoreCallback
    ) -> None:
        super().__init__(metric=metrics.RotationTest(angles_deg), name="rotation", **options)

    def _score_name(self, name: str) -> str:
        return name.replace("_", "/", 1)


class PoseLeak(ScoreCallback):
    """Scores how much z depends on pose, defocus, shift, time and temperature.

    Logs ``metrics/pose_leak/nonlinear_r2``, ``metrics/defocus_leak/linear_r2`` ... of the metrics'
    class of this name and keeps them in ``metrics/pose_leak.csv``. See `ScoreCallback` for when and
    how. Works on real data, without true factors.

    Args:
        **options: As for `ScoreCallback`.

    Raises:
        ValueError: As `ScoreCallback`, or if nothing is known that could leak.
        FileNotFoundError: As `ScoreCallback`.
        TypeError: As `ScoreCallback`.
    """

    title = "R² of z from what it should not encode (0 is best)"
    headline = ("*_leak/nonlinear_r2",)

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of ScoreCallback
        super().__init__(metric=metrics.PoseLeak(), name="pose_leak", **options)

    def _score_name(self, name: str) -> str:
        return name.replace("_leak_", "_leak/", 1)

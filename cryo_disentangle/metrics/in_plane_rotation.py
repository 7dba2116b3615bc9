"""Rotation test of a model on its own particles: images rotated in their plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.rotation import rotate_particles, rotation_scores
from cryo_disentangle.metrics.particle_rows import ParticleRowsMetric, evaluating
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import ParticleBatch, flatten_particles

__all__ = ["RotationTest"]


class RotationTest(ParticleRowsMetric):
    """Distance that latents move when a particle image is rotated in its plane.

    Works on real data: image, pose and astigmatism are rotated together, which changes nothing
    about the molecule, and no truth is needed.

    As input to ``update``:
        model: The model, see `LatentImageModel`; only its inference is used.
        batch: Particles.

    As output of ``compute``, a dictionary of float64 scalars:
        ``rotation_ANGLE_NAME`` of each angle in degrees and ``rotation_NAME``, their mean, with
        NAME of `RotationScores`: raw, normalized (0 best, 1 chance), icc_mean and icc_min,
        correlation_mean, retrieval_rank, retrieval_rate, auc, posterior_units, noise_floor; and
        ``rotation_collapsed``, 1 where the latents are constant.

    Args:
        angles_deg: Angles in degrees. Multiples of 90 move pixels and are exact; others
            interpolate, which is charged to the model (`rotate_images`).
        seed: As in `rotation_scores`.
        **kwargs: What torchmetrics' Metric takes.

    Raises:
        ValueError: If there is no angle, or one turns nothing or is not finite.

    References:
        Edelberg and Lederman 2023, as cited by Klindt et al. 2024.
    """

    def __init__(
        self,
        angles_deg: Sequence[float] = (90, 180, 270),
        *,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401 - torchmetrics' own words
    ) -> None:
        if not angles_deg or any(not math.isfinite(a) or a % 360 == 0 for a in angles_deg):
            raise ValueError(
                f"angles_deg must be angles that are no multiples of 360, got {list(angles_deg)}"
            )
        self._turned = [f"z_turned_{i}" for i in range(len(angles_deg))]
        super().__init__(("z", "log_variance", *self._turned), **kwargs)
        self.angles_deg, self.seed = tuple(angles_deg), seed

    def update(self, model: LatentImageModel, batch: ParticleBatch) -> None:
        """Infers the conformations of a batch and of its rotated copies.

        Args:
            model: The model.
            batch: Particles, or pairs of frames, which count one by one.

        Raises:
            ValueError: If images are not square.
        """
        batch = flatten_particles(batch)
        with evaluating(model):
            found = model.infer(batch)
            rows = {"z": found.mean, "log_variance": found.log_variance}
            for name, angle in zip(self._turned, self.angles_deg, strict=True):
                rows[name] = model.infer(rotate_particles(batch, angle)).mean
        self.keep(batch["index"], rows)

    def evaluate(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scores rows of at least 12 particles; see `ParticleRowsMetric.evaluate`."""
        scores: dict[str, Tensor] = {}
        collapsed = []
        for name, angle in zip(self._turned, self.angles_deg, strict=True):
            found = rotation_scores(rows["z"], rows[name], rows["log_variance"], seed=self.seed)
            collapsed.append(found.collapsed)
            entries = found._asdict()
            icc, correlation = entries.pop("icc"), entries.pop("correlation")
            del entries["collapsed"]
            entries |= {"icc_mean": icc.mean(), "icc_min": icc.min()}
            entries["correlation_mean"] = correlation.mean()
            scores |= {f"rotation_{angle:g}_{key}": value for key, value in entries.items()}
        for key in entries:
            values = [scores[f"rotation_{angle:g}_{key}"] for angle in self.angles_deg]
            scores[f"rotation_{key}"] = torch.stack(values).mean()
        scores["rotation_collapsed"] = torch.stack(collapsed).all().double()
        return scores

"""Whether the spread of a model's conformations follows pose, defocus or shift."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.spread import (
    SpreadLeakScores,
    nuisance_spread_leak,
    view_spread_leak,
)
from cryo_disentangle.metrics.particle_rows import ParticleRowsMetric
from cryo_disentangle.metrics.pose_leak import rows_of_nuisances
from cryo_disentangle.types import Inference, ParticleBatch, flatten_particles

__all__ = ["SpreadLeak"]

# Time and temperature may rightly widen a conformation.
_NUISANCES = ("defocus", "shift")


class SpreadLeak(ParticleRowsMetric):
    """Whether inferred conformations spread more widely at some views, defoci or shifts.

    `PoseLeak` does not find it: the mean conformation may be the same everywhere.

    As input to ``update``:
        inference: What a model inferred, or conformations (B, K) alone.
        batch: The particles: ``rotation`` (or else the inferred pose), ``ctf`` and
            ``translation`` are used where present.
        width: Spread of z that is expected without a leak at the particle's view, (B,) or (B, K),
            by which distances are divided, as in `view_spread_leak`; None assumes the same at all
            views.

    As output of ``compute``, a dictionary of float64 scalars:
        NAME_spread_p_value, the smallest of the p-values of all latents and of the overall one,
        corrected for their number; NAME_spread_ratio, the spread of the widest over that of the
        narrowest cell, and NAME_spread_variance of its logarithm, each the largest; NAME is view,
        defocus or shift. See `view_spread_leak`.

    Args:
        bins: Cells of each nuisance, as in `view_spread_leak`.
        permutations: The smallest p-value is 1 / (1 + permutations).
        seed: Of the permutations.
        **kwargs: What torchmetrics' Metric takes.
    """

    def __init__(
        self,
        *,
        bins: int = 32,
        permutations: int = 200,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(("z", "rotation", "width", *_NUISANCES), **kwargs)
        self.bins, self.permutations, self.seed = bins, permutations, seed

    def update(
        self, inference: Inference | Tensor, batch: ParticleBatch, width: Tensor | None = None
    ) -> None:
        """Stores a batch.

        Args:
            inference: What was inferred, or conformations (B, K); (B, 2, K) for pairs of frames.
            batch: The particles, or pairs of frames, which count one by one.
            width: Predicted spread of each conformation, of the batch's shape or of that of the
                conformations.
        """
        rows = rows_of_nuisances(inference, batch)
        kept = {name: rows[name] for name in ("z", "rotation", *_NUISANCES)}
        index = flatten_particles(batch)["index"]
        kept["width"] = None if width is None else width.reshape(len(index), -1)
        self.keep(index, kept)

    def evaluate(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scores rows of at least 12 particles; see `ParticleRowsMetric.evaluate`."""
        z, width = rows["z"], rows.get("width")
        bins, permutations, seed = self.bins, self.permutations, self.seed
        found = {}
        if "rotation" in rows:
            found["view"] = view_spread_leak(
                z, rows["rotation"], width=width, bins=bins, permutations=permutations, seed=seed
            )
        nuisances = {name: rows[name] for name in _NUISANCES if name in rows}
        found |= nuisance_spread_leak(
            z, nuisances, width=width, bins=bins, permutations=permutations, seed=seed
        )
        return {key: score for name, leak in found.items() for key, score in _named(name, leak)}


def _named(name: str, leak: SpreadLeakScores) -> list[tuple[str, Tensor]]:
    """The worst of the scores by name."""
    p_value = torch.minimum(leak.p_value.min(), leak.overall_p_value)
    ratio = torch.maximum(leak.ratio.max(), leak.overall_ratio)
    variance = torch.maximum(leak.variance.max(), leak.overall_variance)
    return [
        (f"{name}_spread_p_value", p_value),
        (f"{name}_spread_ratio", ratio),
        (f"{name}_spread_variance", variance),
    ]

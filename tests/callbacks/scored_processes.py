"""What one process, or one of two, does that trains and scores."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.strategies import DDPStrategy

from cryo_disentangle.callbacks import (
    DisentanglementMetrics,
    PoseConformationMetrics,
    PoseLeak,
    RotationTest,
)
from cryo_disentangle.callbacks.score_callback import ScoreCallback
from tests.callbacks import foreign, scored_runs


def callbacks() -> list[ScoreCallback]:
    """Every callback, with held-out particles and validation batches, a lone batch among them."""
    held_out: dict[str, Any] = {"held_out": scored_runs.simulation(1), "batch_size": 11}
    return [
        DisentanglementMetrics(**held_out, particles=50),
        DisentanglementMetrics(prefix="validation"),
        DisentanglementMetrics(**held_out | {"batch_size": 40}, particles=40, prefix="lone"),
        PoseConformationMetrics(**held_out, particles=50, true_generator=True),
        RotationTest(),
        PoseLeak(),
    ]


def user_callbacks() -> list[ScoreCallback]:
    """What works on a user's loop, whose sampler shows one particle twice."""
    return [
        DisentanglementMetrics(**scored_runs.USER),
        RotationTest(angles_deg=[90, 35], **scored_runs.USER),
        PoseLeak(**scored_runs.USER),
    ]


def main(folder: Path, processes: int = 1) -> None:
    """Leaves the tables of both runs, and what each process knows of the scores."""

    def options() -> dict[str, Any]:
        if processes == 1:
            return {}
        return {"devices": processes, "strategy": DDPStrategy(process_group_backend="gloo")}

    # Weights stay as they are, for gradients of two processes differ in the last digits.
    first = scored_runs.fit(
        folder / "ours", *callbacks(), module=scored_runs.model(0.0), max_epochs=2, **options()
    )
    second = scored_runs.trainer(folder / "user", *user_callbacks(), **options())
    second.fit(scored_runs.user_model(0.0), foreign.loader(20, 10), scored_runs.user_loader())
    known = {
        **first.callback_metrics,
        **{f"user {k}": v for k, v in second.callback_metrics.items()},
    }
    rank = os.environ.get("RANK", "0")
    found = {k: float(v) for k, v in known.items() if "/" in k and not k.startswith("train")}
    (folder / f"{rank}.json").write_text(json.dumps(found))

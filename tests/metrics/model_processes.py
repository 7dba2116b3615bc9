"""One of two processes that score models on the same particles: ``python -m`` by the test.

Arguments: folder to share, rank.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from torch import Tensor, distributed

from cryo_disentangle.metrics.in_plane_rotation import RotationTest
from cryo_disentangle.metrics.permutations import TrueGenerator
from cryo_disentangle.metrics.pose_conformation import PoseConformationMetrics
from cryo_disentangle.metrics.pose_leak import PoseLeak
from tests.metrics.toy_models import ToyModel, split_batch, toy_batch

# Uneven batches, one of them of a single particle; the last process gets one of the first again,
# as distributed samplers pad.
SIZES = [20, 13, 30, 1, 17]
DEALT = ([0, 1, 4], [3, 2, 0])
# And once a process gets nothing.
ALONE: tuple[list[int], list[int]] = ([0, 1, 2, 3, 4], [])


def scores(parts: list[int]) -> dict[str, float]:
    """Scores of the batches of all processes."""
    batches = split_batch(toy_batch(sum(SIZES)), SIZES)
    model = ToyModel(leak=0.4, pose_leak=0.2)
    consistency = PoseConformationMetrics(
        TrueGenerator(ToyModel().generate), ToyModel(), noise_std=0.05
    )
    own, turned, leak = PoseConformationMetrics(), RotationTest(), PoseLeak()
    for part in parts:
        batch = batches[part]
        for metric in (consistency, own, turned):
            metric.update(model, batch)
        leak.update(model.infer(batch), batch)
    found: dict[str, Tensor] = {f"own_{name}": value for name, value in own.compute().items()}
    found |= consistency.compute() | turned.compute() | leak.compute()
    found["interval_low"] = turned.intervals(resamples=3)["rotation_raw"].low
    return {name: float(value) for name, value in found.items()}


def main(folder: Path) -> None:
    """Scores this process's batches together with the other's."""
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    store = f"file://{folder / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    found = [scores(deal[rank]) for deal in (DEALT, ALONE)]
    (folder / f"{rank}.json").write_text(json.dumps(found))
    distributed.destroy_process_group()

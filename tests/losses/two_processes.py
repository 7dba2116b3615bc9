"""What each of two data-parallel processes does, for test_ddp.py."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cryo_disentangle.geometry import in_plane_rotation
from cryo_disentangle.losses import (
    EstimatedNoise,
    FactorVAE,
    LinearSchedule,
    PoseIntervention,
    RelativeDistance,
)
from cryo_disentangle.types import ParticleBatch, Pose
from tests.losses.linear import DIM, LinearModel, make_batch

COUNT = 8


@dataclass(frozen=True)
class Turned:
    """Poses that depend on the particle alone."""

    def draw(self, pose: Pose, generator: torch.Generator) -> Pose:  # noqa: ARG002
        turn = in_plane_rotation(torch.tensor(0.7, dtype=torch.float64))
        return Pose(turn @ pose.rotation, pose.translation)


class Step(nn.Module):
    """A training step: reconstruction and penalties, one of them still at weight zero."""

    def __init__(self, *, fixed: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = LinearModel(infers_pose=True)
        sources: Any = {"poses": Turned()} if fixed else {}
        noise: Any = 0.0 if fixed else EstimatedNoise()
        self.penalties = nn.ModuleList(
            [
                PoseIntervention(**sources, noise_std=noise),
                PoseIntervention(**sources, distance=RelativeDistance(), gradient="decoder"),
                FactorVAE(DIM, LinearSchedule(0, 1, 9, 8), width=4, layers=0).double(),
            ]
        )

    def forward(self, batch: ParticleBatch) -> Tensor:
        inference = self.model.infer(batch)
        assert inference.pose is not None
        loss = (self.model.generate(*inference[::2], batch) - batch["images"]).square().mean()  # type: ignore[arg-type]
        for penalty in self.penalties:
            loss = loss + penalty(self.model, batch, inference)
        return loss


def part(rows: slice) -> ParticleBatch:
    """Some rows of the whole batch."""
    batch = make_batch(COUNT)
    return cast(ParticleBatch, {key: cast(Tensor, value)[rows] for key, value in batch.items()})


def work(folder: str) -> None:
    """Takes half of the batch and leaves what it found in the folder."""
    rank = int(os.environ["RANK"])
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    half = COUNT // 2
    batch = part(slice(rank * half, (rank + 1) * half))
    fixed = Step(fixed=True)
    parallel = DistributedDataParallel(fixed)
    for _ in range(2):
        parallel.zero_grad()
        parallel(batch).backward()
    drawn = Step(fixed=False)
    parallel = DistributedDataParallel(drawn)
    same = part(slice(half))
    losses = []
    for _ in range(2):
        loss = parallel(same)
        loss.backward()
        losses.append(float(loss.detach()))
    found = {
        "gradients": {name: p.grad for name, p in fixed.named_parameters()},
        "losses": losses,
        "state": drawn.state_dict(),
    }
    torch.save(found, Path(folder) / f"{rank}.pt")
    # The wrapper must not be the last to hold the process group: its destructor waits for gloo's
    # thread with the interpreter's lock in hand, which that thread may be waiting for.
    del parallel
    gc.collect()
    torch.distributed.destroy_process_group()

"""What one of two processes that train with penalties does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy

from tests.callbacks import loops


def options(**more: Any) -> dict[str, Any]:
    """Options of a training of 20 steps by two processes."""
    strategy = DDPStrategy(process_group_backend="gloo")
    return {"devices": 2, "strategy": strategy, "count": 2 * loops.STEPS * loops.BATCH} | more


def main(folder: Path) -> None:
    """Leaves this process's weights of each training."""
    found = {
        "without": loops.without(**options()),
        "weightless": loops.without(loops.weightless(), **options()),
    }
    for name in loops.PENALTIES:
        for accumulated in (1, 3):
            more = {"accumulate_grad_batches": accumulated}
            key = f"{name}, {accumulated} batches a step"
            found[f"{key}, callback"] = loops.by_callback(name, **options(**more))
            found[f"{key}, written"] = loops.by_hand(name, **options(**more))
    torch.save(found, folder / f"{os.environ['RANK']}.pt")

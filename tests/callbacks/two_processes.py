"""What each of two processes does, as torchrun starts them."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from tests.callbacks import penalised_processes, scored_processes, watched_processes


def main(folder: Path) -> None:
    """Leaves the findings of each program in a folder of its name."""
    logging.disable()
    torch.set_num_threads(1)
    for name in ("penalised", "scored", "watched"):
        (folder / name).mkdir(exist_ok=True)
    penalised_processes.main(folder / "penalised")
    scored_processes.main(folder / "scored", processes=2)
    watched_processes.main(folder / "watched")

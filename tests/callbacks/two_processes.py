"""One of two processes under torchrun; the argument is a folder to share."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import torch

from tests.callbacks import penalised_processes, scored_processes, watched_processes


def main(folder: Path) -> None:
    """Leaves the findings of each program in a folder of its name."""
    for name in ("penalised", "scored", "watched"):
        (folder / name).mkdir(exist_ok=True)
    penalised_processes.main(folder / "penalised")
    scored_processes.main(folder / "scored", processes=2)
    watched_processes.main(folder / "watched")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable()
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))

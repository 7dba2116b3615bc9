"""How the loss of a finished run went."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cryo_disentangle.drawing.reconstructions import draw_curves

__all__ = ["draw_history", "epoch_means"]

# A line of cryoDRGN's run.log at the end of an epoch.
_EPOCH = re.compile(r"=====> Epoch: (\d+) .*?total loss = ([-+.\deE]+)")


def draw_history(folder: Path) -> Figure | None:
    """Draws the loss at the end of each epoch, from the run's own records.

    Args:
        folder: Folder of the run: ours with ``metrics/version_*/metrics.csv``, or cryoDRGN's with
            ``run.log``.

    Returns:
        The figure; None where nothing was recorded of two epochs or more.

    Raises:
        ValueError: If a record is damaged.
    """
    training: dict[int, float] = {}
    validation: dict[int, float] = {}
    for file in sorted(folder.glob("metrics/version_*/metrics.csv"), key=_age):
        for name, values in (("train/loss", training), ("val/loss", validation)):
            values.update(epoch_means(file, name))
    log = folder / "run.log"
    if not training and log.is_file():
        text = log.read_text(encoding="utf-8", errors="replace")
        training = {int(epoch): float(loss) for epoch, loss in _EPOCH.findall(text)}
    if len(training) < 2:
        return None
    epochs = sorted(training)
    held_out = [validation.get(epoch, np.nan) for epoch in epochs]
    return draw_curves(epochs, [training[epoch] for epoch in epochs], held_out, unit="epochs")


def _age(file: Path) -> float:
    return file.stat().st_mtime


def epoch_means(file: Path, name: str) -> dict[int, float]:
    """Averages a column of a run's ``metrics.csv`` over each epoch.

    Args:
        file: The table.
        name: Name of the column.

    Returns:
        Means by epoch, counted from 1; epochs without a value are left out.

    Raises:
        ValueError: If a row has no epoch or no number.
    """
    found: dict[int, list[float]] = defaultdict(list)
    with file.open(newline="", encoding="utf-8") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            if not row.get(name):
                continue
            try:
                found[int(row["epoch"]) + 1].append(float(row[name]))
            except (KeyError, ValueError) as error:
                raise ValueError(
                    f"{file}, line {number}: an epoch and a number for {name} expected, found "
                    f"{row.get('epoch')!r} and {row[name]!r}"
                ) from error
    return {epoch: float(np.mean(values)) for epoch, values in found.items()}

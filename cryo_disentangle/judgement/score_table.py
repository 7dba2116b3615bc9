"""Scores of a run as files: a row an evaluation."""

from __future__ import annotations

import csv
import fnmatch
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cryo_disentangle.files.paths import replacing

__all__ = ["MetricTable"]


class MetricTable:
    """A table that grows while a model is trained, and is written anew each time.

    Its rows are part of a checkpoint; so a resumed run goes on where the checkpoint was taken, and
    what an interrupted run wrote after that is replaced.
    """

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []

    @property
    def last_epoch(self) -> int | None:
        """Epoch of the last evaluation, or None."""
        return self._rows[-1]["epoch"] if self._rows else None

    @property
    def last_scores(self) -> dict[str, float]:
        """Scores of the last evaluation; empty before the first."""
        last = self._rows[-1] if self._rows else {}
        return {name: value for name, value in last.items() if name not in ("epoch", "step")}

    def curves(self, patterns: Iterable[str]) -> dict[str, dict[int, float]]:
        """Finds how some scores went.

        Args:
            patterns: Names of scores, as patterns of `fnmatch`.

        Returns:
            By name, in the order of the patterns, the last value of each epoch by the number of
            epochs done.
        """
        names = dict.fromkeys(name for row in self._rows for name in row)
        found = [name for pattern in patterns for name in fnmatch.filter(names, pattern)]
        return {
            name: {row["epoch"] + 1: row[name] for row in self._rows if name in row}
            for name in found
        }

    def add(self, epoch: int, step: int, scores: Mapping[str, float]) -> None:
        """Adds a row, in place of one of the same epoch and step.

        Args:
            epoch: Number of the epoch, from 0.
            step: Number of optimiser steps that were made.
            scores: Scores by name.
        """
        self._rows = [row for row in self._rows if (row["epoch"], row["step"]) != (epoch, step)]
        self._rows.append({"epoch": epoch, "step": step, **scores})

    def write(self, path: Path) -> None:
        """Writes ``path.csv`` and ``path.json``, a list of rows in which null is not finite.

        Args:
            path: File without suffix; its folder is made.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        names = list(dict.fromkeys(name for row in self._rows for name in row))
        with (
            replacing(path.with_suffix(".csv")) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self._rows)
        rows = [{k: v if math.isfinite(v) else None for k, v in row.items()} for row in self._rows]
        with replacing(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps: the rows."""
        return {"rows": [dict(row) for row in self._rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint.

        Args:
            state_dict: What `state_dict` returned.
        """
        self._rows = [dict(row) for row in state_dict["rows"]]

"""Tables that grow by a row at a time."""

from __future__ import annotations

import csv
import platform
import subprocess
from pathlib import Path

import torch

from cryo_disentangle.files.paths import replacing

__all__ = ["append", "read", "shown"]


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a table; none where it is missing."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append(row: dict[str, object], path: Path) -> None:
    """Adds a row, with commit and machine, to a table, which may get further columns."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    row |= {"commit": commit, "machine": platform.machine(), "threads": torch.get_num_threads()}
    rows: list[dict[str, object]] = [dict(each) for each in read(path)]
    rows.append({key: shown(value) for key, value in row.items()})
    columns = list(dict.fromkeys(key for each in rows for key in each))
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def shown(value: object) -> object:
    """A number to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else value

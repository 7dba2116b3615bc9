"""Tables that grow by a row at a time."""

from __future__ import annotations

import csv
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from cryo_disentangle.files.paths import replacing

__all__ = ["append", "markdown", "read", "shown", "write_tables"]


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


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write_tables(page: Path, made: Mapping[str, str]) -> None:
    """Puts tables at their places in a page, between ``table NAME`` and ``end``."""
    text = page.read_text(encoding="utf-8")
    for name, content in made.items():
        block = re.compile(rf"(<!-- table {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not block.search(text):
            raise SystemExit(f"{page.name} has no place for the table {name}")
        text = block.sub(lambda found, content=content: f"{found[1]}{content}\n{found[2]}", text)
    page.write_text(text, encoding="utf-8")

"""The command ``cryo-disentangle compare``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from cryo_disentangle.comparison.page import LEVELS, draw_comparison
from cryo_disentangle.comparison.pairs import ComparedPair, compare_pairs, verdicts_by_axis
from cryo_disentangle.embeddings import open_embedding
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.options.commands import compare_parser
from cryo_disentangle.selection.joining import rows_in_table
from cryo_disentangle.selection.lasso import lasso_of
from cryo_disentangle.selection.particle_table import open_particle_table

__all__ = ["compare_command"]


def compare_command(words: Sequence[str]) -> None:
    """Runs ``cryo-disentangle compare``.

    Args:
        words: Command line without the command's name.

    Raises:
        ValueError: If an option or a run is wrong, or two runs share too few particles.
        OSError: If a file is missing or cannot be written.
        SystemExit: If words are no options, or help was asked for.
    """
    options = compare_parser().parse_args(words)
    if len(options.runs) < 2:
        raise ValueError("a comparison takes two runs at least, found one")
    keys = options.z or [None]
    if len(keys) not in (1, len(options.runs)):
        raise ValueError(f"--z: expected one key or one for each run, found {len(keys)}")
    keys = keys * len(options.runs) if len(keys) == 1 else keys
    runs = {
        name: open_embedding(path, key)
        for name, path, key in zip(_names(options.runs), options.runs, keys, strict=True)
    }
    lasso = lasso_of(next(iter(runs.values())))
    if options.particles is not None:
        table = open_particle_table(options.particles)
        lasso = lasso_of(next(iter(runs.values())), table)
        runs = {name: _with_rows(run, rows_in_table(run, table)) for name, run in runs.items()}
    pairs = compare_pairs(runs, options.seed)
    console = Console()
    _show(console, pairs)
    _write(options.out, pairs)
    page, pictures = draw_comparison(runs, pairs, lasso)
    for number, picture in enumerate(pictures, start=1):
        with replacing(options.out / f"pair{number}.png") as temporary:
            temporary.write_bytes(picture)
    with replacing(options.out / "comparison.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    console.print(f"Page: {options.out / 'comparison.html'}", markup=False, soft_wrap=True)


def _names(paths: Sequence[Path]) -> list[str]:
    """Short names of runs, that differ."""
    for parts in range(1, max(len(path.resolve().parts) for path in paths) + 1):
        names = ["/".join(path.resolve().parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise ValueError("the same run is given twice")


def _with_rows(run: Embedding, rows: npt.NDArray[np.int64]) -> Embedding:
    """The same run, its particles named by their rows in one file."""
    return replace(run, rows=rows, uids=None, image_names=None)


def _show(console: Console, pairs: Sequence[ComparedPair]) -> None:
    """Prints what was found."""
    for pair in pairs:
        table = Table("axis", "matched to", "correlation", "angle", "by chance", "verdict")
        table.title = f"{' in '.join(pair.names)}, {pair.agreement.particles} particles"
        for axis in pair.agreement.axes:
            numbers = (f"{axis.correlation:.3f}", axis.angle, axis.chance)
            table.add_row(axis.axis, axis.partner or "", *numbers, axis.verdict)
        console.print(table)
        for name, level in pair.agreement.levels.items():
            console.print(
                f"up to {LEVELS[name]:22s} {level.value:.3f} ({level.low:.3f} to {level.high:.3f}),"
                f" by chance {level.null:.3f}",
                highlight=False,
            )
        console.print(pair.agreement.words)
    if len(pairs) > 1:
        table = Table("axis", "reproduced in")
        for (run, name), verdicts in verdicts_by_axis(pairs).items():
            count = list(verdicts.values()).count("reproduced")
            table.add_row(f"{run}: {name}", f"{count} of {len(verdicts)} other runs")
        console.print(table)


def _write(folder: Path, pairs: Sequence[ComparedPair]) -> None:
    """Writes ``comparison.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    content = [
        {
            "first": pair.names[0],
            "second": pair.names[1],
            "particles": pair.agreement.particles,
            "axes": [axis._asdict() for axis in pair.agreement.axes],
            "levels": {name: level._asdict() for name, level in pair.agreement.levels.items()},
            "finding": pair.agreement.words,
        }
        for pair in pairs
    ]
    with replacing(folder / "comparison.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")

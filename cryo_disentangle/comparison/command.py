"""The command ``cryo-disentangle compare``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from cryo_disentangle.comparison.agreement import Agreement, compare_latents
from cryo_disentangle.comparison.particles_in_common import common_particles
from cryo_disentangle.comparison.picture import draw_agreements
from cryo_disentangle.embeddings import open_embedding
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.metrics.functional.correlation import pearson_matrix
from cryo_disentangle.options.commands import compare_parser
from cryo_disentangle.selection.joining import rows_in_table
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
    if options.particles is not None:
        table = open_particle_table(options.particles)
        runs = {name: _with_rows(run, rows_in_table(run, table)) for name, run in runs.items()}
    agreements: dict[tuple[str, str], Agreement] = {}
    matrices = {}
    for pair in combinations(runs, 2):
        first, second = (runs[name] for name in pair)
        ours, theirs = common_particles(first, second)
        a, b = first.latents[ours], second.latents[theirs]
        names = (first.coordinates, second.coordinates)
        agreements[pair] = compare_latents(a, b, names=names, seed=options.seed)
        matrices[pair] = pearson_matrix(torch.from_numpy(a), torch.from_numpy(b)).abs().numpy()
    _show(Console(), agreements)
    figure = draw_agreements(agreements, matrices, {k: run.coordinates for k, run in runs.items()})
    _write(options.out, agreements)
    with replacing(options.out / "comparison.png") as temporary:
        figure.savefig(temporary, format="png", dpi=150)


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


def _show(console: Console, agreements: dict[tuple[str, str], Agreement]) -> None:
    """Prints what was found."""
    for (first, second), agreement in agreements.items():
        table = Table("axis", "matched to", "correlation", "angle", "verdict")
        table.title = f"{first} in {second}, {agreement.particles} particles"
        for axis in agreement.axes:
            angle = f"{axis.angle_deg:.0f}° ({axis.low_deg:.0f}-{axis.high_deg:.0f})"
            table.add_row(
                axis.axis, axis.partner or "", f"{axis.correlation:.3f}", angle, axis.verdict
            )
        console.print(table)
        for name, level in agreement.levels.items():
            console.print(
                f"{name:15s} {level.value:.3f} ({level.low:.3f}-{level.high:.3f}), by chance "
                f"{level.null:.3f}",
                highlight=False,
            )
        console.print(agreement.words)


def _write(folder: Path, agreements: dict[tuple[str, str], Agreement]) -> None:
    """Writes ``comparison.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    content = [
        {
            "first": first,
            "second": second,
            "particles": agreement.particles,
            "axes": [axis._asdict() for axis in agreement.axes],
            "levels": {name: level._asdict() for name, level in agreement.levels.items()},
            "finding": agreement.words,
        }
        for (first, second), agreement in agreements.items()
    ]
    with replacing(folder / "comparison.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")

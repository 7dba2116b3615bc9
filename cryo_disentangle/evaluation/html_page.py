"""The page of a finished run, drawn from what its evaluation has written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from cryo_disentangle.drawing.pages import PagePicture, draw_page
from cryo_disentangle.drawing.scatter import ScatterData
from cryo_disentangle.drawing.touch import TouchableScatter, can_be_touched, draw_touchable
from cryo_disentangle.evaluation.figures import CAPTIONS
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.judgement.advice import embedding_steps, next_steps
from cryo_disentangle.judgement.score_names import group_reasons, headlines
from cryo_disentangle.judgement.scores import Score
from cryo_disentangle.judgement.verdict import judge
from cryo_disentangle.version import __version__

__all__ = ["SCATTER", "is_evaluated", "write_page"]

SCATTER = "scatter.npz"

_FLAGS = ("folder", "epoch", "cryodrgn", "rendered")
_NO_FACTS = (*_FLAGS, "sample", "embedded", "exports", "inference")


def is_evaluated(folder: Path, epoch: int | None, *, inference: str | None = None) -> bool:
    """Returns whether an evaluation of this epoch is there.

    Args:
        folder: Where ``cryo-disentangle evaluate`` may have written.
        epoch: The epoch; None of runs of which only latents are read.
        inference: How its latents are to have been found: ``run``, ``rendering`` or
            ``statistics``; None is any way.

    Returns:
        False also where there is an evaluation that a report can't be drawn from.

    Raises:
        ValueError: If its ``metrics.json`` is damaged.
    """
    if not (folder / "metrics.json").is_file():
        return False
    run = _read(folder / "metrics.json")["run"]
    if not set(_FLAGS) <= run.keys() or run["epoch"] != epoch:
        return False
    # Evaluations of earlier versions know of rendering alone.
    found = run.get("inference", "rendering" if run["rendered"] else "run")
    return inference is None or found == inference


def write_page(folder: Path) -> Path:
    """Draws ``report.html``: one page that needs nothing else.

    Args:
        folder: Where ``cryo-disentangle evaluate`` has written ``metrics.json`` and pictures.

    Returns:
        The page.

    Raises:
        OSError: If a file is missing, or the page can't be written.
        ValueError: If ``metrics.json`` is damaged.
    """
    found = _read(folder / "metrics.json")
    run = found["run"]
    scores = {
        group: {name: _score(entry) for name, entry in members.items()}
        for group, members in found["scores"].items()
    }
    judgement = judge(scores, run.get("sample"))
    steps = _watching(folder)
    if run.get("embedded"):
        steps += embedding_steps(judgement, run["folder"])
    else:
        steps += next_steps(
            judgement,
            run["folder"],
            cryodrgn=run["cryodrgn"],
            exports=run.get("exports", False),
            rendered=run["rendered"],
        )
    epoch = "" if run["epoch"] is None else f", epoch {run['epoch']}"
    text = draw_page(
        "run.html",
        title=f"What does z encode? {Path(run['folder']).name}{epoch}",
        facts={name: text for name, text in run.items() if name not in _NO_FACTS},
        judgement=judgement,
        verdicts=found["identifiability"],
        scores=scores,
        headlines=[
            (group, list(rows))
            for group, rows in groupby(headlines(scores), key=lambda row: row.group)
        ],
        pictures=[
            PagePicture(title, caption, (folder / f"{name}.png").read_bytes())
            for name, (title, caption) in CAPTIONS.items()
            if (folder / f"{name}.png").is_file()
        ],
        states=found.get("states", []),
        landscapes=_landscapes(folder, found.get("landscapes", [])),
        missing=group_reasons(found["not_measured"]),
        steps=steps,
        touchable=_touchable(folder / SCATTER),
        footer=f"cryo-disentangle {__version__}, {datetime.now():%Y-%m-%d %H:%M}. "
        "Intervals hold 95 % and come from halves of the particles (half-sample bootstrap).",
    )
    page = folder / "report.html"
    with replacing(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return page


def _watching(folder: Path) -> list[tuple[str, str]]:
    """What to do with volumes, where there are some."""
    scripts = sorted((folder / "volumes").glob("*.cxc"))
    what = "Watch the molecule move along a principal axis of z, in ChimeraX."
    return [(what, f"chimerax {script}") for script in scripts[:1]]


def _landscapes(
    folder: Path, entries: Sequence[Mapping[str, str]]
) -> list[tuple[str, PagePicture]]:
    """What was found of each landscape, and its picture."""
    named = [(one["words"], folder / f"{one['name']}.png") for one in entries]
    return [
        (words, PagePicture("Free energy", "", path.read_bytes()))
        for words, path in named
        if path.is_file()
    ]


def _touchable(path: Path) -> TouchableScatter | None:
    """Particles to zoom and draw round, where they are kept and Bokeh is there."""
    if not path.is_file() or not can_be_touched():
        return None
    return draw_touchable(ScatterData.read(path))


def _read(path: Path) -> dict[str, Any]:
    """What an evaluation has found."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        complete = {"run", "scores", "identifiability", "not_measured"} <= found.keys()
        complete = complete and "epoch" in found["run"]
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: metrics of `cryo-disentangle evaluate` expected") from error
    if not complete:
        raise ValueError(
            f"{path}: run, scores, identifiability and not_measured expected, found "
            f"{', '.join(found) or 'nothing'}"
        )
    return dict(found)


def _score(entry: Mapping[str, float | None]) -> Score:
    """A score from JSON, which has null where it is not finite."""
    value = entry["value"]
    return Score(math.nan if value is None else value, entry.get("low"), entry.get("high"))

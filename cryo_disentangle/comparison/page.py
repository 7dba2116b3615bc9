"""The page of a comparison: verdicts, pictures, and an interactive scatter."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from cryo_disentangle.comparison.pairs import ComparedPair, verdicts_by_axis
from cryo_disentangle.comparison.particles_in_common import common_particles
from cryo_disentangle.comparison.pictures import draw_pair
from cryo_disentangle.drawing.pages import PagePicture, draw_page
from cryo_disentangle.drawing.scatter import ScatterColumn, ScatterData
from cryo_disentangle.drawing.touch import can_be_touched, draw_touchable
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.judgement.particle_scores import evenly
from cryo_disentangle.metrics.functional._least_squares import fit_predict
from cryo_disentangle.metrics.functional.codes import standardize

__all__ = ["LEVELS", "draw_comparison", "touchable_particles"]

# Each coordinate of each run is in the page, so there are fewer particles than in an evaluation's.
_MOST_POINTS, _MOST_AXES = 200_000, 16
# Up to what each score compares, in words.
LEVELS = {
    "axes": "permutation and sign",
    "functions": "a function of each axis",
    "linear": "a linear map",
    "neighbourhoods": "any smooth map",
}

Array = npt.NDArray[Any]


class _Table(NamedTuple):
    """Rows of text under a head; the first column is a name."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class _Section(NamedTuple):
    """What is said of two runs."""

    heading: str
    words: str
    axes: _Table
    levels: _Table
    picture: PagePicture


def draw_comparison(
    runs: Mapping[str, Embedding],
    pairs: Sequence[ComparedPair],
    lasso: Mapping[str, Any],
) -> tuple[str, list[bytes]]:
    """Draws the page of a comparison.

    Args:
        runs: Runs by name.
        pairs: All pairs of them.
        lasso: What a saved lasso says besides positions: it is of the first run.

    Returns:
        HTML that needs nothing else, and the picture of each pair, PNG.
    """
    pictures = [_png(pair) for pair in pairs]
    data = touchable_particles(runs, pairs, lasso) if can_be_touched() else None
    text = draw_page(
        "compare.html",
        title=f"Does another run agree? {', '.join(runs)}",
        facts={name: _fact(run) for name, run in runs.items()},
        findings=[(" and ".join(pair.names), pair.agreement.words) for pair in pairs],
        summary=_summary(pairs) if len(runs) > 2 else None,
        sections=[_section(pair, png) for pair, png in zip(pairs, pictures, strict=True)],
        touchable=None if data is None else draw_touchable(data),
        first=next(iter(runs)),
        footer=f"cryo-disentangle {version('cryo-disentangle')}, {datetime.now():%Y-%m-%d %H:%M}. "
        "Intervals are 95 % (half-sample bootstrap over particles). By chance: for scores, with "
        "permuted particles; for angles, the value below which 1 in 20 random rotations of the "
        "axes fall.",
    )
    return text, pictures


def _fact(run: Embedding) -> str:
    """What a run is, in words."""
    return f"{run.tool}, {len(run):,} particles, {run.latents.shape[1]} coordinates ({run.source})"


def _png(pair: ComparedPair) -> bytes:
    """The picture's file."""
    file = io.BytesIO()
    draw_pair(pair).savefig(file, format="png", dpi=110)
    return file.getvalue()


def _summary(pairs: Sequence[ComparedPair]) -> _Table:
    """Each axis of each run, by what the other runs say of it."""
    others = list(dict.fromkeys(name for pair in pairs for name in pair.names))
    rows = []
    for (run, axis), verdicts in verdicts_by_axis(pairs).items():
        count = list(verdicts.values()).count("reproduced")
        said = (verdicts.get(name, "") for name in others)
        rows.append((f"{run}: {axis}", *said, f"{count} of {len(verdicts)}"))
    return _Table(("axis", *(f"in {name}" for name in others), "reproduced in"), rows)


def _section(pair: ComparedPair, png: bytes) -> _Section:
    """Two runs."""
    found = pair.agreement
    axes = [
        (
            axis.axis,
            axis.partner or "",
            f"{axis.correlation:.3f}",
            f"{axis.attainable:.3f}",
            axis.angle,
            axis.chance,
            "" if axis.p_value is None else f"{axis.p_value:.2g}",
            axis.verdict,
        )
        for axis in found.axes
    ]
    levels = [
        (
            LEVELS[name],
            f"{level.value:.3f}",
            f"{level.low:.3f} to {level.high:.3f}",
            f"{level.null:.3f}",
            f"{level.p_value:.2g}",
        )
        for name, level in found.levels.items()
    ]
    head = ("axis", "matched to", "correlation", "attainable", "angle", "by chance", "p", "verdict")
    return _Section(
        f"{pair.names[0]} in {pair.names[1]}, {found.particles:,} particles",
        found.words,
        _Table(head, axes),
        _Table(("agree up to", "score", "95 % interval", "by chance", "p"), levels),
        PagePicture(
            "Each axis against the one it is matched to",
            "A reproduced axis is a narrow line. Wide clouds along lines in several panels show a "
            "rotated space. Colour is the number of particles, on a logarithmic scale.",
            png,
        ),
    )


def touchable_particles(
    runs: Mapping[str, Embedding], pairs: Sequence[ComparedPair], lasso: Mapping[str, Any]
) -> ScatterData | None:
    """Chooses what is drawn of the particles that all runs have.

    Args:
        runs: Runs by name.
        pairs: All pairs of them.
        lasso: What a saved lasso says besides positions.

    Returns:
        Axes of the first run, each followed by those of other runs it is matched to, coloured by
        how far a particle lies from where another run has it; positions count in the first run.
        None where no particle is in all runs.
    """
    (first, run), *others = runs.items()
    matched = {name: common_particles(run, other) for name, other in others}
    shared = reduce(np.intersect1d, (ours for ours, _ in matched.values()))
    if not len(shared):
        return None
    places = shared[evenly(len(shared), _MOST_POINTS)]
    latents = {first: run.latents[places]}
    for name, (ours, theirs) in matched.items():
        order = np.argsort(ours)
        found = theirs[order[np.searchsorted(ours, places, sorter=order)]]
        latents[name] = runs[name].latents[found]
    axes: dict[str, Array] = {}
    for k, axis in enumerate(run.coordinates):
        axes[f"{first}: {axis}"] = latents[first][:, k]
        for pair in pairs:
            partner = pair.agreement.axes[k].partner if pair.names[0] == first else None
            if partner is not None:
                column = pair.coordinates[1].index(partner)
                axes[f"{pair.names[1]}: {partner}"] = latents[pair.names[1]][:, column]
    return ScatterData(
        {name: ScatterColumn.axis(values) for name, values in list(axes.items())[:_MOST_AXES]},
        {
            f"apart in {name}": ScatterColumn.colour(_apart(latents[first], latents[name]))
            for name, _ in others
        },
        dict(lasso),
        places,
    )


def _apart(ours: Array, theirs: Array) -> Array:
    """Distance of each particle from where a linear map of the other run has it."""
    x = standardize(torch.from_numpy(ours).double())
    y = torch.from_numpy(theirs).double()
    return np.asarray((x - fit_predict(y, x, y)).square().mean(1).sqrt())

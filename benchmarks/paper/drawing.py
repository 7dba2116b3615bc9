"""What the figures share: scores of seeds as points, latents as scatters, tests over pairs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import bootstrap, wilcoxon

from cryo_disentangle.drawing.style import CIRCLE, SCALE

sys.path.append(str(Path(__file__).parents[1] / "losses"))
from harness import parser

FloatArray = npt.NDArray[np.floating]
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")  # Okabe and Ito 2008
_POINTS = 2000
# The seven metrics of Figure 4: what they are called, and whether more (1) or less (-1) is better.
MEASURES = {
    "beta_vae": ("BetaVAE score", 1),
    "factor_vae": ("FactorVAE score", 1),
    "mig": ("MIG", 1),
    "mcc_pearson": ("MCC", 1),
    "dci_disentanglement": ("DCI, disentanglement", 1),
    "modularity": ("Modularity", 1),
    "sap": ("SAP", 1),
}


def options(description: str | None, seeds: int) -> Any:  # noqa: ANN401 - a Namespace
    """Options of a figure, whose tables go to this folder's results."""
    made = parser(description, seeds=seeds, out=Path(__file__).parent / "results")
    found = made.parse_args()
    found.scratch.mkdir(parents=True, exist_ok=True)
    return found


def column(rows: Sequence[dict[str, Any]], method: str, name: str) -> FloatArray:
    """A method's values in the order of seeds."""
    mine = sorted((row for row in rows if row["method"] == method), key=lambda r: int(r["seed"]))
    return np.array([float(row[name]) for row in mine])


def median_with_interval(values: FloatArray) -> tuple[float, float, float]:
    """Median over seeds and its 95 % bootstrap interval."""
    found = bootstrap((values,), np.median, method="percentile", rng=0).confidence_interval
    return float(np.median(values)), float(found.low), float(found.high)


def draw_seeds(
    axes: Axes, rows: Sequence[dict[str, Any]], methods: Sequence[str], name: str, title: str
) -> None:
    """A point a seed, the median and its interval beside them."""
    for place, method in enumerate(methods):
        values = column(rows, method, name)
        median, low, high = median_with_interval(values)
        spread = np.linspace(-0.15, 0.15, len(values))
        axes.plot(place + spread, values, ".", color=COLOURS[place], alpha=0.6)
        axes.errorbar(
            place + 0.28,
            median,
            [[median - low], [high - median]],
            fmt="_",
            color="black",
            markersize=10,
            capsize=3,
        )
    axes.set_xticks(range(len(methods)), [_lines(name) for name in methods])
    axes.set_xlim(-0.5, len(methods) - 0.4)
    axes.set_title(title, fontsize=10)


def draw_oracles(axes: Axes, scores: Mapping[str, float]) -> None:
    """Lines at what two oracles have, by what they are called."""
    for style, (called, score) in zip(("--", ":"), scores.items(), strict=True):
        axes.axhline(score, color="black", ls=style, lw=1, label=f"oracle, {called}")


def _lines(name: str) -> str:
    """A label on two lines at most: broken after its comma, or else at its middle space."""
    if ", " in name:
        return name.replace(", ", ",\n", 1)
    words = name.split(" ")
    middle = (len(words) + 1) // 2
    return "\n".join(" ".join(part) for part in (words[:middle], words[middle:]) if part)


def draw_measures(
    axes: Sequence[Axes],
    rows: Sequence[dict[str, Any]],
    methods: Sequence[str],
    measures: dict[str, tuple[str, int]],
) -> None:
    """A panel a measure, named as in `compare`."""
    for panel, (name, (called, _)) in zip(axes, measures.items(), strict=False):
        draw_seeds(panel, rows, methods, name, called)


def draw_scatter(
    axes: Axes, z: FloatArray, colour: FloatArray, title: str, *, cyclic: bool = False
) -> None:
    """The first two coordinates of z, coloured by a factor or an angle (radians)."""
    drawn = axes.scatter(
        z[:_POINTS, 0],
        z[:_POINTS, 1],
        c=np.rad2deg(colour[:_POINTS]) if cyclic else colour[:_POINTS],
        s=3,
        cmap=CIRCLE if cyclic else SCALE,
        rasterized=True,
    )
    bar = axes.figure.colorbar(drawn, ax=axes, label="pose (°)" if cyclic else "factor")
    if cyclic:
        bar.set_ticks([-180, -90, 0, 90, 180])
    axes.set(xlabel="z1", ylabel="z2")
    axes.set_title(title, fontsize=10)


def compare(
    rows: Sequence[dict[str, Any]],
    better: str,
    worse: str,
    measures: dict[str, tuple[str, int]],
) -> str:
    """Markdown: medians of two methods, and Wilcoxon's paired test that the first is better.

    Args:
        rows: Of a table.
        better: The method that is expected to be better.
        worse: The other.
        measures: Column: what to call it, and 1 where more is better, -1 where less is.

    Returns:
        A row a measure.
    """
    lines = [
        f"| measure | {better} | {worse} | seeds in which it is better | p, one-sided |",
        "|---|---|---|---|---|",
    ]
    for name, (called, sign) in measures.items():
        one, other = column(rows, better, name), column(rows, worse, name)
        shown = [
            "{:.3f} ({:.3f}-{:.3f})".format(*median_with_interval(values))
            for values in (one, other)
        ]
        difference = sign * (one - other)
        chance = float(wilcoxon(difference, alternative="greater").pvalue)
        wins = f"{int((difference > 0).sum())} of {len(difference)}"
        lines.append(f"| {called} | {shown[0]} | {shown[1]} | {wins} | {chance:.2g} |")
    return "\n".join(lines)


def save(figure: Figure, name: str, folder: Path) -> None:
    """Writes the figure beside its table and says where."""
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=120)
    print(path)


def panels(rows: int, columns: int, size: float = 2.6) -> tuple[Figure, list[list[Axes]]]:
    """An empty figure of panels."""
    figure = Figure(figsize=(size * columns, size * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).tolist()

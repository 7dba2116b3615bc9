"""What a benchmark has found, for readers: Markdown and one HTML page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from cryo_disentangle.benchmark.cells import Cell
from cryo_disentangle.benchmark.tables import Entry, Median, median_interval, rank_methods
from cryo_disentangle.drawing.pages import PagePicture, draw_page
from cryo_disentangle.judgement.oracles import SUBSPACE, TRUTH
from cryo_disentangle.metrics.ranking import ModelRank

__all__ = ["Findings", "draw_leaderboard", "write_summary"]

# Metrics of the tables, with their names and their best values.
_COLUMNS = {
    "disentanglement/mcc_pearson": ("MCC", "1"),
    "oracle_share/mcc_pearson": ("share of the true oracle's MCC", "1"),
    "subspace_oracle_share/mcc_pearson": ("share within the subspace", "1"),
    "disentanglement/mcc_spearman": ("MCC, Spearman", "1"),
    "disentanglement/r2_linear": ("R² of factors", "1"),
    "oracle_share/r2_linear": ("share of the true oracle's R²", "1"),
    "neighbourhoods/similarity": ("neighbourhood similarity", "1"),
    "disentanglement/dci_disentanglement": ("DCI", "1"),
    "disentanglement/mig": ("MIG", "1"),
    "pose_leak/pose_leak_nonlinear_r2": ("pose leak", "0"),
    "entanglement/leak_given_factors": ("leak beyond factors", "0"),
    "true_interventions/conformation_pose_invariance_normalized": ("moved by pose", "0"),
    "volumes/fsc_area": ("per-image FSC, area", "0.5"),
    "volumes/populations": ("populations", "0"),
    "training/reconstruction": ("reconstruction", ""),
    "training/seconds": ("seconds", ""),
}
_ORACLES = {TRUTH: "oracle, true molecule", SUBSPACE: "oracle, within the subspace"}
_PANEL = "disentanglement/mcc_pearson"
_SEEN = "†"
_SEEN_WORDS = f"{_SEEN} has, or may have, been trained on the particles that are scored, too."
_RANK_WORDS = (
    "Mean rank over metrics and seeds, 1 the best, and in brackets the standard deviation over "
    "seeds; of methods that are finished on all seeds, by the metrics that all of these have."
)
_CELL_WORDS = (
    "Median over seeds and, in brackets, its 95 % bootstrap interval over seeds. Each seed has "
    "its own stack and its own start."
)


class Findings(NamedTuple):
    """Results that tables and page are made of.

    Attributes:
        title: Name of the benchmark.
        cells: All cells.
        entries: Numbers of those that are finished.
        failures: Why cells and stacks failed, by their names.
        facts: What was run, in words.
    """

    title: str
    cells: Sequence[Cell]
    entries: Sequence[Entry]
    failures: Mapping[str, str]
    facts: Mapping[str, str]

    @property
    def datasets(self) -> list[str]:
        """Data sets in the order of the cells."""
        return list(dict.fromkeys(cell.dataset for cell in self.cells))

    def label(self, method: str) -> str:
        """Names a method in a table.

        Args:
            method: The method.

        Returns:
            Its name, with a mark where it has seen the scored particles.
        """
        seen = any(c.settings["sees_held_out"] for c in self.cells if c.method == method)
        return f"{method} {_SEEN}" if seen else method

    def medians(self, dataset: str) -> dict[str, dict[str, Median]]:
        """Finds medians over seeds.

        Args:
            dataset: Name of the data set.

        Returns:
            Medians by method and metric.
        """
        values: dict[str, dict[str, list[float]]] = {}
        for entry in self.entries:
            if entry.dataset == dataset:
                values.setdefault(entry.method, {}).setdefault(entry.metric, []).append(entry.value)
        return {
            method: {metric: median_interval(numbers) for metric, numbers in found.items()}
            for method, found in values.items()
        }


class _Table(NamedTuple):
    """Rows of text under a head; the first column is a name."""

    head: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """For summary.md."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class _Section(NamedTuple):
    """A heading, what it says, and a table."""

    heading: str
    words: list[str]
    table: _Table | None


def write_summary(found: Findings) -> str:
    """Writes the summary.

    Args:
        found: What was found.

    Returns:
        Markdown.
    """
    lines = [f"# {found.title}", ""]
    lines += [f"- {name}: {value}" for name, value in found.facts.items()]
    for section in _sections(found):
        lines += ["", f"## {section.heading}", "", "\n".join(section.words)]
        if section.table is not None:
            lines += ["", section.table.markdown()]
    return "\n".join(lines) + "\n"


def draw_leaderboard(found: Findings) -> str:
    """Writes the leaderboard.

    Args:
        found: What was found.

    Returns:
        HTML with its style and pictures inside.
    """
    return draw_page(
        "leaderboard.html",
        title=found.title,
        facts=found.facts,
        sections=_sections(found),
        points=_draw_points(found) if found.entries else None,
        everything=_everything(found),
    )


def _sections(found: Findings) -> list[_Section]:
    """All parts of the page, in order."""
    sections = [_overall(found)]
    sections += [_of_data_set(found, dataset) for dataset in found.datasets]
    if found.failures:
        # The log's last line tells most.
        words = [f"{name}: {why.splitlines()[-1]}" for name, why in found.failures.items()]
        sections.append(_Section("What failed", words, None))
    return sections


def _overall(found: Findings) -> _Section:
    """Ranks over all data sets, where there are methods on all of them."""
    ranks, metrics = rank_methods(found.entries, found.cells, found.datasets)
    heading = "All data sets" if len(found.datasets) > 1 else "Leaderboard"
    if not ranks:
        return _Section(heading, ["No method is finished on all data sets and seeds."], None)
    rows = [[found.label(rank.model), _rank(rank)] for rank in ranks]
    words = [_RANK_WORDS, f"Metrics: {_names(metrics)}."]
    return _Section(heading, words, _Table(["method", "rank"], rows))


def _of_data_set(found: Findings, dataset: str) -> _Section:
    """Ranks and medians on one data set."""
    medians = found.medians(dataset)
    ranks, metrics = rank_methods(found.entries, found.cells, [dataset])
    known = {rank.model: _rank(rank) for rank in ranks}
    order = list(dict.fromkeys([*known, *medians]))
    columns = [name for name in _COLUMNS if any(name in own for own in medians.values())]
    head = ["method", "seeds", "rank", *map(_heading, columns)]
    rows = [
        [
            found.label(method),
            str(max(median.seeds for median in medians[method].values())),
            known.get(method, ""),
            *(_median(medians[method].get(name)) for name in columns),
        ]
        for method in order
    ]
    if not rows:
        return _Section(dataset, ["Nothing is finished."], None)
    rows += _oracle_rows(medians, columns)
    words = [_CELL_WORDS, *_oracle_words(medians)]
    if metrics:
        words.append(f"Ranked by {len(metrics)} metrics: {_names(metrics)}.")
    if any(_SEEN in row[0] for row in rows):
        words.append(_SEEN_WORDS)
    return _Section(dataset, words, _Table(head, rows))


def _oracle_words(medians: Mapping[str, Mapping[str, Median]]) -> list[str]:
    """What the best method could reach."""
    known = next((own for own in medians.values() if "oracle/mcc_pearson" in own), None)
    if known is None:
        return []
    mcc, r2 = (known[f"oracle/{name}"].value for name in ("mcc_pearson", "r2_linear"))
    return [
        f"The oracle, posterior means under the true molecule, has MCC {mcc:.3g} and R² {r2:.3g}: "
        "no method can do much better on these images."
    ]


def _oracle_rows(
    medians: Mapping[str, Mapping[str, Median]], columns: Sequence[str]
) -> list[list[str]]:
    """Rows of posterior means under the true molecule, and within the methods' subspace."""
    rows = []
    for group, name in _ORACLES.items():
        known = [own for own in medians.values() if f"{group}/mcc_pearson" in own]
        if known:
            own = max(known, key=lambda own: own[f"{group}/mcc_pearson"].seeds)
            seeds = str(own[f"{group}/mcc_pearson"].seeds)
            named = [column.replace("disentanglement/", f"{group}/") for column in columns]
            cells = [_median(own.get(key)) if key not in columns else "" for key in named]
            rows.append([name, seeds, "", *cells])
    return rows


def _heading(column: str) -> str:
    """Heading of a column, with its best value where it has one."""
    name, best = _COLUMNS[column]
    return f"{name} (best {best})" if best else name


def _names(metrics: Sequence[str]) -> str:
    """Metrics without their groups."""
    return ", ".join(name.rpartition("/")[2] for name in metrics)


def _rank(rank: ModelRank) -> str:
    return f"{rank.mean_rank:.2f} ({rank.spread:.2f})"


def _median(median: Median | None) -> str:
    if median is None:
        return ""
    if median.low is None or median.high is None:
        return f"{median.value:.3g}"
    return f"{median.value:.3g} ({median.low:.3g} to {median.high:.3g})"


def _draw_points(found: Findings) -> PagePicture:
    """A point for each cell, methods below each other, a panel for each data set."""
    methods = list(dict.fromkeys(entry.method for entry in found.entries))
    begun = {entry.dataset for entry in found.entries}
    datasets = [name for name in found.datasets if name in begun]
    figure = Figure(
        figsize=(7.0, len(datasets) * (0.7 + 0.28 * len(methods))), layout="constrained"
    )
    panels = figure.subplots(len(datasets), squeeze=False, sharex=True)[:, 0]
    for axes, dataset in zip(panels, datasets, strict=True):
        for row, method in enumerate(methods):
            values = [
                entry.value
                for entry in found.entries
                if (entry.method, entry.dataset, entry.metric) == (method, dataset, _PANEL)
            ]
            axes.plot(values, [row] * len(values), "o", color="C0", alpha=0.6)
        axes.set_yticks(range(len(methods)), methods)
        axes.set(title=dataset, ylim=(len(methods) - 0.5, -0.5), xlim=(0, 1.02))
        axes.grid(axis="x", alpha=0.3)
    panels[-1].set_xlabel("MCC of z with the true factors")
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110)
    return PagePicture(
        "How well coordinates of z follow the true factors",
        "A point is a seed. 1 is best; unrelated latents have small values above 0.",
        png.getvalue(),
    )


def _everything(found: Findings) -> _Table:
    """Medians of all metrics."""
    rows = [
        [dataset, found.label(method), metric, _median(median)]
        for dataset in found.datasets
        for method, own in found.medians(dataset).items()
        for metric, median in own.items()
    ]
    return _Table(["data set", "method", "metric", "median"], rows)

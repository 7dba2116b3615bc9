"""Writes the tables of docs/assumptions.md anew from the CSV files.

python benchmarks/physics/page.py
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from drawing import numbers

sys.path.append(str(Path(__file__).parents[1] / "statistics"))
from tables import markdown, read, write_tables

_HERE = Path(__file__).parent
_PAGE = _HERE.parents[1] / "docs/assumptions.md"
_TITLES: Mapping[str, Mapping[str, str]] = {
    "steps": {
        "lag_ps": "lag, ps",
        "kurtosis_NMP": "kurtosis NMP",
        "kurtosis_LID": "LID",
        "step_correlation": "correlation of steps",
        "square_correlation": "of squares",
        "mcc_by_steps": "MCC, axes by steps",
        "determined": "determined",
        "mcc_by_slowness": "MCC, by slowness",
        "autocorrelation_1": "autocorrelation, slow",
        "autocorrelation_2": "fast",
    },
    "temperatures": {
        "kelvin": "K",
        "spread_NMP": "spread NMP, °",
        "spread_LID": "LID",
        "closed_NMP": "closed NMP",
        "closed_LID": "LID",
        "memory_ps_NMP": "memory NMP, ps",
        "memory_ps_LID": "LID",
        "crossings_NMP": "crossings NMP",
        "crossings_LID": "LID",
        "log_ratio": "log ratio of variances",
        "log_ratio_error": "±",
        "correlation": "correlation",
        "information_nats": "information, nats",
    },
    "heat": {
        "kelvin": "K",
        "rank": "rank",
        "required": "required",
        "separation": "change of log ratio",
        "standard_error": "± ",
        "growth_1": "growth of variance 1",
        "growth_2": "2",
        "mcc": "MCC, axes by temperature",
        "determined": "determined",
    },
    "components": {
        "kind": "components",
        "component": "",
        "variance_share": "variance",
        "memory_ps": "memory, ps",
        "step_kurtosis": "kurtosis of steps",
        "r2_NMP": "R² with NMP",
        "r2_LID": "LID",
    },
    "domains": {
        "domain": "domain",
        "moved_angstrom": "motion, Å",
        "not_rigid_angstrom": "not rigid, Å",
        "rigid_share": "rigid share",
        "first_axis_share": "share of rotation about one axis",
        "first_axis_spread_deg": "spread, °",
    },
    "noise": {
        "pairs": "pairs",
        "seed": "training",
        "found": "contrast",
        "told": "told by posteriors of the noise",
        "left": "left",
        "error": "±",
        "mcc": "MCC",
        "determined": "determined",
    },
    "populations": {
        "kelvin": "K",
        "hinge": "closed",
        "counted": "counted",
        "counted_error": "±",
        "predicted": "predicted from the others",
        "predicted_error": "± ",
        "z": "z",
    },
}


def cell(text: str) -> str:
    """Three digits, and words for truth values."""
    words = {"True": "yes", "False": "no", "": "-"}
    if text in words:
        return words[text]
    try:
        value = float(text)
    except ValueError:
        return text
    return text if value.is_integer() else f"{value:.3g}"


def counts(rows: list[dict[str, str]]) -> str:
    """Transitions in both directions, all temperatures together."""
    lines = []
    for pair in dict.fromkeys((row["from"], row["to"]) for row in rows):
        mine = [row for row in rows if (row["from"], row["to"]) == pair]
        there, back = (int(numbers(mine, name).sum()) for name in ("there", "back"))
        lines.append([*pair, str(there), str(back)])
    return markdown(["from", "to", "forward", "backward"], lines)


def proof(rows: list[dict[str, str]]) -> str:
    """Stacks learned by the statistics engine."""
    names = ("true_mcc", "oracle_mcc", "mcc", "mcc_worst", "mcc_rotated", "mcc_slow", "r2")
    lines = []
    for row in rows:
        if row["setting"].startswith("dynamics"):
            share = float(row["mcc"]) / float(row["true_mcc"])
            found = [cell(row.get(name, "")) for name in names]
            found += [f"{share:.3f}", f"{float(row['determined']):.0f} of 5", row["commit"]]
            lines.append([f"`{row['setting']}`", row["seed"], row["rank"], *found])
    head = ["setting", "seed", "K", "oracle", "within the subspace", "MCC", "worst"]
    head += ["best rotation", "by slowness", "R²", "share", "determined", "commit"]
    return markdown(head, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, default=_PAGE, help="page whose tables are written")
    page = parser.parse_args().page
    results = _HERE / "results"
    made = {
        name: markdown(
            list(titles.values()),
            [[cell(row[key]) for key in titles] for row in read(results / f"{name}.csv")],
        )
        for name, titles in _TITLES.items()
    }
    made |= {
        "counts": counts(read(results / "counts.csv")),
        "proof": proof(read(results / "proof.csv")),
    }
    write_tables(page, made)


if __name__ == "__main__":
    main()

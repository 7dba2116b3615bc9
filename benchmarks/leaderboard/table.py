"""Writes the tables of README.md anew from results.csv.

python benchmarks/leaderboard/table.py
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "statistics"))
from tables import markdown, read, write_tables

_HERE = Path(__file__).parent
_MCC, _SHARE = "disentanglement/mcc_pearson", "oracle_share/mcc_pearson"
_ORACLE = "oracle/mcc_pearson"
_SET, _PLAIN = "adk_entangled", ("VAE", "adk_snr0.1")
# Columns of the table of entangled views, by the words of its head.
_ENTANGLED = {
    "MCC": _MCC,
    "share of the oracle's": _SHARE,
    "R² of factors": "disentanglement/r2_linear",
    "pose leak": "pose_leak/pose_leak_nonlinear_r2",
    "leak beyond factors": "entanglement/leak_given_factors",
    "moved by pose": "true_interventions/conformation_pose_invariance_normalized",
    "populations": "volumes/populations",
}
Cells = dict[tuple[str, str, str], list[float]]


def cells() -> Cells:
    """Values over seeds by method, data set and metric."""
    found: Cells = defaultdict(list)
    for row in read(_HERE / "results.csv"):
        found[row["method"], row["dataset"], row["metric"]].append(float(row["value"]))
    return found


def spread(values: list[float]) -> str:
    """Median, and the range where there are several."""
    if not values:
        return ""
    middle = f"{statistics.median(values):.3f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3f}-{max(values):.3f})"


def shares(found: Cells) -> str:
    """Share of the true oracle's MCC, methods by data sets."""
    methods = dict.fromkeys(method for method, _, metric in found if metric == _SHARE)
    sets = dict.fromkeys(dataset for _, dataset, metric in found if metric == _SHARE)
    oracles = {
        dataset: values for (_, dataset, metric), values in found.items() if metric == _ORACLE
    }
    lines = [["*oracle's MCC*", *(spread(oracles[name]) for name in sets)]]
    lines += [
        [method, *(spread(found.get((method, name, _SHARE), [])) for name in sets)]
        for method in methods
    ]
    return markdown(["", *(f"`{name}`" for name in sets)], lines)


def entangled(found: Cells) -> str:
    """What views that depend on the conformation do to methods."""
    scored = {
        method: values
        for (method, dataset, metric), values in found.items()
        if (dataset, metric) == (_SET, _MCC)
    }
    methods = sorted(scored, key=lambda method: -statistics.median(scored[method]))
    rows = [(method, (method, _SET)) for method in methods]
    rows.append((f"{_PLAIN[0]}, views from everywhere (`{_PLAIN[1]}`)", _PLAIN))
    lines = [
        [name, *(spread(found.get((*cell, metric), [])) for metric in _ENTANGLED.values())]
        for name, cell in rows
    ]
    return markdown(["method", *_ENTANGLED], lines)


def main() -> None:
    found = cells()
    write_tables(_HERE / "README.md", {"shares": shares(found), "entangled": entangled(found)})


if __name__ == "__main__":
    main()

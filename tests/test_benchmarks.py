"""Benchmark scripts run at small sizes."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from tests.forked import script

_ROOT = Path(__file__).resolve().parents[1]


def run(name: str, *words: str) -> str:
    """Runs a script of the benchmarks' folder; returns what it prints."""
    return script(_ROOT / "benchmarks" / name, *words)


def test_gpu() -> None:
    said = run("gpu.py", "--small")
    rows = [
        line.split("|") for line in said.splitlines() if "| ours | " in line and "D" not in line
    ]
    assert len(rows) == 8
    assert all(float(row[7]) > 0 for row in rows)
    whole = {
        cells[1].strip().split(",")[0]: float(cells[2])
        for line in said.splitlines()
        if (cells := line.split("|"))[0] == "" and len(cells) >= 4 and "statist" in cells[1]
    }
    assert len(whole) == 2
    assert all(rate > 0 for rate in whole.values())
    fitted = [line for line in said.splitlines() if line.startswith("| fit, D")]
    assert len(fitted) == 2
    assert all("of the bare step" in line for line in fitted)
    assert said.count("calls that would wait on a GPU: none") == 4
    beside = dict(re.findall(r"^\| (.*) \| ([\d.]+) (?:images/s|s) \|$", said, re.MULTILINE))
    assert len(beside) == 6
    assert all(float(value) > 0 for value in beside.values())
    assert re.search(r"^(\d+) of \1 parts train without waiting", said, re.MULTILINE)


def test_two_processes() -> None:
    sizes = ["--box-size=16", "--width=32", "--steps=10", "--repeats=1"]
    said = run("scaling/two_processes.py", *sizes)
    cells = said.splitlines()[-1].split("|")
    assert float(cells[6]) == 0
    assert float(cells[7]) < 1e-5


_SEVEN = [
    "beta_vae",
    "factor_vae",
    "mig",
    "mcc_pearson",
    "dci_disentanglement",
    "modularity",
    "sap",
]
_FIGURES = {
    "figure2": {
        "figure2": (["VAE"], [f"{a} {b}" for a in ("negentropy", "mcc") for b in ("PCA", "ICA")])
    },
    "figure3": {
        "figure3": (
            ["VAE", "PoseVAE"],
            ["reconstruction", "kl", "eq2_z", "eq2_pose", "mcc_all", "mcc", "leak"],
        )
    },
    "figure4": {"figure4": (["VAE", "SlowVAE"], [*_SEVEN, "reconstruction"])},
    "figure5a": {
        "figure5a": (["vanilla", "Boltzmann"], ["mcc", "separation"]),
        "figure5a_harmonic": (["Boltzmann"], ["mcc", "separation"]),
    },
    "figure5b": {"figure5b": (["basis", "hinges learned", "hinges given"], ["mcc_hinges"])},
}


@pytest.mark.parametrize("name", _FIGURES)
def test_figures_are_drawn_of_what_is_there(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for title, (methods, columns) in _FIGURES[name].items():
        with (tmp_path / f"{title}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["method", "seed", "commit", *columns])
            for method in methods:
                values = rng.uniform(size=(2, len(columns))).tolist()
                table.writerows([method, seed, "none", *row] for seed, row in enumerate(values))
        for method in methods:
            np.savez(
                tmp_path / f"{title}_{method.replace(' ', '_')}.npz",
                z=rng.normal(size=(200, 8 if name == "figure2" else 2)).astype(np.float32),
                factors=rng.normal(size=(200, 2)),
                angle=rng.uniform(-3, 3, 200),
                temperature=np.repeat([100.0, 200.0], 100),
            )
    said = run(f"paper/{name}.py", f"--scratch={tmp_path}", f"--out={tmp_path}", "--seeds=2")
    assert said.splitlines()[-1] == str(tmp_path / f"{name}.png")
    assert (tmp_path / f"{name}.png").stat().st_size > 2_000  # coarse, but not blank

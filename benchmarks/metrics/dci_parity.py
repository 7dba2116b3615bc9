"""Compares the reference form of DCI with stored scores of disentanglement_lib, case by case.

    python benchmarks/metrics/dci_parity.py GOLDEN

GOLDEN is the folder of stored cases (CASE.npz, CASE.json). Minutes on one core: one boosted
classifier of up to 20 classes a factor. Prints a Markdown table.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from cryo_disentangle.metrics.functional.binning import bin_codes
from cryo_disentangle.metrics.functional.dci import dci


def main() -> None:
    """Prints a row a case and the largest deviations."""
    worst = [0.0, 0.0, 0.0]
    names = ("disentanglement", "completeness", "informativeness_test")
    print("| case | " + " | ".join(names) + " |\n|---|---|---|---|")
    for path in sorted(Path(sys.argv[1]).glob("*.json")):
        notes = json.loads(path.read_text())
        stored = notes["scores"]["dlib_dci"]
        if any(stored.get(name) is None for name in names):
            print(f"| {path.stem} | the reference gives no number |||")
            continue
        with np.load(path.with_suffix(".npz")) as arrays:
            z, factors = arrays["z"].astype(np.float64), arrays["factors"]
        continuous = notes["continuous_factors"]
        labels = bin_codes(factors, 20, rule="width") if continuous else factors
        scores = dci(z, labels, reference=True, n_train=notes["n_train"])
        found = (scores.disentanglement, scores.completeness, scores.informativeness)
        # Several seeds of the reference are stored with their mean.
        means = [s["mean"] if isinstance(s, dict) else s for s in map(stored.get, names)]
        off = [abs(float(a) - mean) for a, mean in zip(found, means, strict=True)]
        worst = [max(pair) for pair in zip(worst, off, strict=True)]
        print(f"| {path.stem} | " + " | ".join(f"{value:.4f}" for value in off) + " |", flush=True)
    print("| largest deviation | " + " | ".join(f"{value:.4f}" for value in worst) + " |")


if __name__ == "__main__":
    main()

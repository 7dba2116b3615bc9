"""Metrics of 10 latents and 5 factors, ours against the published forms, side by side in one run.

    python benchmarks/metrics/speed.py [--rows 10000] [--repeats 5] [--dci-reference]

Prints a Markdown table of medians over interleaved repeats; MIG pays for what modularity shares.
The published forms are those of
`references.py`. DCI's takes minutes: ``--dci-reference`` fits it to one factor on 10,000 rows,
whose time counts once for each factor; otherwise its time is the one measured before (378 s on 2
cores of an AMD EPYC, disentanglement_lib with scikit-learn 1.9.1). The last rows are the whole
suite, and its peak memory in a process of its own.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import references
import scipy
import sklearn
import torch
import torchmetrics
from references import Floats, equal_width

from cryo_disentangle.metrics import disentanglement_metrics
from cryo_disentangle.metrics.functional import mcc
from cryo_disentangle.metrics.functional.dci import dci
from cryo_disentangle.metrics.functional.information import mig, modularity
from cryo_disentangle.metrics.functional.sap import sap

LATENTS, FACTORS = 10, 5
DCI_REFERENCE_SECONDS = 378.0
Timed = Callable[[], object]


def codes(rows: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Noisy copies of independent factors, and as many latents of noise."""
    rng = np.random.default_rng(seed)
    factors = rng.random((rows, FACTORS))
    copies = factors[:, ::-1] + 0.1 * rng.normal(size=factors.shape)
    z = np.concatenate([copies, rng.normal(size=factors.shape)], axis=1)
    return z.astype(np.float32).astype(np.float64), factors


def seconds(function: Timed) -> float:
    """Wall-clock time of a call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def pairs(z: Floats, factors: Floats) -> dict[str, tuple[Timed, Timed]]:
    """Ours and the published form of each metric."""
    ours, truth = torch.from_numpy(z.astype(np.float32)), torch.from_numpy(factors)
    rows, columns, labels = z.T.copy(), factors.T.copy(), equal_width(factors.T)
    return {
        "MCC, Pearson": (
            partial(mcc, ours, truth),
            partial(references.mcc, rows, columns, rank=False),
        ),
        "MCC, Spearman": (
            partial(mcc, ours, truth, correlation="spearman"),
            partial(references.mcc, rows, columns, rank=True),
        ),
        "MIG": (partial(mig, ours, truth), partial(references.mig, rows, labels)),
        "modularity": (
            partial(modularity, ours, truth),
            partial(references.modularity, rows, labels),
        ),
        "SAP": (partial(sap, ours, truth), partial(references.sap, rows, columns)),
    }


def line(name: str, ours: float, theirs: float | None) -> str:
    """A row of the table; times in milliseconds."""
    if theirs is None:
        return f"| {name} | {ours * 1e3:.1f} | | |"
    return f"| {name} | {ours * 1e3:.1f} | {theirs * 1e3:.1f} | {theirs / ours:.1f} |"


def compare(rows: int, repeats: int) -> None:
    """Prints the rows of the cheap metrics and of their sum.

    Every repeat has other data: MIG and modularity share what they compute, repeats must not.
    """
    times: dict[str, tuple[list[float], list[float]]] = {}
    for repeat in range(repeats + 1):
        for name, both in pairs(*codes(rows, seed=repeat)).items():
            for kept, function in zip(times.setdefault(name, ([], [])), both, strict=True):
                passed = seconds(function)
                if repeat:
                    kept.append(passed)
    for name, (ours, theirs) in times.items():
        print(line(name, statistics.median(ours), statistics.median(theirs)), flush=True)
    sums = [
        [sum(row) for row in zip(*(both[i] for both in times.values()), strict=True)]
        for i in (0, 1)
    ]
    print(line("these five", *(statistics.median(total) for total in sums)), flush=True)


def dci_reference(rows: int) -> float:
    """Time of the published DCI, of one factor times the number of factors."""
    z, factors = codes(rows)
    labels = equal_width(factors.T[:1])[0]
    return FACTORS * seconds(lambda: references.boosted_importance(z.T, labels))


def peak_memory(rows: int) -> None:
    """Prints time and peak memory of the suite: run it in a process of its own."""
    z, factors = (torch.from_numpy(array).float() for array in codes(rows))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    passed = seconds(lambda: disentanglement_metrics(z, factors))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"| whole suite, peak memory {after / 2**20:.2f} GiB (before: {before / 2**20:.2f}) "
        f"| {passed * 1e3:.1f} | | |"
    )


def header(rows: int) -> None:
    """Prints where, with what and how the table was made."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    print(f"commit {commit}, torch {torch.__version__}, {torch.get_num_threads()} threads,")
    print(f"torchmetrics {torchmetrics.__version__}, scikit-learn {sklearn.__version__},")
    print(f"scipy {scipy.__version__}, numpy {np.__version__}, Python {platform.python_version()},")
    print(f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()},")
    print(f"{rows:,} x {LATENTS} latents x {FACTORS} factors\n")
    print("| metric | ours, ms | published form, ms | ratio |")
    print("|---|---|---|---|")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dci-reference", action="store_true")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        peak_memory(args.rows)
        return
    header(args.rows)
    compare(args.rows, args.repeats)
    z, factors = codes(args.rows)
    ours = statistics.median([seconds(partial(dci, z, factors)) for _ in range(3)])
    theirs = dci_reference(10_000) if args.dci_reference else DCI_REFERENCE_SECONDS
    print(line("DCI (published form: 10,000 rows)", ours, theirs), flush=True)
    alone = [sys.executable, __file__, "--memory", "--rows", str(args.rows)]
    print(subprocess.run(alone, check=True, capture_output=True, text=True).stdout, end="")


if __name__ == "__main__":
    main()

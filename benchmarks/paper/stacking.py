"""Would ten models of Figure 4 that are trained at once, in one stack, be faster than in turn?

    OMP_NUM_THREADS=1 python benchmarks/paper/stacking.py --scratch runs/paper

A step of one model on ten times as many pairs does the arithmetic of a step of ten stacked models,
and reads a tenth of their weights: no stack can be faster. Prints milliseconds a step, what a
longer training takes more than a shorter one, and how much a stack could save at the most.
"""

from __future__ import annotations

from dataclasses import replace

from drawing import options
from figure4 import SIMULATION, trained
from harness import train, write_once

_STACKED = 10
_SHORT, _LONG = 100, 500


def main() -> None:
    """Times both and prints a table."""
    chosen = options(__doc__, seeds=1)
    folder = write_once(SIMULATION, chosen.scratch / "figure4_0")
    print("| pairs | ms a step |\n|---|---|")
    found = {}
    for models in (1, _STACKED):
        seconds = {}
        for steps in (_SHORT, _LONG):
            method = trained("SlowVAE", steps)
            method = replace(method, batch_size=method.batch_size * models)
            seconds[steps] = train(folder, method, [0])[2]["seconds"]
        found[models] = 1e3 * (seconds[_LONG] - seconds[_SHORT]) / (_LONG - _SHORT)
        print(f"| {method.batch_size} | {found[models]:.1f} |", flush=True)
    most = _STACKED * found[1] / found[_STACKED]
    print(f"\nA stack of {_STACKED} is at most {most:.1f} times as fast.")


if __name__ == "__main__":
    main()

"""Figure 4 of Klindt et al. 2024: slowness, SlowVAE against VAE over seven metrics.

    python benchmarks/paper/figure4.py --scratch runs/paper [--seeds 50]

Fifty models of each, as in the paper, on pairs of frames of two arms whose hinge angles are the
factors turned by 45 degrees, known in-plane poses: the particles of benchmarks/losses/slowness.py
binned to 16 pixels, which makes their SNR of 10 one of 40, with weights of the divergence to match.
Under a minute a training on one core; 25 seeds can run beside the others with ``--seeds 25
--first-seed 25``. Another seed is another stack and another start, the same for both models, so the
test over seeds is paired. Writes results/figure4.csv, a row each as it comes, and figure4.png. Rows
that are there are kept.
"""

from __future__ import annotations

from typing import Any

from drawing import MEASURES, compare, draw_measures, draw_seeds, options, panels, save
from harness import HeldOut, Method, read, run, two_arms_in_plane
from slowness import PRIORS, method

from cryo_disentangle.metrics import disentanglement_metrics
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.simulation import LaplacePairs, LinearMixing

_STEPS = 4000
BINNED: dict[str, Any] = {"snr": 40.0, "box_size": 16}
_WEIGHTS = (0.05, 2.0)
_PRIORS = {"VAE": PRIORS["vanilla"], "SlowVAE": PRIORS["SlowVAE"]}
SIMULATION = two_arms_in_plane(LaplacePairs(), snr=40.0, mixing=LinearMixing(2, 45.0), box_size=16)


def trained(name: str, steps: int) -> Method:
    """A model's training.

    Args:
        name: VAE or SlowVAE.
        steps: Optimiser steps.

    Returns:
        How it is made and trained.
    """
    return method(name, _PRIORS[name], steps, _WEIGHTS)


def _seven(model: HeterogeneousReconstruction, held_out: HeldOut) -> dict[str, float]:
    found = disentanglement_metrics(held_out.infer(model, "own")[0], held_out.factors)
    return {name: float(found[name]) for name in MEASURES}


def main() -> None:
    """Trains, prints the comparison and draws the figure."""
    chosen = options(__doc__, seeds=50)
    methods = [trained(name, _STEPS) for name in _PRIORS]
    run("figure4", SIMULATION, methods, chosen, diagnose=_seven)
    rows = read(chosen.out / "figure4.csv")
    print(compare(rows, "SlowVAE", "VAE", MEASURES))
    figure, axes = panels(2, 4)
    draw_measures([*axes[0], *axes[1]], rows, tuple(_PRIORS), MEASURES)
    draw_seeds(
        axes[1][3], rows, tuple(_PRIORS), "reconstruction", "reconstruction (less is better)"
    )
    save(figure, "figure4", chosen.out)


if __name__ == "__main__":
    main()

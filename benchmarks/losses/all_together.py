"""Pairs of frames, mixed factors, unknown in-plane poses: slowness and pose interventions together.

    python benchmarks/losses/all_together.py --scratch runs/losses [--seeds 5]

The heavy-bodied molecule of in_plane.py with the factors and pairs of slowness.py, 10,000 images of
32 pixels, SNR 10. ``both`` is PoseVAE of in_plane.py (four hypotheses, warm-up, interventions) with
the slowness prior; ``slowness`` has the prior and none of the rest, ``PoseVAE`` all but the prior,
``both but interventions`` tells what these alone add. Of two restarts the one that reconstructs
held-out images best is kept; two to three minutes a training on one core. Rows go to
results/all_together.csv, a row each as it comes; those that are there are kept.
"""

from __future__ import annotations

from functools import partial

from harness import Method, arguments, run, two_arms_in_plane
from in_plane import make
from slowness import PRIORS

from cryo_disentangle.losses import LinearSchedule
from cryo_disentangle.simulation import LaplacePairs, LinearMixing

_STEPS = 3000

# A tenth of slowness.py's: beside the heavy body arms make little of an image's variance, and a
# divergence of that weight switched one coordinate off.
_KL_WEIGHT = LinearSchedule(0.05, 0.5, last_step=_STEPS * 6 // 10, first_step=_STEPS * 3 // 10)


def main() -> None:
    """Trains and prints the table."""
    options = arguments(__doc__)
    simulation = two_arms_in_plane(
        LaplacePairs(), snr=10.0, mixing=LinearMixing(2, 45.0), heavy_body=True
    )
    methods = [
        Method(
            name,
            partial(
                make,
                hypotheses=hypotheses,
                warmup=warmup,
                intervene=intervene,
                prior=PRIORS[prior],
                kl_weight=_KL_WEIGHT,
                steps=_STEPS,
            ),
            _STEPS,
            pairs=True,
            batch_size=32,
        )
        for name, prior, hypotheses, warmup, intervene in [
            ("both", "SlowVAE", 4, 300, True),
            ("slowness", "SlowVAE", 1, 0, False),
            ("PoseVAE", "vanilla", 4, 300, True),
            ("both but interventions", "SlowVAE", 4, 300, False),
        ]
    ]
    run("all_together", simulation, methods, options, restarts=2)


if __name__ == "__main__":
    main()

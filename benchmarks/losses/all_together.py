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

import torch
from harness import Method, arguments, run, two_arms_in_plane

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.encoders import InPlanePoseHead, MLPEncoder
from cryo_disentangle.losses import LinearSchedule, PoseIntervention, UniformPoses
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.priors import LaplaceTransition, StandardNormal
from cryo_disentangle.protocols import ConformationPrior, Penalty
from cryo_disentangle.simulation import LaplacePairs, LinearMixing

_STEPS = 3000


def _make(
    data: ParticleData, *, slow: bool, hypotheses: int, warmup: int, intervene: bool
) -> HeterogeneousReconstruction:
    prior: ConformationPrior = LaplaceTransition(2.0, 10.0) if slow else StandardNormal()
    pose = PoseIntervention(5e-4, UniformPoses("so2"), pose_weight=60.0, fraction=0.25)
    penalties: dict[str, Penalty] = {"pose": pose} if intervene else {}
    return HeterogeneousReconstruction(
        data.box_size,
        conformation_dim=2,
        encoder=partial(MLPEncoder, width=256, layers=3),
        decoder=BasisDecoder,
        prior=prior,
        pose_head=partial(InPlanePoseHead, hypotheses=hypotheses),
        conformation_warmup=warmup,
        penalties=penalties,
        # A tenth of slowness.py's: beside the heavy body arms make little of an image's variance,
        # and a divergence of that weight switched one coordinate off.
        kl_weight=LinearSchedule(
            0.05, 0.5, last_step=_STEPS * 6 // 10, first_step=_STEPS * 3 // 10
        ),
        encoder_radius=9,
        optimizer=partial(torch.optim.Adam, lr=2e-3),
        lr_scheduler=partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=2e-3, total_steps=_STEPS),
        lr_interval="step",
    )


def main() -> None:
    """Trains and prints the table."""
    options = arguments(__doc__)
    simulation = two_arms_in_plane(
        LaplacePairs(), snr=10.0, mixing=LinearMixing(2, 45.0), heavy_body=True
    )
    methods = [
        Method(
            name,
            partial(_make, slow=slow, hypotheses=hypotheses, warmup=warmup, intervene=intervene),
            _STEPS,
            pairs=True,
            batch_size=32,
        )
        for name, slow, hypotheses, warmup, intervene in [
            ("both", True, 4, 300, True),
            ("slowness", True, 1, 0, False),
            ("PoseVAE", False, 4, 300, True),
            ("both but interventions", True, 4, 300, False),
        ]
    ]
    run("all_together", simulation, methods, options, restarts=2)


if __name__ == "__main__":
    main()

"""Unknown in-plane poses over the full circle: what parts pose from conformation?

    python benchmarks/losses/in_plane.py --scratch runs/losses [--seeds 5]

The setting of Figure 3 of Klindt et al. 2024: a body with two arms, turned in the plane by angles
that nobody tells, 10,000 images of 32 pixels, SNR 10. ``PoseVAE`` has a pose head of four
hypotheses, a homogeneous warm-up and pose interventions; ``four hypotheses alone`` lacks the last
two, the plain VAE all three. Of two restarts the one that reconstructs held-out images best is
kept. About a minute and a half a training on one core. Rows go to results/in_plane.csv, a row each
as it comes; those that are there are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from harness import Method, arguments, one_cycle, run, two_arms_in_plane

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.encoders import InPlanePoseHead, MLPEncoder
from cryo_disentangle.losses import LinearSchedule, PoseIntervention, UniformPoses
from cryo_disentangle.losses.schedules import Schedule
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.priors import StandardNormal
from cryo_disentangle.protocols import ConformationPrior, Penalty
from cryo_disentangle.simulation import UniformFactors

_STEPS = 2000
_KL_WEIGHT = LinearSchedule(2.0, 0.2, last_step=1000, first_step=300)


def make(
    data: ParticleData,
    *,
    hypotheses: int,
    warmup: int,
    intervene: bool,
    prior: Callable[[], ConformationPrior] = StandardNormal,
    kl_weight: Schedule = _KL_WEIGHT,
    steps: int = _STEPS,
) -> HeterogeneousReconstruction:
    """A model that infers in-plane poses."""
    # Interventions teach the pose head; of the conformation they ask little, since squared
    # distances shrink it.
    pose = PoseIntervention(5e-4, UniformPoses("so2"), pose_weight=60.0, fraction=0.25)
    penalties: dict[str, Penalty] = {"pose": pose} if intervene else {}
    return HeterogeneousReconstruction(
        data.box_size,
        conformation_dim=2,
        encoder=partial(MLPEncoder, width=256, layers=3),
        decoder=BasisDecoder,
        prior=prior(),
        pose_head=partial(InPlanePoseHead, hypotheses=hypotheses),
        conformation_warmup=warmup,
        penalties=penalties,
        kl_weight=kl_weight,
        encoder_radius=9,
        **one_cycle(steps),
    )


SIMULATION = two_arms_in_plane(UniformFactors(2, -1.0, 1.0), snr=10.0, heavy_body=True)
METHODS = [
    Method(
        name,
        partial(make, hypotheses=hypotheses, warmup=warmup, intervene=intervene),
        _STEPS,
    )
    for name, hypotheses, warmup, intervene in [
        ("PoseVAE", 4, 300, True),
        ("VAE", 1, 0, False),
        ("four hypotheses alone", 4, 0, False),
    ]
]


def main() -> None:
    """Trains and prints the table."""
    run("in_plane", SIMULATION, METHODS, arguments(__doc__), restarts=2)


if __name__ == "__main__":
    main()

"""Known poses from everywhere: what keeps the viewing direction out of z?

    python benchmarks/losses/known_poses.py --scratch runs/losses [--seeds 3] [--setting 1 0.1]

Two arms in three dimensions, 50,000 images of 24 pixels, seen from everywhere through a CTF, at SNR
1 and 0.1: an encoder alone, the same taught by pose interventions (conformations drawn from the
posterior are imaged from elsewhere as noisily as the data, and the encoder has to say how likely it
holds them), and no encoder but the posterior found by rendering. The decoder is the same basis of
volumes. Without an encoder some starts find the mean volume and no motion, so that of two with half
the steps the one is kept that reconstructs held-out images best. A minute to two a training on one
core. Rows go to results/known_poses_*.csv; those that are there are kept.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from harness import Method, arguments, one_cycle, run

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.encoders import MLPEncoder, RenderedPosterior
from cryo_disentangle.losses import (
    LinearSchedule,
    PoseIntervention,
    PosteriorDistance,
    UniformPoses,
)
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.protocols import Penalty
from cryo_disentangle.simulation import (
    ContrastTransferRange,
    Microscope,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
    WhiteNoise,
)

sys.path.append(str(Path(__file__).parents[1] / "decoders"))
from inference import exact_kl_weight

STEPS, RENDERING_STEPS = 3000, 1500


def make_model(
    data: ParticleData, *, snr: float, encodes: bool, intervenes: bool
) -> HeterogeneousReconstruction:
    steps = STEPS if encodes else RENDERING_STEPS
    weight, half = exact_kl_weight(snr), steps // 2
    penalties: dict[str, Penalty] = {}
    if intervenes:
        penalties["pose"] = PoseIntervention(
            LinearSchedule(0.0, 0.003, last_step=half, first_step=steps * 3 // 10),
            poses=UniformPoses("so3"),
            distance=PosteriorDistance(),
            noise_std=(weight / 2) ** 0.5,
            gradient="encoder",
            sampled_conformations=True,
            fraction=0.5,
        )
    # Rendering has no encoder to upset, so its decoder may learn faster.
    rate = 2e-3 if encodes else 5e-3
    return HeterogeneousReconstruction(
        data.box_size,
        conformation_dim=2,
        encoder=partial(MLPEncoder, width=256, layers=3) if encodes else RenderedPosterior,
        decoder=BasisDecoder,
        conformation_warmup=0 if encodes else 100,
        penalties=penalties,
        kl_weight=LinearSchedule(2 * weight, weight / 2, last_step=half),
        pixel_size=data.pixel_size,
        **one_cycle(steps, rate),
    )


def main() -> None:
    """Trains and prints the tables."""
    options = arguments(__doc__, settings=("1", "0.1"))
    transfer = ContrastTransferRange((8000.0, 20000.0), 300.0)
    for setting in options.setting:
        snr = float(setting)
        simulation = Simulation(
            TwoArms(),
            UniformFactors(2, -1.0, 1.0),
            Microscope(UniformViews(), None, transfer, WhiteNoise(snr)),
            n_images=50_000,
            box_size=24,
            pixel_size=136 / 24,
            seed=1,
        )
        title = f"known_poses_{setting}"
        encoders = [
            Method(name, partial(make_model, snr=snr, encodes=True, intervenes=intervenes), STEPS)
            for name, intervenes in [("encoder", False), ("encoder, interventions", True)]
        ]
        rendering = Method(
            "rendered posterior",
            partial(make_model, snr=snr, encodes=False, intervenes=False),
            RENDERING_STEPS,
        )
        run(title, simulation, [rendering], options, restarts=2)
        run(title, simulation, encoders, options)


if __name__ == "__main__":
    main()

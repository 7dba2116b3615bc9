"""Mixed factors, pairs of frames, known in-plane poses: does slowness find the factors?

    python benchmarks/losses/slowness.py --scratch runs/losses [--seeds 5]

Two arms whose hinge angles are the factors turned by 45 degrees, 10,000 images of 32 pixels, SNR
10. All methods see the same pairs and take the same 4,000 steps: at first the reconstruction has
the say, then the weight of the divergence grows twentyfold, since what turns the axes is weak
beside it. About two minutes a training on one core. Rows go to results/slowness.csv, a row each as
it comes; those that are there are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from harness import Method, arguments, one_cycle, run, two_arms_in_plane

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.losses import LinearSchedule
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.priors import LaplaceTransition, StandardNormal
from cryo_disentangle.protocols import ConformationPrior
from cryo_disentangle.simulation import LaplacePairs, LinearMixing

_STEPS = 4000
WEIGHTS = (0.2, 4.0)

PRIORS: dict[str, Callable[[], ConformationPrior]] = {
    "SlowVAE": partial(LaplaceTransition, 2.0, 10.0),
    "vanilla": StandardNormal,
}


def make(
    data: ParticleData,
    *,
    prior: Callable[[], ConformationPrior],
    steps: int,
    weights: tuple[float, float],
) -> HeterogeneousReconstruction:
    """A model of known poses, the weight of whose prior grows."""
    return HeterogeneousReconstruction(
        data.box_size,
        conformation_dim=2,
        encoder=partial(MLPEncoder, width=256, layers=3),
        decoder=BasisDecoder,
        prior=prior(),
        kl_weight=LinearSchedule(*weights, last_step=steps * 6 // 10, first_step=steps * 3 // 10),
        **one_cycle(steps),
    )


def method(
    name: str,
    prior: Callable[[], ConformationPrior],
    steps: int,
    weights: tuple[float, float] = WEIGHTS,
) -> Method:
    """Its training on pairs of frames, with the divergence's first and last weight."""
    made = partial(make, prior=prior, steps=steps, weights=weights)
    return Method(name, made, steps, pairs=True, batch_size=32)


def main() -> None:
    """Trains and prints the table."""
    options = arguments(__doc__)
    simulation = two_arms_in_plane(LaplacePairs(), snr=10.0, mixing=LinearMixing(2, 45.0))
    methods = [method(name, prior, _STEPS) for name, prior in PRIORS.items()]
    run("slowness", simulation, methods, options)


if __name__ == "__main__":
    main()

"""Mixed factors and known poses: are a decoder's coordinates the angles of the hinges?

    python benchmarks/decoders/identifiability.py --scratch runs/decoders [--seeds 5]

Two arms whose angles are the factors turned by 45 degrees, images of 32 pixels. In plane: 10,000
images at SNR 10, arms and poses turning in the image plane. From everywhere: 50,000 images at SNR 1
or 10 with CTF, poses uniform; conformations are found by rendering (so3, so3_snr10), or by encoders
(so3_encoders).
The atomic decoder is given the molecule at rest and which Gaussians make an arm; hinges are given,
or learned from axes that are 30 degrees off, points 5 Å off and half the angles. ``mcc_hinges`` is
the MCC of z with the angles, which such a decoder can identify; the factors it can't. Rows go to
results/identifiability_*.csv, a row each as it comes; those that are there are kept.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from inference import (
    exact_kl_weight,
)

from cryo_disentangle.decoders import AtomicDecoder, BasisDecoder, HingedDomains
from cryo_disentangle.encoders import MLPEncoder, RenderedPosterior
from cryo_disentangle.losses import (
    LinearSchedule,
    PoseIntervention,
    PosteriorDistance,
    UniformPoses,
)
from cryo_disentangle.metrics.functional.correlation import mcc
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.protocols import Penalty
from cryo_disentangle.simulation import (
    ContrastTransferRange,
    LinearMixing,
    Microscope,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.simulation.resting import resting_atoms
from cryo_disentangle.structures.hinges import Hinge

sys.path.append(str(Path(__file__).parents[1] / "losses"))
from harness import HeldOut, Method, arguments, one_cycle, run, two_arms_in_plane

_SIDE, _PIXEL_SIZE, MIXING = 32, 4.25, LinearMixing(2, 45.0)
_ARMS = {"first": list(range(20, 40)), "second": list(range(40, 60))}
# The less noise, the narrower the posterior and its false maxima: starts must be closer, and more.
_GRID = {1.0: [-1.6, -0.8, 0.0, 0.8, 1.6], 10.0: np.arange(-2.0, 2.1, 0.5).tolist()}
_STARTS = {1.0: 1, 10.0: 5}
_OFF_RADIANS, _OFF_ANGSTROM = math.pi / 6, 5.0
_SNR = {"in_plane": 10.0, "so3": 1.0, "so3_snr10": 10.0, "so3_encoders": 1.0}


def two_arms_so3(snr: float) -> Simulation:
    """Two arms in three dimensions, seen from everywhere through the microscope."""
    transfer = ContrastTransferRange((8000.0, 20000.0), 300.0)
    microscope = Microscope(UniformViews(), None, transfer, WhiteNoise(snr))
    return Simulation(
        TwoArms(),
        UniformFactors(2, -1.0, 1.0),
        microscope,
        mixing=MIXING,
        n_images=50_000,
        box_size=_SIDE,
        pixel_size=_PIXEL_SIZE,
        seed=1,
    )


def _off(hinge: Hinge) -> Hinge:
    """The hinge with its axis 30 degrees off, its point 5 Å, and half its angle."""
    axis, point = np.array(hinge.axis), np.array(hinge.point)
    across = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    across /= np.linalg.norm(across)
    turned = math.cos(_OFF_RADIANS) * axis + math.sin(_OFF_RADIANS) * across
    return Hinge(tuple(turned), tuple(point + _OFF_ANGSTROM * across), hinge.angle_deg / 2)


def atomic(molecule: TwoArms, *, given: bool) -> Callable[[int, int], AtomicDecoder]:
    """The molecule at rest with two arms on hinges, known or nearly so."""
    known = molecule.hinges if given else [_off(hinge) for hinge in molecule.hinges]
    hinges = dict(zip(_ARMS, known, strict=True))
    return partial(
        AtomicDecoder,
        structure=resting_atoms(molecule),
        motion=partial(HingedDomains, domains=_ARMS, hinges=hinges, learn_hinges=not given),
        pixel_size=_PIXEL_SIZE,
        sigma_angstrom=molecule.sigma,
    )


def _amortised(
    data: ParticleData,
    *,
    decoder: Callable[[int, int], torch.nn.Module],
    snr: float,
    steps: int,
    width: int,
    radius: int | None = None,
    reads_pose: bool = False,
    taught: bool = False,
) -> HeterogeneousReconstruction:
    """With an encoder, which renderings from elsewhere may teach as well."""
    weight = exact_kl_weight(snr)
    penalties: dict[str, Penalty] = {}
    if taught:
        penalties["rendered"] = PoseIntervention(
            # As much weight as the posterior of an image has in the loss.
            LinearSchedule(0.0, weight / 796, steps // 4, first_step=steps // 10),
            poses=UniformPoses("so3"),
            distance=PosteriorDistance(),
            noise_std=(weight / 2) ** 0.5,
            gradient="encoder",
            sampled_conformations=True,
        )
    return HeterogeneousReconstruction(
        data.box_size,
        2,
        encoder=partial(MLPEncoder, width=width, layers=3),
        decoder=decoder,
        pixel_size=data.pixel_size,
        encoder_reads_pose=reads_pose,
        encoder_radius=radius,
        penalties=penalties,
        kl_weight=weight,
        **one_cycle(steps),
    )


def _by_rendering(
    data: ParticleData, *, decoder: Callable[[int, int], torch.nn.Module], snr: float, steps: int
) -> HeterogeneousReconstruction:
    """Without an encoder."""
    return HeterogeneousReconstruction(
        data.box_size,
        2,
        encoder=partial(RenderedPosterior, grid=_GRID[snr], starts=_STARTS[snr], newton_steps=4),
        pixel_size=data.pixel_size,
        kl_weight=exact_kl_weight(snr),
        decoder=decoder,
        **one_cycle(steps, 2e-2),
    )


def angles(
    model: HeterogeneousReconstruction, held_out: HeldOut, mixing: LinearMixing
) -> dict[str, float]:
    """MCC of z with the hinges' angles."""
    z = held_out.infer(model, "own")[0]
    return {"mcc_hinges": float(mcc(z, mixing.mix(held_out.factors)))}


def in_plane_method(name: str, decoder: Callable[[int, int], torch.nn.Module]) -> Method:
    """An encoder and this decoder, of in-plane poses."""
    steps = 1500
    make = partial(_amortised, snr=_SNR["in_plane"], steps=steps, width=256, radius=10)
    return Method(name, partial(make, decoder=decoder), steps)


def methods(setting: str, molecule: TwoArms) -> list[Method]:
    """What is compared in a setting."""
    snr = _SNR[setting]
    given, learned = atomic(molecule, given=True), atomic(molecule, given=False)
    if setting == "in_plane":
        decoders = {"atomic, hinges given": given, "atomic, hinges learned": learned}
        return [in_plane_method(name, decoder) for name, decoder in decoders.items()]
    if setting in ("so3", "so3_snr10"):
        steps = 300
        rendering = partial(_by_rendering, snr=snr, steps=steps)
        return [
            Method("no encoder, hinges given", partial(rendering, decoder=given), steps),
            Method("no encoder, hinges learned", partial(rendering, decoder=learned), steps),
        ]
    steps = 2000
    reading = partial(_amortised, snr=snr, steps=steps, width=512, reads_pose=True, radius=10)
    return [
        Method("atomic, encoder reads pose", partial(reading, decoder=given), steps),
        Method("atomic, encoder taught", partial(reading, decoder=given, taught=True), steps),
        Method("basis, encoder reads pose", partial(reading, decoder=BasisDecoder), steps),
    ]


def main() -> None:
    """Trains and prints the tables."""
    options = arguments(__doc__, list(_SNR))
    for setting in options.setting:
        in_plane = two_arms_in_plane(UniformFactors(2, -1.0, 1.0), _SNR["in_plane"], MIXING)
        simulation = in_plane if setting == "in_plane" else two_arms_so3(_SNR[setting])
        run(
            f"identifiability_{setting}",
            simulation,
            methods(setting, simulation.molecule),  # type: ignore[arg-type]
            options,
            diagnose=partial(angles, mixing=MIXING),
        )


if __name__ == "__main__":
    main()

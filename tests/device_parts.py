"""Every part of a model that a training step runs, each in a small model of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from cryo_disentangle.decoders import (
    AtomicDecoder,
    AxisEncoding,
    BasisDecoder,
    FlowDecoder,
    FreeDisplacement,
    GaussianEncoding,
    HingedDomains,
    ImplicitDecoder,
    NormalModes,
    RigidDomains,
)
from cryo_disentangle.encoders import InPlanePoseHead, LatentTable, PoseHead, RenderedPosterior
from cryo_disentangle.losses import (
    DIPVAE,
    BondLengths,
    ChordalDistance,
    ConformationIntervention,
    ContrastiveDistance,
    CyclicSchedule,
    EstimatedNoise,
    FactorVAE,
    GeodesicDistance,
    InPlanePoses,
    LinearSchedule,
    NormalizedDistance,
    PoseIntervention,
    PosteriorDistance,
    RelativeDistance,
    ShuffledPoses,
    Smoothness,
    SquaredDistance,
    TotalCorrelation,
    UniformPoses,
    WithVarianceFloor,
)
from cryo_disentangle.priors import (
    ArrheniusLaw,
    Boltzmann,
    GeneralizedNormal,
    LaplaceTransition,
    LevelTable,
    StandardNormal,
    TemperatureNormal,
)
from cryo_disentangle.types import ParticleBatch
from tests.atoms import made
from tests.small_model import DIM, make_batch

__all__ = ["PARTS", "make_part_batch"]

PIXEL = 4.0
DOMAINS = {"a": list(range(10)), "b": list(range(10, 20))}


def _atoms(motion: Any, **options: Any) -> dict[str, Any]:
    """Options of a model with an atomic decoder."""
    places = 6 * torch.randn(30, 3, generator=torch.Generator().manual_seed(0))

    def make(box_size: int, dim: int) -> AtomicDecoder:
        return AtomicDecoder(
            box_size,
            dim,
            made(places),
            motion,
            PIXEL,
            centre=(0, 0, 0),
            sigma_angstrom=3.0,
            **options,
        )

    return {"decoder": make, "pixel_size": PIXEL}


_IMPLICIT = partial(ImplicitDecoder, width=16, layers=1)
_BASIS = partial(BasisDecoder, rank=3, hidden=8)
_FREE = partial(FreeDisplacement, rank=4, hidden=8)
_HEAD = partial(PoseHead, width=16, layers=1)
_TWO = {"pose_head": partial(_HEAD, hypotheses=2)}


def _penalty(penalty: Any, **options: Any) -> dict[str, Any]:
    return {"penalties": {"penalty": penalty}, **options}


_DECODERS: dict[str, dict[str, Any]] = {
    "implicit": {},
    "implicit hartley": {"decoder": partial(_IMPLICIT, domain="hartley")},
    "implicit gaussian": {"decoder": partial(_IMPLICIT, encoding=GaussianEncoding())},
    "implicit axis": {"decoder": partial(_IMPLICIT, encoding=AxisEncoding())},
    "basis": {"decoder": _BASIS},
    "basis linear": {"decoder": partial(BasisDecoder, rank=3, hidden=0)},
    "rigid domains": _atoms(partial(RigidDomains, domains=DOMAINS, hidden=8)),
    "hinges": _atoms(partial(HingedDomains, domains=DOMAINS, ramp_residues=0, hidden=8)),
    "learned hinges": _atoms(
        partial(HingedDomains, domains=DOMAINS, ramp_residues=0, learn_hinges=True, hidden=8)
    ),
    "normal modes": _atoms(partial(NormalModes, modes=5, hidden=8)),
    "free displacement": _atoms(_FREE),
    "learned widths": _atoms(_FREE, learn_widths=True, learn_amplitudes=True),
    "flow": {"decoder": partial(FlowDecoder, nodes=3, hidden=8, steps=2)},
}
_ENCODERS: dict[str, dict[str, Any]] = {
    "table": {"encoder": LatentTable, "n_particles": 10},
    "rendered": {"encoder": partial(RenderedPosterior, grid=(-1.0, 0.0, 1.0), starts=2)},
    "rendered basis": {"encoder": RenderedPosterior, "decoder": _BASIS},
    "encoder reads pose": {"encoder_reads_pose": True},
    "encoder of a smaller radius": {"encoder_radius": 5},
    "encoder of all": {"encoder_radius": -1},
    "pose head": {"pose_head": _HEAD},
    "pose hypotheses": {"pose_head": partial(_HEAD, hypotheses=4)},
    "in-plane hypotheses": {
        "pose_head": partial(InPlanePoseHead, hypotheses=4, width=16, layers=1)
    },
}
_TRAINING: dict[str, dict[str, Any]] = {
    "share": {"coefficient_share": 0.25},
    "share of a basis": {"coefficient_share": 0.25, "decoder": _BASIS},
    "warm-up": {"conformation_warmup": 5},
    "linear schedule": {"kl_weight": LinearSchedule(0.5, 1.0, 10)},
    "cyclic schedule": {"kl_weight": CyclicSchedule(0.5, 1.0, 4)},
}
_PRIORS: dict[str, dict[str, Any]] = {
    "standard normal": {"prior": StandardNormal()},
    "generalised normal": {"prior": GeneralizedNormal()},
    "laplace": {"prior": LaplaceTransition(), "batch": "pairs"},
    "laplace in time": {"prior": LaplaceTransition(), "batch": "time"},
    "learned laplace": {
        "prior": LaplaceTransition(learnable=True, conformation_dim=DIM, symmetric=False),
        "batch": "time",
    },
    "levels": {"prior": TemperatureNormal(LevelTable(DIM, [280, 300])), "batch": "temperature"},
    "arrhenius": {
        "prior": TemperatureNormal(ArrheniusLaw(DIM, 280.0, 300.0)),
        "batch": "temperature",
    },
    "boltzmann": {"prior": Boltzmann(DIM), "batch": "temperature"},
}
_PENALTIES: dict[str, dict[str, Any]] = {
    **{
        f"intervention, {type(distance).__name__}": _penalty(PoseIntervention(distance=distance))
        for distance in (
            SquaredDistance(),
            RelativeDistance(),
            NormalizedDistance(),
            ContrastiveDistance(),
            PosteriorDistance(),
            WithVarianceFloor(SquaredDistance()),
        )
    },
    **{
        f"intervention, {name}": _penalty(PoseIntervention(poses=source))
        for name, source in (
            ("shuffled", ShuffledPoses()),
            ("uniform", UniformPoses()),
            ("uniform so2", UniformPoses("so2")),
            ("uniform so3", UniformPoses("so3")),
            ("in plane", InPlanePoses()),
        )
    },
    "intervention with noise": _penalty(PoseIntervention(noise_std=EstimatedNoise(), fraction=0.5)),
    "intervention on draws": _penalty(PoseIntervention(0.1, sampled_conformations=True)),
    "intervention, encoder": _penalty(PoseIntervention(gradient="encoder")),
    "intervention, decoder": _penalty(PoseIntervention(gradient="decoder")),
    "intervention, scheduled": _penalty(PoseIntervention(LinearSchedule(0.5, 1.0, 10))),
    "intervention on inferred poses": _penalty(
        PoseIntervention(pose_distance=GeodesicDistance()), **_TWO
    ),
    "intervention on conformations": _penalty(
        ConformationIntervention(pose_distance=ChordalDistance()), **_TWO
    ),
    "contrastive intervention on conformations": _penalty(
        ConformationIntervention(distance=ContrastiveDistance(), noise_std=EstimatedNoise()), **_TWO
    ),
    "total correlation": _penalty(TotalCorrelation(100)),
    "weighted total correlation": _penalty(TotalCorrelation(100, sampling="weighted")),
    "dip": _penalty(DIPVAE()),
    "dip II": _penalty(DIPVAE(variant="II")),
    "factor vae": _penalty(FactorVAE(DIM, width=8)),
    "bond lengths": _penalty(BondLengths(), **_atoms(_FREE)),
    "smoothness": _penalty(Smoothness(), **_atoms(_FREE)),
}

PARTS = {**_DECODERS, **_ENCODERS, **_TRAINING, **_PRIORS, **_PENALTIES}
"""Options of a model for each part; ``batch`` says which batch it takes."""


def make_part_batch(kind: str) -> ParticleBatch:
    """Makes a batch of particles, or of pairs.

    Args:
        kind: Nothing, ``pairs``, ``time`` (pairs with times) or ``temperature``.

    Returns:
        Four particles, or two pairs of them.
    """
    whole: Any = make_batch()
    batch: Any = {key: value[:4] for key, value in whole.items()}
    if kind == "temperature":
        batch["temperature"] = torch.tensor([280.0, 300.0, 280.0, 300.0])
    if kind in ("pairs", "time"):
        batch = {key: value.reshape(2, 2, *value.shape[1:]) for key, value in batch.items()}
    if kind == "time":
        batch["time"] = torch.tensor([[0.0, 1.0], [2.0, 4.0]])
    made_batch: ParticleBatch = batch
    return made_batch

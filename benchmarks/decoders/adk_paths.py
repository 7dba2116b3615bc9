"""Computed transitions of adenylate kinase: what do latents mean where hinges close together?

    python benchmarks/decoders/adk_paths.py --scratch runs/decoders [--seeds 1]

Along each of three computed transitions the NMP and LID hinges close together (their correlation is
0.93 and more), so that no prior of independent coordinates holds. 10,000 images of 32 pixels from
everywhere, SNR 1, known poses, conformations along a path with a normal spread of 0.02. The decoder
knows the open structure and its domains and learns the hinges, whose coordinates are two; or one
coordinate moves both by a small network. No encoder: conformations are found by rendering. Columns:
``r2_nmp`` and ``r2_lid``, R² of a hinge's coordinate from all of z, linear; ``path``, Spearman's
correlation of the first principal components of z and of the true hinges; ``pc1_z`` and
``pc1_hinges``, the shares of variance that these hold; ``correlation``, that of both z.
Rows go to results/adk_path_*.csv.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch
from adk import RESIDUES
from inference import exact_kl_weight
from torch import Tensor

from cryo_disentangle.decoders import AtomicDecoder, HingedDomains
from cryo_disentangle.encoders import RenderedPosterior
from cryo_disentangle.metrics.functional.correlation import mcc, pearson_matrix, r2_linear
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.simulation import (
    AdenylateKinase,
    Microscope,
    Simulation,
    UniformViews,
    WhiteNoise,
    adenylate_kinase_path,
)
from cryo_disentangle.simulation.resting import resting_atoms

sys.path.append(str(Path(__file__).parents[1] / "losses"))
from harness import HeldOut, Method, arguments, one_cycle, run

_PATHS = ["dims1", "dims2", "gbis_tmd"]
_SIDE, _PIXEL_SIZE, _SNR, _SPREAD = 32, 3.2, 1.0, 0.02
_STEPS, _RATE = 400, 1e-2


def _make(data: ParticleData, *, coordinates: int) -> HeterogeneousReconstruction:
    hidden = 0 if coordinates == len(RESIDUES) else 32
    decoder = partial(
        AtomicDecoder,
        structure=resting_atoms(AdenylateKinase()),
        motion=partial(HingedDomains, domains=RESIDUES, hidden=hidden),
        pixel_size=_PIXEL_SIZE,
        per_residue=True,
        centre=(0.0, 0.0, 0.0),
        sigma_angstrom=3.0,
    )
    return HeterogeneousReconstruction(
        data.box_size,
        coordinates,
        encoder=partial(RenderedPosterior, grid=[-1.6, 0.0, 1.6]),
        kl_weight=exact_kl_weight(_SNR),
        decoder=decoder,
        pixel_size=data.pixel_size,
        **one_cycle(_STEPS, _RATE),
    )


def _principal(x: Tensor) -> tuple[Tensor, float]:
    """First principal component (N, 1), and its share of the variance."""
    centred = (x - x.mean(0)).double()
    _, values, directions = torch.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:1].T, float(values[0].square() / values.square().sum())


def _meaning(model: HeterogeneousReconstruction, held_out: HeldOut) -> dict[str, float]:
    """What z says of the hinges."""
    z, hinges = held_out.infer(model, "own")[0], held_out.factors
    found, share = _principal(z)
    path, true_share = _principal(hinges)
    r2 = {name: float(r2_linear(z, hinges[:, [k]])) for k, name in enumerate(RESIDUES)}
    return {f"r2_{name}": value for name, value in r2.items()} | {
        "path": float(mcc(found, path, correlation="spearman")),
        "pc1_z": share,
        "pc1_hinges": true_share,
        "correlation": float(pearson_matrix(z[:, :1], z[:, -1:])[0, 0]),
    }


def main() -> None:
    """Trains and prints the tables."""
    options = arguments(__doc__, _PATHS)
    for name in options.setting:
        simulation = Simulation(
            AdenylateKinase(),
            adenylate_kinase_path(name, _SPREAD),
            Microscope(UniformViews(), None, None, WhiteNoise(_SNR)),
            n_images=10_000,
            box_size=_SIDE,
            pixel_size=_PIXEL_SIZE,
            seed=1,
        )
        methods = [
            Method("two hinges", partial(_make, coordinates=2), _STEPS),
            Method("one coordinate", partial(_make, coordinates=1), _STEPS),
        ]
        run(f"adk_path_{name}", simulation, methods, options, diagnose=_meaning)


if __name__ == "__main__":
    main()

"""Adenylate kinase with real views and CTF at SNR 0.1: what does a decoder of atoms gain?

    python benchmarks/decoders/adk.py --scratch runs/decoders --poses FILE [--seconds 60]

50,000 images of 64 pixels of 1.6 Å, the NMP and LID hinges moving by mixed factors (as in
configs/simulate/adk.yaml), known poses. ``--poses`` is an .npz with rows of a real refinement: unit
quaternions, scalar last, under ``--views`` and cryoDRGN's nine CTF columns under ``--ctf``. The
atomic decoders know the open structure, as a Gaussian a residue or an atom, and which residues make
a domain; hinges are learned, or given, which shows what is left to gain. All train for as long on
one core, counted as the process's own time; the implicit decoder renders a tenth of the
coefficients a step, since it would otherwise take few. Truth is used for scores alone:
``mcc_hinges``, the MCC of z with the hinges' coordinates; ``fsc``, the mean over shells of the
Fourier shell correlation of the volume at the mean z of 50 particles next to each of five
conformations with the true one; and ``resolution``, where the median of these falls below 0.5, in
Å. Of an atomic decoder's density most is what it was told. Rows go to results/adk.csv, a row each
as it comes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import torch
from inference import exact_kl_weight
from torch import Tensor, nn

from cryo_disentangle.decoders import AtomicDecoder, BasisDecoder, HingedDomains, ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder, RenderedPosterior
from cryo_disentangle.imaging.fsc import fourier_shell_correlation, resolution_at
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
    AdenylateKinase,
    ContrastTransferFromFile,
    Microscope,
    ShearMixing,
    Simulation,
    UniformFactors,
    ViewsFromFile,
    WhiteNoise,
)
from cryo_disentangle.simulation.resting import resting_atoms
from cryo_disentangle.types import ParticleBatch

sys.path.append(str(Path(__file__).parents[1] / "losses"))
from harness import HeldOut, Method, parser, run, write_once

Decoder = Callable[[int, int], nn.Module]

RESIDUES = {"nmp": "30-59", "lid": "122-159"}
_SNR, _SIDE, _PIXEL_SIZE = 0.1, 64, 1.6
_CORNERS = [(0.2, 0.2), (0.2, 0.8), (0.5, 0.5), (0.8, 0.2), (0.8, 0.8)]
_NEIGHBOURS = 50


def atomic(
    molecule: AdenylateKinase, pixel_size: float, *, given: bool = False, per_residue: bool = True
) -> Decoder:
    """A Gaussian a residue, or an atom, and two domains on hinges."""
    hinges = dict(zip(RESIDUES, molecule.hinges, strict=True)) if given else None
    return partial(
        AtomicDecoder,
        structure=resting_atoms(molecule),
        motion=partial(HingedDomains, domains=RESIDUES, hinges=hinges),
        pixel_size=pixel_size,
        per_residue=per_residue,
        centre=(0.0, 0.0, 0.0),
        sigma_angstrom=3.0,
    )


@dataclass(frozen=True)
class Recipe:
    """A way to train; called with the data and a number of steps it makes the model.

    Attributes:
        decoder: Makes the decoder.
        encodes: Whether there is an encoder.
        taught: Whether renderings from elsewhere teach it as well.
        share: Share of the coefficients that a step renders.
        snr: Signal-to-noise ratio.
        radius: What the encoder reads, in Fourier pixels.
        rate: Learning rate of a decoder without encoder.
        warmup: Number of first steps with one volume for all.
    """

    decoder: Decoder
    encodes: bool = True
    taught: bool = False
    share: float = 1.0
    snr: float = _SNR
    radius: int = 16
    rate: float = 2e-2
    warmup: int = 0

    def __call__(self, data: ParticleData, steps: int) -> HeterogeneousReconstruction:
        """Makes the model."""
        weight = exact_kl_weight(self.snr)
        rate = 2e-3 if self.encodes else self.rate
        schedule = partial(
            torch.optim.lr_scheduler.OneCycleLR, max_lr=rate, total_steps=max(steps, 2)
        )
        return HeterogeneousReconstruction(
            data.box_size,
            2,
            encoder=partial(MLPEncoder, width=512, layers=3) if self.encodes else RenderedPosterior,
            decoder=self.decoder,
            pixel_size=data.pixel_size,
            encoder_reads_pose=self.encodes,
            encoder_radius=self.radius if self.encodes else None,
            penalties=self._penalties(data.box_size, weight, steps),
            kl_weight=weight,
            conformation_warmup=self.warmup,
            coefficient_share=self.share,
            optimizer=partial(torch.optim.Adam, lr=rate),
            lr_scheduler=schedule,
            lr_interval="step",
        )

    def _penalties(self, side: int, weight: float, steps: int) -> dict[str, Penalty]:
        if not self.taught:
            return {}
        # As much weight as the posterior of an image has in the loss.
        end = weight / (torch.pi * (side / 2) ** 2)
        taught = PoseIntervention(
            LinearSchedule(0.0, end, steps // 4, first_step=steps // 10),
            poses=UniformPoses("so3"),
            distance=PosteriorDistance(),
            noise_std=(weight / 2) ** 0.5,
            gradient="encoder",
            sampled_conformations=True,
        )
        return {"rendered": taught}


def affordable_steps(recipe: Recipe, data: ParticleData, budget: float) -> int:
    """How many steps fit into a time of the process."""
    model = recipe(data, 1000)
    data.setup("fit")
    batches = iter(data.train_dataloader())
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    times = []
    for _ in range(3):
        batch = cast(ParticleBatch, next(batches))
        started = time.process_time()
        optimizer.zero_grad()
        model.loss_terms(batch, step=0, sample=True)["loss"].backward()
        optimizer.step()
        times.append(time.process_time() - started)
    return max(20, int(budget / min(times)))


def volumes(
    model: HeterogeneousReconstruction, held_out: HeldOut, simulation: Simulation
) -> dict[str, float]:
    """Latents and volumes against the truth."""
    z = held_out.infer(model, "own")[0]
    hinges = simulation.hinges(held_out.factors).to(z)
    correlations = []
    for corner in _CORNERS:
        point = torch.tensor([corner])
        nearest = (hinges - point).norm(dim=1).topk(_NEIGHBOURS, largest=False).indices
        with torch.no_grad():
            found = model.volume(z[nearest].mean(0))
        truth = simulation.molecule.volume(  # type: ignore[attr-defined]
            point, simulation.box_size, simulation.pixel_size
        )[0]
        correlations.append(fourier_shell_correlation(found, truth))
    fsc: Tensor = torch.stack(correlations)
    return {
        "mcc_hinges": float(mcc(z, hinges)),
        "fsc": float(fsc[:, 1:].mean()),
        "resolution": resolution_at(fsc.median(0).values, simulation.pixel_size, 0.5),
    }


def recipes(molecule: AdenylateKinase, pixel_size: float) -> dict[str, Recipe]:
    """What is compared."""
    learned = atomic(molecule, pixel_size)
    given = atomic(molecule, pixel_size, given=True)
    every_atom = atomic(molecule, pixel_size, per_residue=False)
    return {
        "atomic, no encoder": Recipe(learned, encodes=False),
        "atomic, no encoder, hinges given": Recipe(given, encodes=False),
        "atomic, no encoder, every atom": Recipe(every_atom, encodes=False),
        "atomic, encoder taught": Recipe(learned, taught=True),
        "atomic, encoder": Recipe(learned),
        "basis, no encoder": Recipe(BasisDecoder, encodes=False, rate=5e-3, warmup=100),
        "basis, encoder": Recipe(BasisDecoder),
        "implicit, encoder": Recipe(partial(ImplicitDecoder, width=256, layers=3), share=0.1),
    }


def main() -> None:
    """Trains and prints the table."""
    made = parser(__doc__, seeds=1, out=Path(__file__).parent / "results")
    made.add_argument("--poses", type=Path, required=True, help="Real poses and CTF, .npz.")
    made.add_argument("--views", default="quat_xyzw_10076", help="Key of the quaternions.")
    made.add_argument("--ctf", default="ctf_10076", help="Key of the CTF rows.")
    made.add_argument("--seconds", type=float, default=60.0, help="Time of a training.")
    made.add_argument("--n-images", type=int, default=50_000)
    options = made.parse_args()
    molecule = AdenylateKinase()
    microscope = Microscope(
        ViewsFromFile(options.poses, options.views),
        None,
        ContrastTransferFromFile(options.poses, options.ctf),
        WhiteNoise(_SNR),
    )
    simulation = Simulation(
        molecule,
        UniformFactors(2, 0.0, 1.0),
        microscope,
        n_images=options.n_images,
        box_size=_SIDE,
        pixel_size=_PIXEL_SIZE,
        mixing=ShearMixing(2, 45.0, 0.5, 0.5, 0.5),
        seed=1,
    )
    known = recipes(molecule, _PIXEL_SIZE)
    for name in options.methods or known:
        run_for(name, known[name], simulation, options)


def run_for(name: str, recipe: Recipe, simulation: Simulation, options: argparse.Namespace) -> None:
    """Trains one method for as long as told."""
    known: dict[str, int] = {}

    def make(data: ParticleData) -> HeterogeneousReconstruction:
        return recipe(data, known["steps"])

    folder = write_once(simulation, options.scratch / "adk_0")
    data = ParticleData(
        folder / "particles.mrcs", poses=folder / "poses.pkl", ctf=folder / "ctf.pkl"
    )
    known["steps"] = affordable_steps(recipe, data, options.seconds)
    method = Method(name, make, known["steps"])

    def diagnose(model: HeterogeneousReconstruction, held_out: HeldOut) -> dict[str, float]:
        return {"steps": known["steps"]} | volumes(model, held_out, simulation)

    run("adk", simulation, [method], options, diagnose=diagnose)


if __name__ == "__main__":
    main()

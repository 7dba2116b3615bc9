"""A finished cryoDRGN run: does its z encode conformation or pose, and can that be repaired?

    OMP_NUM_THREADS=1 python benchmarks/interop/repair.py --cryodrgn PATH --poses FILE

30,000 images of adenylate kinase, its NMP and LID hinges moved by mixed factors (as in
configs/simulate/adk.yaml), views and CTF of a real refinement. Images are of 32 pixels of 3.2 Å at
SNR 0.4: of 64 pixels at SNR 0.1 that much is left after downsampling, the first step of a run of
cryoDRGN, which drops three quarters of the noise and hardly any of the signal. ``--poses`` is
an .npz with unit quaternions, scalar last, under ``--views`` and cryoDRGN's nine CTF columns under
``--ctf``. PATH is the `cryodrgn` command, which may be of another environment: its own
``train_vae`` makes the run. Copies of it are trained further here by the same number of steps,
without a penalty, with pose interventions, and with z found by rendering in the encoder's place,
and exported; ``by rendering`` trains nothing and exports the run itself. Everything in the tables
is measured on the folders that cryoDRGN or the export wrote, with z as their own encoder or, where
the name says so, as rendering through their own decoder finds it, and ``cryodrgn eval_vol`` makes a
volume of each. Truth is used for scores alone. Rows go to ``--out``; those that are there are not
made again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import lightning as L
import torch
from torch import Tensor

from cryo_disentangle.callbacks import CryoDRGNExport
from cryo_disentangle.encoders import RenderedPosterior
from cryo_disentangle.evaluation import evaluate, export_cryodrgn, open_run
from cryo_disentangle.evaluation.rendering import infer_by_rendering
from cryo_disentangle.interop import CryoDRGNParticles
from cryo_disentangle.losses import (
    ContrastiveDistance,
    EstimatedNoise,
    LinearSchedule,
    PoseIntervention,
    PosteriorDistance,
    SquaredDistance,
)
from cryo_disentangle.losses.distances import ConformationDistance
from cryo_disentangle.losses.round_trip import own_pose
from cryo_disentangle.modules import CryoDRGNReconstruction, HeterogeneousReconstruction
from cryo_disentangle.protocols import Penalty
from cryo_disentangle.simulation import (
    AdenylateKinase,
    ContrastTransferFromFile,
    Microscope,
    NormalShifts,
    ShearMixing,
    Simulation,
    UniformFactors,
    ViewsFromFile,
    WhiteNoise,
)
from cryo_disentangle.types import ParticleBatch

sys.path.append(str(Path(__file__).parents[1] / "losses"))
from harness import HeldOut, _append, _quiet, machine, read, scores, summarize, write_once

_ZDIM, _BATCH, _RATE = 2, 32, 1e-3
_NETWORKS = ["--enc-dim", 512, "--enc-layers", 3]
_NETWORKS += ["--dec-dim", 64, "--dec-layers", 2, "--pe-dim", 8]
_EVALUATED = 1000


@dataclass(frozen=True)
class Repair:
    """A way to go on.

    Attributes:
        name: What tables call it.
        make_penalty: Makes the penalty from the number of steps; None goes without.
        renders: Whether z is found by rendering.
        trains: Whether the run is trained further.
    """

    name: str
    make_penalty: Callable[[int], Penalty] | None = None
    renders: bool = False
    trains: bool = True


def _teaches_encoder(weight: float, distance: ConformationDistance, steps: int) -> Penalty:
    """A pose intervention on images as noisy as the data; the volumes are left to the data."""
    return PoseIntervention(
        LinearSchedule(0.0, weight, steps // 4),
        distance=distance,
        noise_std=EstimatedNoise(),
        gradient="encoder",
        sampled_conformations=isinstance(distance, PosteriorDistance),
    )


REPAIRS = (
    Repair("by rendering, nothing trained", renders=True, trains=False),
    Repair("by rendering, decoder trained", renders=True),
    Repair("more training"),
    Repair("squared", partial(_teaches_encoder, 0.005, SquaredDistance())),
    Repair("contrastive", partial(_teaches_encoder, 0.02, ContrastiveDistance())),
    Repair("posterior", partial(_teaches_encoder, 0.01, PosteriorDistance())),
)


def draw_adenylate_kinase(options: argparse.Namespace) -> Simulation:
    """The stack."""
    return Simulation(
        AdenylateKinase(sigma_angstrom=3.2),
        UniformFactors(2, 0.0, 1.0),
        Microscope(
            ViewsFromFile(options.poses, options.views),
            NormalShifts(0.5),
            ContrastTransferFromFile(options.poses, options.ctf),
            WhiteNoise(0.4),
        ),
        n_images=options.particles,
        box_size=32,
        pixel_size=3.2,
        mixing=ShearMixing(2, 45.0, 0.5, 0.5, 0.5),
        seed=0,
    )


def train_theirs(command: str, stack: Path, out: Path, epochs: int) -> Path:
    """Runs ``cryodrgn train_vae``, unless it has been."""
    if not (out / f"weights.{epochs}.pkl").exists():
        words = [command, "train_vae", stack / "particles.mrcs", "-o", out, "--no-analysis"]
        words += ["--poses", stack / "poses.pkl", "--ctf", stack / "ctf.pkl", "--seed", 0]
        words += ["--zdim", _ZDIM, "-n", epochs, "-b", _BATCH, "--lr", _RATE, *_NETWORKS]
        _run(words)
    return out


def _run(words: list[object]) -> None:
    """Runs a program on one thread; what it says is shown if it fails."""
    done = subprocess.run(
        [str(word) for word in words],
        env=os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{words} failed:\n{(done.stdout + done.stderr)[-3000:]}")


def train_further(begun: Path, out: Path, repair: Repair, epochs: int, seed: int) -> Path:
    """Goes on with cryoDRGN's run and writes the end as another run of cryoDRGN."""
    L.seed_everything(seed)
    _quiet()
    data = CryoDRGNParticles(begun, batch_size=_BATCH, validation_fraction=0.0, seed=seed)
    data.setup("fit")
    steps = epochs * len(data.train_dataloader())
    penalty = repair.make_penalty
    module = CryoDRGNReconstruction(
        begun,
        encoder=RenderedPosterior if repair.renders else None,
        penalties=None if penalty is None else {"intervention": penalty(steps)},
        lr_scheduler=partial(
            torch.optim.lr_scheduler.LinearLR,
            start_factor=1.0,
            end_factor=0.0,
            total_iters=steps,
        ),
        lr_interval="step",
        pixel_size=data.pixel_size,
        seed=seed,
    )
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=epochs,
        default_root_dir=out,
        callbacks=[CryoDRGNExport(every_n_epochs=epochs)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=10.0,
    )
    trainer.fit(module, datamodule=data)
    return out / "cryodrgn"


@torch.no_grad()
def unexplained(model: HeterogeneousReconstruction, held_out: HeldOut) -> float:
    """Share of the signal of other images that is not rendered from z and pose.

    Of two images of a particle that differ in their noise alone one is inferred from and the other
    compared with, so that nothing is gained by remembering noise: (E|x' - g(f(x))|² - σ²) / E x·x',
    σ² = E|x - x'|² / 2.
    """
    first, second = (cast(dict[str, Tensor], held_out.batches[name]) for name in ("own", "noisy"))
    miss = difference = signal = 0.0
    for rows in torch.arange(len(first["images"])).split(250):
        batch = cast(ParticleBatch, {key: value[rows] for key, value in first.items()})
        inference = model.infer(batch)
        rendered = model.generate(inference.mean, own_pose(batch, inference), batch)
        one, other, made = (
            model.disc.select(images)
            for images in (batch["images"], second["images"][rows], rendered)
        )
        miss += float((other - made).square().sum())
        difference += float((other - one).square().sum())
        signal += float((other * one).sum())
    return (miss - difference / 2) / signal


def measure(
    folder: Path, stack: Path, simulation: Simulation, *, renders: bool
) -> dict[str, float]:
    """Scores of a run of cryoDRGN, on other particles and as ``cryo-disentangle evaluate`` does."""
    run = open_run(folder)
    if renders:
        run = infer_by_rendering(run)
    held_out = HeldOut(simulation, run.data)
    model = cast(HeterogeneousReconstruction, run.module)
    rows = scores(model, held_out) | {"unexplained": unexplained(model, held_out)}
    found = evaluate(run, truth=stack / "truth.npz", sample=_EVALUATED, resamples=0)
    found.write(folder / ("evaluation_rendering" if renders else "evaluation"))
    print(found.judgement.headline, flush=True)
    for group, name in (
        ("interventions", "conformation_pose_invariance_normalized"),
        ("true_interventions", "conformation_pose_invariance_normalized"),
        ("rotation", "rotation_normalized"),
        ("pose_leak", "pose_leak_nonlinear_r2"),
        ("conformations", "coordinates_in_use"),
    ):
        score = found.measured.scores.get(group, {}).get(name)
        rows[f"{group}"] = float("nan") if score is None else score.value
    return rows


def make_volume(command: str, folder: Path, epochs: int) -> None:
    """Has cryoDRGN make a volume of an exported run."""
    words = [command, "eval_vol", folder / f"weights.{epochs}.pkl", "-c", folder / "config.yaml"]
    _run([*words, "-o", folder / "zero.mrc", "-z", *[0] * _ZDIM])
    size = (folder / "zero.mrc").stat().st_size
    print(f"eval_vol accepts {folder}: {size} bytes", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cryodrgn", required=True, help="the cryodrgn command")
    parser.add_argument("--poses", type=Path, required=True, help="views and CTF, .npz")
    parser.add_argument("--views", default="quat_xyzw_10076", help="array of the views")
    parser.add_argument("--ctf", default="ctf_10076", help="array of the CTF parameters")
    parser.add_argument("--scratch", type=Path, default=Path("runs/repair"))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--particles", type=int, default=30_000)
    parser.add_argument("--epochs", type=int, default=6, help="of train_vae")
    parser.add_argument("--further", type=int, default=2, help="epochs of each repair")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repair", nargs="+", choices=[repair.name for repair in REPAIRS])
    return parser.parse_args()


def main() -> None:
    options = _arguments()
    simulation = draw_adenylate_kinase(options)
    stack = write_once(simulation, options.scratch / "stack")
    begun = train_theirs(options.cryodrgn, stack, options.scratch / "cryodrgn", options.epochs)
    done = {(row["method"], row["seed"]) for row in read(options.out)}

    def note(repair: Repair, seed: int, folder: Path, seconds: float) -> None:
        rows = {"method": repair.name, "seed": seed, "commit": machine(), "seconds": seconds}
        measured = measure(folder, stack, simulation, renders=repair.renders)
        _append(options.out, rows | measured)

    if ("cryoDRGN", "0") not in done:
        note(Repair("cryoDRGN"), 0, begun, float("nan"))
    for seed in range(options.seeds):
        for repair in REPAIRS:
            wanted = options.repair is None or repair.name in options.repair
            needless = seed > 0 and not repair.trains
            if not wanted or needless or (repair.name, str(seed)) in done:
                continue
            start = time.process_time()
            out = options.scratch / f"{repair.name.replace(' ', '_').replace(',', '')}_{seed}"
            if repair.trains:
                folder = train_further(begun, out, repair, options.further, seed)
                epoch = options.further
            else:
                folder, epoch = out, options.epochs
                if not (out / "config.yaml").exists():
                    run = open_run(begun)
                    export_cryodrgn(run, out, inferring=infer_by_rendering(run))
            note(repair, seed, folder, time.process_time() - start)
            if seed == 0:
                make_volume(options.cryodrgn, folder, epoch)
    print(summarize(options.out))


if __name__ == "__main__":
    main()

"""What the experiments on losses and priors share: stacks, trainings, scores and tables.

Every model is trained on a stack of files through Lightning, as users train, and judged on 4,000
other particles of the same simulation. Truth is used for scores alone, never to choose a model.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import platform
import statistics
import subprocess
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.benchmark import best_restart, train_restarts
from cryo_disentangle.losses import (
    EstimatedNoise,
    NormalizedDistance,
    PoseIntervention,
    UniformPoses,
)
from cryo_disentangle.metrics.functional.circular import fisher_lee
from cryo_disentangle.metrics.functional.correlation import mcc, r2_linear
from cryo_disentangle.metrics.functional.leak import pose_leak
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.simulation import (
    InPlaneViews,
    LinearMixing,
    Microscope,
    Simulation,
    TwoArms,
    WhiteNoise,
)
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.processes import ConformationProcess
from cryo_disentangle.types import ParticleBatch

ROOT = Path(__file__).parents[2]
_HELD_OUT = 4000
_BOX_ANGSTROM = 136.0
_HELD_OUT_STREAMS = (11, 12)


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes:
        name: What tables call it.
        make_module: Makes the model from the data.
        steps: Optimiser steps.
        pairs: Whether it trains on pairs of frames.
        batch_size: Particles, or pairs, a step.
    """

    name: str
    make_module: Callable[[ParticleData], HeterogeneousReconstruction]
    steps: int
    pairs: bool = False
    batch_size: int = 64


def one_cycle(steps: int, rate: float = 2e-3) -> dict[str, Any]:
    """How models here are optimised: Adam, whose learning rate rises to ``rate`` and falls."""
    schedule = torch.optim.lr_scheduler.OneCycleLR
    return {
        "optimizer": partial(torch.optim.Adam, lr=rate),
        "lr_scheduler": partial(schedule, max_lr=rate, total_steps=steps),
        "lr_interval": "step",
    }


def write_once(simulation: Simulation, folder: Path) -> Path:
    """Writes a stack unless it is there."""
    if not (folder / "contact_sheet.png").exists():
        simulation.write(folder)
    return folder


def _data(folder: Path, method: Method) -> ParticleData:
    return ParticleData(
        folder / "particles.mrcs",
        poses=folder / "poses.pkl",
        ctf=folder / "ctf.pkl" if (folder / "ctf.pkl").exists() else None,
        labels=folder / "truth.npz",
        pairs=method.pairs,
        batch_size=method.batch_size,
    )


def _trainer(steps: int) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=steps,
        max_epochs=-1,
        limit_val_batches=16,
        check_val_every_n_epoch=None,
        val_check_interval=steps,
        num_sanity_val_steps=0,
        log_every_n_steps=steps + 1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=10.0,
    )


def _quiet() -> None:
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*LeafSpec.*")


def train(
    folder: Path, method: Method, seeds: Sequence[int]
) -> tuple[HeterogeneousReconstruction, ParticleData, dict[str, float]]:
    """Trains once for each seed and keeps the best by held-out reconstruction."""
    _quiet()
    started = time.perf_counter()
    data = _data(folder, method)
    trainings = train_restarts(
        lambda: method.make_module(data),
        lambda: _data(folder, method),
        lambda: _trainer(method.steps),
        seeds,
    )
    best = best_restart(trainings)
    rows = {"reconstruction": best.score, "seconds": time.perf_counter() - started}
    return cast(HeterogeneousReconstruction, best.module).eval(), data, rows


class HeldOut:
    """Other particles of a simulation: as they are, re-posed, and with other noise."""

    def __init__(self, simulation: Simulation, data: ParticleData) -> None:
        first = Draws.consecutive((simulation.seed, _HELD_OUT_STREAMS[0]), 0, _HELD_OUT)
        second = Draws.consecutive((simulation.seed, _HELD_OUT_STREAMS[1]), 0, _HELD_OUT)
        particles = simulation.describe(first)
        other = simulation.describe(second)
        moved = particles._replace(rotation=other.rotation, translation=other.translation)
        clean, seen_from_there = simulation.clean(particles), simulation.clean(moved)
        images = {
            "own": (simulation.add_noise(clean.clone(), first), particles),
            "noisy": (simulation.add_noise(clean, second), particles),
            "moved": (simulation.add_noise(seen_from_there.clone(), first), moved),
            "moved_noisy": (simulation.add_noise(seen_from_there, second), moved),
        }
        self.factors = particles.factors
        self.rotation = particles.rotation
        self.batches = {
            name: self._batch(data.preprocessing(seen), known._asdict())
            for name, (seen, known) in images.items()
        }

    @staticmethod
    def _batch(images: Tensor, known: dict[str, Tensor | None]) -> ParticleBatch:
        keys = ("rotation", "translation", "ctf", "temperature")
        batch = {key: known[key] for key in keys if known[key] is not None}
        index = torch.arange(len(images))
        return cast(ParticleBatch, {"images": images, "index": index, **batch})

    @torch.no_grad()
    def infer(
        self, model: HeterogeneousReconstruction, name: str
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Means (N, Z), inferred rotations (N, 3, 3) or None, and KL a particle (N,)."""
        means, rotations, kls = [], [], []
        batch = cast(dict[str, Tensor], self.batches[name])
        for start in range(0, _HELD_OUT, 250):
            part = {key: value[start : start + 250] for key, value in batch.items()}
            inference = model.infer(cast(ParticleBatch, part))
            means.append(inference.mean)
            log_variance = inference.log_variance
            kls.append(
                0.5 * (inference.mean.square() + log_variance.expm1() - log_variance).sum(-1)
            )
            if inference.pose is not None:
                rotations.append(inference.pose.rotation)
        return torch.cat(means), torch.cat(rotations) if rotations else None, torch.cat(kls)

    def latents(self, model: HeterogeneousReconstruction) -> dict[str, npt.NDArray[np.floating]]:
        """Of the particles as they are: z, the factors, the true in-plane angle, temperatures."""
        batch = cast(dict[str, Tensor], self.batches["own"])
        columns = {
            "z": self.infer(model, "own")[0],
            "factors": self.factors,
            "angle": _in_plane_angle(self.rotation),
        }
        if "temperature" in batch:
            columns["temperature"] = batch["temperature"]
        return {name: column.numpy() for name, column in columns.items()}


def _in_plane_angle(rotation: Tensor) -> Tensor:
    return torch.atan2(rotation[:, 1, 0], rotation[:, 0, 0])


def _self_consistency(
    model: HeterogeneousReconstruction, batch: ParticleBatch, *, in_plane: bool
) -> dict[str, float]:
    """Eq. 2 on 1,000 particles, decoded with noise at the level of the residuals."""
    few = cast(ParticleBatch, {key: cast(Tensor, value)[:1000] for key, value in batch.items()})
    eq2 = PoseIntervention(
        1.0,
        poses=UniformPoses("so2" if in_plane else "so3"),
        distance=NormalizedDistance(),
        noise_std=EstimatedNoise(),
    )
    with torch.no_grad():
        eq2(model, few, model.infer(few))
    # 1 - cos θ of two random particles is 1 on SO(2) and 1.5 on SO(3).
    chance = 1.0 if in_plane else 1.5
    found = {"eq2_z": float(eq2.terms["conformation"])}
    if "pose" in eq2.terms:
        found["eq2_pose"] = float(eq2.terms["pose"]) / chance
    return found


def scores(model: HeterogeneousReconstruction, held_out: HeldOut) -> dict[str, float]:
    """Truth's view of a model.

    ``mcc`` and ``mcc_spearman`` of z with the true factors; ``r2`` of factors from z, linear;
    ``leak``, R² of z from the true pose by the stronger of two probes, mean over coordinates;
    ``invariance`` and ``noise``, the shares of z's variance that re-posing the true molecule and
    another draw of the noise make, and ``pose_share``, what another pose makes beyond another draw
    of the noise; ``var_z``; ``eq2_z`` and ``eq2_pose``, the terms of Eq. 2 at poses from everywhere
    and with noise, over their values for random other particles; and for inferred in-plane poses
    ``mcc_pose``, the circular correlation with the true angle, and ``mcc_all``, the mean over the
    factors and the pose.
    """
    z, rotation, kl = held_out.infer(model, "own")
    noisy, moved, both_new = (
        held_out.infer(model, name)[0] for name in ("noisy", "moved", "moved_noisy")
    )
    total = 2 * z.var(0).sum().clamp_min(1e-12)
    noise = float((noisy - z).square().sum(-1).mean() / total)
    in_plane = bool((held_out.rotation[:, 2, 2] > 1 - 1e-5).all())
    pose: Tensor = _in_plane_angle(held_out.rotation) if in_plane else held_out.rotation
    leak = pose_leak(z, pose)
    both = torch.stack([leak.linear_r2, leak.nonlinear_r2]).amax(0)
    found = {
        "mcc": float(mcc(z, held_out.factors)),
        "mcc_spearman": float(mcc(z, held_out.factors, correlation="spearman")),
        "r2": float(r2_linear(z, held_out.factors)),
        "leak": float(both.mean()),
        "invariance": float((moved - z).square().sum(-1).mean() / total),
        "noise": noise,
        "pose_share": float((both_new - z).square().sum(-1).mean() / total) - noise,
        "var_z": float(z.var(0).mean()),
        "kl": float(kl.mean()),
    } | _self_consistency(model, held_out.batches["own"], in_plane=in_plane)
    if rotation is not None and in_plane:
        found["mcc_pose"] = float(fisher_lee(_in_plane_angle(rotation), pose).abs())
        count = held_out.factors.shape[1]
        found["mcc_all"] = (count * found["mcc"] + found["mcc_pose"]) / (count + 1)
    return found


def machine() -> str:
    """Commit and machine, for the head of a table."""
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    threads = torch.get_num_threads()
    return (
        f"commit {commit}, {platform.machine()}, {threads} thread(s), torch {torch.__version__}, "
        f"numpy {np.__version__}"
    )


def two_arms_in_plane(
    process: ConformationProcess,
    snr: float,
    mixing: LinearMixing | None = None,
    *,
    heavy_body: bool = False,
    box_size: int = 32,
) -> Simulation:
    """Two arms that move in the image plane, turned in that plane alone, 10,000 images of 136 Å.

    A heavy, long body is for poses to be inferred: of a light one, arms that turn together can't
    be told from a turn of the whole.
    """
    axes = [(-0.1, 0.2, 1.0), (0.2, 0.1, 1.0)]
    molecule = (
        TwoArms((36.0, 28.0), axes=axes, body_radii=(13.0, 30.0, 10.0), body_gaussians=100)
        if heavy_body
        else TwoArms(axes=axes)
    )
    microscope = Microscope(InPlaneViews(), None, None, WhiteNoise(snr))
    return Simulation(
        molecule,
        process,
        microscope,
        mixing=mixing,
        box_size=box_size,
        pixel_size=_BOX_ANGSTROM / box_size,
        seed=1,
    )


_RESULTS = Path(__file__).parent / "results"


def parser(
    description: str | None, *, seeds: int = 5, out: Path = _RESULTS
) -> argparse.ArgumentParser:
    """Options of every experiment."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--scratch", type=Path, required=True, help="Folder for stacks.")
    made.add_argument("--out", type=Path, default=out, help="Folder for tables.")
    made.add_argument("--seeds", type=int, default=seeds, help="How many.")
    made.add_argument("--first-seed", type=int, default=0, help="For a second process.")
    made.add_argument("--methods", nargs="+", help="Only these.")
    return made


def arguments(description: str | None, settings: Sequence[str] = ()) -> argparse.Namespace:
    """Options of an experiment, and which of its settings to run."""
    made = parser(description)
    if settings:
        made.add_argument("--setting", nargs="+", choices=settings, default=list(settings))
    return made.parse_args()


def run(
    title: str,
    simulation: Simulation,
    methods: Sequence[Method],
    options: argparse.Namespace,
    restarts: int = 1,
    diagnose: Callable[[HeterogeneousReconstruction, HeldOut], dict[str, float]] | None = None,
    *,
    keep_latents: bool = False,
) -> None:
    """Trains every method for every seed, appends rows as they come, and prints the table.

    Rows that are there are not trained again. Another seed is another stack as well. ``diagnose``
    adds columns. With ``keep_latents`` the first seed's held-out latents are written to the scratch
    folder, for pictures, and trained for again where they are missing.
    """
    chosen = [m for m in methods if options.methods is None or m.name in options.methods]
    if not chosen:
        names = ", ".join(method.name for method in methods)
        print(f"{title}: none of --methods is here; it has {names}")
        return
    path = options.out / f"{title}.csv"
    done = {(row["method"], row["seed"]) for row in read(path)}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        other = replace(simulation, seed=simulation.seed + 1000 * seed)
        for method in chosen:
            latents = latents_of(options.scratch, title, method.name)
            draws = keep_latents and seed == 0 and not latents.exists()
            known = (method.name, str(seed)) in done
            if known and not draws:
                continue
            folder = write_once(other, options.scratch / f"{title}_{seed}")
            starts = [100 * seed + k for k in range(restarts)]
            model, data, rows = train(folder, method, starts)
            held_out = HeldOut(other, data)
            if draws:
                np.savez(latents, **held_out.latents(model))
            if known:
                continue
            rows |= scores(model, held_out)
            if diagnose is not None:
                rows |= diagnose(model, held_out)
            _append(path, {"method": method.name, "seed": seed, "commit": machine()} | rows)
            shown = {key: round(value, 4) for key, value in rows.items()}
            print(method.name, seed, json.dumps(shown), flush=True)
    print(summarize(path))


def latents_of(scratch: Path, title: str, method: str) -> Path:
    """Where the latents of a method's first seed lie."""
    return scratch / f"{title}_{method.replace(' ', '_')}.npz"


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a table."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _append(path: Path, row: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def summarize(path: Path) -> str:
    """Markdown: for each method the median and, in brackets, the range over seeds."""
    rows = read(path)
    columns = [name for name in rows[0] if name not in ("method", "seed", "commit")]
    names = list(dict.fromkeys(row["method"] for row in rows))
    lines = ["| method | seeds | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for name in names:
        mine = [row for row in rows if row["method"] == name]
        cells = []
        for column in columns:
            values = [float(row[column]) for row in mine if row.get(column)]
            cells.append(
                f"{statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})"
                if values
                else ""
            )
        lines.append(f"| {name} | {len(mine)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)

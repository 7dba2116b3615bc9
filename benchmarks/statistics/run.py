"""Runs a setting from simulation to scores, and appends a row to results.csv.

    python benchmarks/statistics/run.py --setting pairs --seed 0 --scratch SCRATCH

Oracles are posterior means on 4,000 particles that nothing was fitted to: under the true molecule,
and within the subspace with the true factors known for training. ``linear_r2`` is the R² of the
factors with the posterior means of the subspace's coefficients: no learning at all.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from errors import contrast_of, draw_errors, pose_scores, wrong_pose
from held_out import COUNT, STREAM, see_held_out
from learning import Labels, learned, learned_once
from oracles import scores, true_frames, true_molecule, within_subspace
from settings import SETTINGS, Setting
from tables import append, shown
from torch import Tensor

from cryo_disentangle.evaluation.latent_coefficients import coefficients_of_latents
from cryo_disentangle.files.stacks import MrcsWriter
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.simulation import Simulation
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.statistics import StatisticsFolder, make_statistics
from cryo_disentangle.statistics.making import ParticleRows
from cryo_disentangle.statistics.posterior import Likelihood
from cryo_disentangle.statistics.settings import SubspaceSettings
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.views import open_images

RESULTS = Path(__file__).parent / "results.csv"
_BATCH, _HELD_OUT_ERRORS = 250, 12


class Printed:
    """Prints each stage as it begins."""

    def say(self, what: str) -> None:
        """Prints a choice."""
        print(what, flush=True)

    def start(self, what: str, total: int) -> None:
        """Prints a stage."""
        print(f"{time.strftime('%H:%M:%S')} {what} ({total})", flush=True)

    def advance(self, count: int) -> None:
        """Says nothing."""


def write_stack(simulation: Simulation, setting: Setting, folder: Path, error: Tensor) -> None:
    """Writes a stack once, with particles of another contrast where the setting has them."""
    if (folder / "contact_sheet.png").exists():
        return
    simulation.write(folder)
    if not setting.errors.contrast:
        return
    (folder / "particles.mrcs").unlink()
    writer = MrcsWriter(folder / "particles.mrcs", simulation.box_size, simulation.pixel_size)
    with writer:
        for rows in torch.arange(simulation.n_images).split(_BATCH):
            draws = simulation.stack_draws(int(rows[0]), len(rows))
            clean = simulation.clean(simulation.describe(draws))
            clean *= contrast_of(setting.errors, error[rows])
            writer.write(simulation.add_noise(clean, draws).numpy())


def open_stack(folder: Path, setting: Setting, error: Tensor) -> tuple[ParticleRows, ParticleStack]:
    """The particles with poses as a consensus refinement may leave them, and with the true ones."""
    files = {"ctf": folder / "ctf.pkl"}
    true = ParticleStack.open(folder / "particles.mrcs", poses=folder / "poses.pkl", **files)
    pose = wrong_pose(torch.from_numpy(true.rotation), setting.errors, error)
    stack = ParticleStack.open(folder / "particles.mrcs", poses=pose, **files)
    images = open_images(stack, invert=True, norm=None)
    return ParticleRows(images, np.arange(len(stack)), len(stack)), true


def refitted(
    folder: StatisticsFolder,
    rows: ParticleRows,
    setting: Setting,
    options: SubspaceSettings,
    out: Path,
) -> StatisticsFolder:
    """Statistics in volumes that are fitted to latents learned on statistics."""
    latents = out.with_suffix(".npz")
    found = learned_once(folder.statistics, setting)
    np.savez(
        latents, z=found.mean, covariance=found.scale_tril @ found.scale_tril.mT, row=rows.index
    )
    stack = rows.images.stack.path
    known = coefficients_of_latents(latents, rows, stack, degree=setting.degree)
    return make_statistics(rows, out, replace(options, rank=None), Printed(), known)


def run(name: str, seed: int, scratch: Path, rank: int | None) -> dict[str, object]:
    """A setting from simulation to scores."""
    setting = SETTINGS[name]
    simulation = setting.simulate(seed)
    error = draw_errors(setting.errors, simulation.n_images, seed)
    stack = scratch / f"{name}_{seed}"
    write_stack(simulation, setting, stack, error)
    rows, true = open_stack(stack, setting, error)
    options = SubspaceSettings(
        rank=rank or setting.rank,
        largest_rank=setting.largest_rank,
        nuisance=setting.nuisance,
        refine_poses=setting.refine,
        seed=seed,
    )
    out = scratch / f"{name}_{seed}_statistics"
    folder = (
        StatisticsFolder.open(out)
        if out.exists()
        else make_statistics(rows, out, options, Printed())
    )
    if setting.degree is not None:
        out = out.with_name(f"{out.name}_latents")
        folder = refitted(folder, rows, setting, options, out)
    report = json.loads((out / "report.json").read_text())
    merged = Subspace.open(out / "subspace.pt")
    own = Likelihood(
        folder.statistics.precision, folder.statistics.information, folder.statistics.offset
    )
    unseen = see_held_out(
        simulation, setting, rows.images.preprocessing, merged, seed + _HELD_OUT_ERRORS
    )
    known = np.load(stack / "truth.npz")
    factors = torch.from_numpy(known["factors"]).float()
    draws = Draws.consecutive((simulation.seed, STREAM), 0, COUNT)
    oracle = true_molecule if simulation.determined else true_frames
    true_mcc, true_r2 = oracle(simulation, draws)
    calibration = report["calibration"]
    return {
        "setting": name,
        "seed": seed,
        "rank": report["rank"],
        "radius": report["radius"],
        "gain": report["held_out_gain"][report["rank"] - 1],
        "excess": calibration["training"] / calibration["held_out"] - 1,
        "covariance_low": calibration["covariance"][0],
        "covariance_high": calibration["covariance"][1],
        "true_mcc": true_mcc,
        "true_r2": true_r2,
        **within_subspace(own, factors, unseen),
        "linear_r2": scores(unseen.own.posterior().mean, unseen.factors)[1],
        **learned(folder.statistics, Labels.of(known), unseen, setting),
        **pose_scores(folder, torch.from_numpy(true.rotation), setting, error),
        "seconds_subspace": report["seconds"]["subspace"],
        "seconds_statistics": report["seconds"]["statistics"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", choices=sorted(SETTINGS), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rank", type=int, help="else by the held-out likelihood")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for stacks")
    parser.add_argument("--out", type=Path, default=RESULTS, help="table that grows by a row")
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    row = run(options.setting, options.seed, options.scratch, options.rank)
    append(row, options.out)
    for key, value in row.items():
        print(f"{key:24}{shown(value)}")


if __name__ == "__main__":
    main()

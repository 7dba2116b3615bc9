"""Runs a setting from simulation to scores, and appends a row to results.csv.

    python benchmarks/statistics/run.py --setting pairs --seed 0 --scratch SCRATCH

Oracles are posterior means on 4,000 particles that nothing was fitted to: under the true molecule,
and within the subspace with the true factors known for training. ``linear_r2`` is the R² of the
factors with the posterior means of the subspace's coefficients: no learning at all.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import platform
import subprocess
import time
from pathlib import Path

import numpy as np
import roma
import torch
from learning import Labels, learned
from oracles import scores, true_molecule, within_subspace
from settings import SETTINGS, Setting
from torch import Tensor

from cryo_disentangle.files.stacks import MrcsWriter
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.simulation import Simulation
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.statistics import StatisticsFolder, make_statistics
from cryo_disentangle.statistics.expectation import expectation
from cryo_disentangle.statistics.gathering import Gathering
from cryo_disentangle.statistics.making import ParticleRows
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.posterior import Likelihood
from cryo_disentangle.statistics.settings import SubspaceSettings
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.views import ParticleViews, open_images
from cryo_disentangle.types import Pose

RESULTS = Path(__file__).parent / "results.csv"
_HELD_OUT, _BATCH, _REFINEMENTS = 4000, 250, 3
_STREAM, _ERRORS = 11, 12


class Printed:
    """Prints each stage as it begins."""

    def start(self, what: str, total: int) -> None:
        """Prints a stage."""
        print(f"{time.strftime('%H:%M:%S')} {what} ({total})", flush=True)

    def advance(self, count: int) -> None:
        """Says nothing."""


def errors_of(nuisance: Nuisance, count: int, seed: int) -> Tensor:
    """Errors of poses and contrast in standard deviations, shape (N, Q)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, nuisance.count, generator=generator)


def wrong_pose(rotation: Tensor, nuisance: Nuisance, error: Tensor) -> Pose:
    """A pose that errors would correct to the true one."""
    shift, turn = nuisance.split(error)
    return Pose(roma.rotvec_to_rotmat(-turn) @ rotation, -shift if nuisance.shift else None)


def contrast_of(nuisance: Nuisance, error: Tensor) -> Tensor:
    """Factor of each particle's contrast, shape (N, 1, 1)."""
    change = error[:, -1] * nuisance.contrast if nuisance.contrast else error.new_zeros(len(error))
    return 1 + change[:, None, None]


def write_stack(simulation: Simulation, setting: Setting, folder: Path, error: Tensor) -> None:
    """Writes a stack once, with particles of another contrast where the setting has them."""
    if (folder / "contact_sheet.png").exists():
        return
    simulation.write(folder)
    if not setting.errors.contrast:
        return
    (folder / "particles.mrcs").unlink()
    writer = MrcsWriter(folder / "particles.mrcs", simulation.pixel_size)
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


@torch.no_grad()
def held_out(
    simulation: Simulation, setting: Setting, rows: ParticleRows, subspace: Subspace
) -> tuple[Likelihood, Tensor, Tensor]:
    """Statistics, factors and views of particles that nothing was fitted to."""
    draws = Draws.consecutive((simulation.seed, _STREAM), 0, _HELD_OUT)
    particles = simulation.describe(draws)
    error = errors_of(setting.errors, _HELD_OUT, simulation.seed + _ERRORS)
    clean = simulation.clean(particles) * contrast_of(setting.errors, error)
    images = rows.images.preprocessing(simulation.add_noise(clean, draws))
    pose = wrong_pose(particles.rotation, setting.errors, error)
    gathering = Gathering((subspace, subspace), setting.nuisance)
    parts = []
    for some in torch.arange(_HELD_OUT).split(_BATCH):
        batch = {"images": images[some], "index": some, "rotation": pose.rotation[some]}
        batch["ctf"] = particles.ctf[some]
        if pose.translation is not None:
            batch["translation"] = pose.translation[some]
        views = ParticleViews.of(batch, subspace.grid.disc, subspace.box_size)
        found = refined(gathering, views) if setting.refine else None
        start = torch.zeros(len(some), setting.nuisance.count) if found is None else found
        parts.append(gathering.gather(0, views, start).likelihood)
    found = Likelihood(*(torch.cat(part) for part in zip(*parts, strict=True)))
    return found, particles.factors, particles.rotation


def refined(gathering: Gathering, views: ParticleViews) -> Tensor:
    """Errors of poses by a few steps, shape (B, Q)."""
    nuisance, subspace = gathering.nuisance, gathering.subspaces[0]
    error = torch.zeros(len(views.rotation), nuisance.count)
    white = views.whitened(subspace.point_noise)
    for _ in range(_REFINEMENTS):
        moved = nuisance.corrected(white, error, subspace.grid)
        error = expectation(subspace.grid, subspace.paired, moved, nuisance, error)[1]
        error[:, nuisance.pose_count :] = 0
    return error


def pose_scores(
    folder: StatisticsFolder, true: ParticleStack, setting: Setting, error: Tensor
) -> dict[str, float]:
    """Error variances of refined poses over what consensus left, and over what they predict."""
    nuisance = setting.nuisance
    if not setting.refine:
        return {}
    left = np.load(folder.path / "pose_error.npy")
    predicted = np.load(folder.path / "pose_deviation.npy") ** 2
    found: dict[str, float] = {}
    if nuisance.shift:
        ratio = np.mean((error.numpy() - left)[:, :2] ** 2)
        found |= {"shift_error": ratio, "shift_over_predicted": ratio / predicted[:, :2].mean()}
    if nuisance.rotation:
        first = 2 if nuisance.shift else 0
        given = wrong_pose(torch.from_numpy(true.rotation), setting.errors, error).rotation
        _, turn = nuisance.split(torch.from_numpy(left))
        rotation = roma.rotvec_to_rotmat(turn) @ given
        # Up to a rotation of the whole frame, one for each half set.
        truth, half = torch.from_numpy(true.rotation), folder.statistics.half
        for number in (0, 1):
            mine = half == number
            frame = roma.special_procrustes((rotation[mine].mT @ truth[mine]).mean(0))
            rotation[mine] = rotation[mine] @ frame
        angles = roma.rotmat_to_rotvec(truth @ rotation.mT) / math.radians(nuisance.rotation)
        ratio = float(angles.square().mean())
        spread = predicted[:, first : first + 3].mean()
        found |= {"rotation_error": ratio, "rotation_over_predicted": ratio / spread}
    return found


def run(name: str, seed: int, scratch: Path, rank: int | None) -> dict[str, object]:
    """A setting from simulation to scores."""
    setting = SETTINGS[name]
    simulation = setting.simulate(seed)
    error = errors_of(setting.errors, simulation.n_images, seed)
    stack = scratch / f"{name}_{seed}"
    write_stack(simulation, setting, stack, error)
    rows, true = open_stack(stack, setting, error)
    options = SubspaceSettings(
        rank=rank, nuisance=setting.nuisance, refine_poses=setting.refine, seed=seed
    )
    out = scratch / f"{name}_{seed}_statistics"
    folder = (
        StatisticsFolder.open(out)
        if out.exists()
        else make_statistics(rows, out, options, Printed())
    )
    report = json.loads((out / "report.json").read_text())
    merged = Subspace.open(out / "subspace.pt")
    own = Likelihood(
        folder.statistics.precision, folder.statistics.information, folder.statistics.offset
    )
    others, truth, view = held_out(simulation, setting, rows, merged)
    known = np.load(stack / "truth.npz")
    factors = torch.from_numpy(known["factors"]).float()
    draws = Draws.consecutive((simulation.seed, _STREAM), 0, _HELD_OUT // 2)
    true_mcc, true_r2 = true_molecule(simulation, draws)
    oracle_mcc, oracle_r2 = within_subspace(own, factors, others, truth)
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
        "oracle_mcc": oracle_mcc,
        "oracle_r2": oracle_r2,
        "linear_r2": scores(others.posterior().mean, truth)[1],
        **learned(folder.statistics, Labels.of(known), others, truth, view),
        **pose_scores(folder, true, setting, error),
        "seconds_subspace": report["seconds"]["subspace"],
        "seconds_statistics": report["seconds"]["statistics"],
    }


COLUMNS = [
    *("setting", "seed", "rank", "radius", "gain", "excess", "covariance_low", "covariance_high"),
    *("true_mcc", "true_r2", "oracle_mcc", "oracle_r2", "linear_r2"),
    *("mcc", "mcc_worst", "mcc_unnamed", "r2", "view_leak", "determined"),
    *("shift_error", "shift_over_predicted", "rotation_error", "rotation_over_predicted"),
    *("seconds_subspace", "seconds_statistics", "seconds_learning", "commit", "machine", "threads"),
]


def shown(value: object) -> object:
    """A number to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else value


def append(row: dict[str, object], path: Path) -> None:
    """Adds a row, with commit and machine, to a table."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    row |= {"commit": commit, "machine": platform.machine(), "threads": torch.get_num_threads()}
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(
            {
                key: f"{value:.4g}" if isinstance(value, float) else value
                for key, value in row.items()
            }
        )


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

"""Poses that are not known: how far a search gets, and what is then left of the conformations.

    python benchmarks/statistics/unknown_poses.py --scratch SCRATCH [--settings coarse_8 in_plane]

Adenylate kinase, views and CTFs of EMPIAR-10076, pairs of frames. ``coarse_8`` has rotations that
are off by 8° about each axis and shifts by 5 Å; ``coarse_12`` and ``coarse_20`` by more; of
``in_plane`` the view directions are known and the angles about the beam are not at all. Each is
done with true poses, with the poses given, by derivatives alone (``refine_poses``), and by
hypotheses before (``search``). Errors are medians in degrees up to a rotation of each half's frame
and, of unknown in-plane angles, the hand.
``oracle_mcc`` and ``oracle_r2`` are what the statistics hold: posterior means within the subspace,
the true factors known in fitting the map from factors to coefficients. ``in_plane`` also teaches
pose heads, with Algorithm 1 and without. Rows go to unknown_poses.csv as they come; those that are
there are kept.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import roma
import torch
from errors import draw_errors, wrong_pose
from oracles import scores
from pose_heads import Taught, taught_rotations
from run import Printed, write_stack
from settings import Setting, adenylate_kinase
from tables import append, read, shown
from torch import Tensor

from cryo_disentangle.geometry import in_plane_rotation
from cryo_disentangle.geometry.rotations import geodesic_distance
from cryo_disentangle.metrics.functional.oracle import fit_factor_mixture, posterior_means
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.pickles import read_poses
from cryo_disentangle.statistics import StatisticsFolder, make_statistics
from cryo_disentangle.statistics.hypotheses import PoseSearch
from cryo_disentangle.statistics.making import ParticleRows
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.posterior import Likelihood
from cryo_disentangle.statistics.settings import SubspaceSettings
from cryo_disentangle.statistics.views import ParticleViews, open_images, view_batches
from cryo_disentangle.types import Pose

RESULTS = Path(__file__).parent / "unknown_poses.csv"
_BOX_ANGSTROM, _SHIFT_ANGSTROM = 108.8, 5.1
# Errors that a search leaves, to be refined by derivatives.
_LEFT_DEGREES, _LEFT_ANGSTROM = 4.0, 1.7
# Of the polynomials from factors to coefficients.
_DEGREE = 3
_HEAD_STEPS = 800
_HALF_TURN = in_plane_rotation(torch.tensor(math.pi))


@dataclass(frozen=True)
class Start:
    """What poses a run begins with.

    Attributes:
        rotation: Standard deviation of the error about each axis in degrees.
        in_plane: Whether angles about the beam are drawn at random.
    """

    rotation: float = 0.0
    in_plane: bool = False


STARTS = {
    "coarse_8": Start(8.0),
    "coarse_12": Start(12.0),
    "coarse_20": Start(20.0),
    "in_plane": Start(in_plane=True),
}


@dataclass(frozen=True)
class Case:
    """A simulated stack and where its poses start.

    Attributes:
        name: Of the setting.
        seed: Of the simulation and the errors.
        folder: Of the stack.
        box: Image side in pixels.
        snr: Signal-to-noise ratio.
        count: Number of particles.
    """

    name: str
    seed: int
    folder: Path
    box: int
    snr: float
    count: int
    start: Start = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", STARTS[self.name])

    @property
    def pixel(self) -> float:
        """Å per pixel."""
        return _BOX_ANGSTROM / self.box

    @property
    def errors(self) -> Nuisance:
        """Standard deviations of the start's errors."""
        shift = 0.0 if self.start.in_plane else _SHIFT_ANGSTROM / self.pixel
        return Nuisance(shift=shift, rotation=self.start.rotation)

    def true(self) -> ParticleStack:
        """The particles with true poses, simulated if they are missing."""
        setting: Setting = adenylate_kinase(self.snr, box_size=self.box, count=self.count)
        write_stack(setting.simulate(self.seed), setting, self.folder, torch.zeros(self.count, 0))
        files = {"poses": self.folder / "poses.pkl", "ctf": self.folder / "ctf.pkl"}
        return ParticleStack.open(self.folder / "particles.mrcs", **files)

    def given(self, true: ParticleStack) -> Pose:
        """The poses that a run begins with."""
        rotation = torch.from_numpy(true.rotation)
        if self.start.in_plane:
            generator = torch.Generator().manual_seed(self.seed)
            angle = 2 * math.pi * torch.rand(len(rotation), generator=generator)
            return Pose(in_plane_rotation(angle) @ rotation)
        return wrong_pose(rotation, self.errors, draw_errors(self.errors, self.count, self.seed))

    def methods(self) -> Iterator[tuple[str, SubspaceSettings]]:
        """Settings of each way to go about it."""
        left = Nuisance(_LEFT_ANGSTROM / self.pixel * (self.errors.shift > 0), _LEFT_DEGREES)
        search = PoseSearch(self.start.rotation, self.errors.shift, self.start.in_plane)
        yield (
            "search",
            SubspaceSettings(nuisance=left, refine_poses=True, search=search, seed=self.seed),
        )
        if not self.start.in_plane:
            yield (
                "derivatives",
                SubspaceSettings(nuisance=self.errors, refine_poses=True, seed=self.seed),
            )
        yield "given", SubspaceSettings(seed=self.seed)
        yield "true", SubspaceSettings(seed=self.seed)


def aligned(rotation: Tensor, truth: Tensor, half: Tensor) -> Tensor:
    """Rotations in the frame of the true ones, each half set in its own."""
    found = rotation.clone()
    for number in (0, 1):
        mine = half == number
        frame = roma.special_procrustes((rotation[mine].mT @ truth[mine]).sum(0))
        found[mine] = rotation[mine] @ frame
    return found


def errors(rotation: Tensor, truth: Tensor, half: Tensor) -> Tensor:
    """Angles to the true rotations in degrees, up to a rotation of each half's frame and the hand.

    The inverted molecule has the same images, all turned by half a circle.
    """
    both = (rotation, _HALF_TURN @ rotation)
    found = [geodesic_distance(aligned(each, truth, half), truth).rad2deg() for each in both]
    return min(found, key=lambda each: float(each.median()))


def refined(folder: StatisticsFolder, given: Pose, box: int) -> Pose:
    """Poses of a folder of statistics, which are those given where none were refined."""
    path = folder.path / "poses.pkl"
    if not path.is_file():
        return given
    rotation, fraction = read_poses(path)
    shift = None if fraction is None else torch.from_numpy(fraction).float() * (box + 1)
    return Pose(torch.from_numpy(rotation).float(), shift)


def done(case: Case, name: str, options: SubspaceSettings, scratch: Path) -> dict[str, object]:
    """Makes statistics by a method, and scores them."""
    true = case.true()
    truth = torch.from_numpy(true.rotation)
    given = Pose(truth) if name == "true" else case.given(true)
    images = open_images(true.posed(given), invert=True, norm=None)
    out = scratch / f"{case.folder.name}_{case.name}_{name}"
    if not out.exists():
        rows = ParticleRows(images, np.arange(case.count), case.count)
        make_statistics(rows, out, options, Printed())
    folder = StatisticsFolder.open(out)
    kept, pose = folder.statistics, refined(folder, given, case.box)
    own = Likelihood(kept.precision, kept.information, kept.offset)
    factors = torch.from_numpy(np.load(case.folder / "truth.npz")["factors"]).float()
    mixture = fit_factor_mixture(factors, own.information, own.precision, _DEGREE)
    mcc, r2 = scores(posterior_means(mixture, factors, own.information, own.precision), factors)
    found = errors(pose.rotation, truth, kept.half)
    shift = torch.zeros(case.count, 2) if pose.translation is None else pose.translation
    return {
        "start_error": float(errors(given.rotation, truth, kept.half).median()),
        "end_error": float(found.median()),
        "beyond_20": float((found > 20).float().mean()),
        "shift_error": float((shift - shift.mean(0)).square().mean().sqrt()),
        "rank": kept.rank,
        "radius": folder.subspace().radius,
        "oracle_mcc": mcc,
        "oracle_r2": r2,
        "linear_r2": scores(own.posterior().mean, factors)[1],
        "seconds": sum(json.loads((out / "report.json").read_text())["seconds"].values()),
    }


def taught_heads(case: Case, scratch: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Pose heads taught with what the search found."""
    true = case.true()
    folder = StatisticsFolder.open(scratch / f"{case.folder.name}_{case.name}_search")
    subspace, kept = folder.subspace(), folder.statistics
    images = open_images(true, invert=True, norm=subspace.norm)
    batches = view_batches(images, subspace.grid.disc, torch.arange(case.count))
    views = ParticleViews(*(torch.cat(part) for part in zip(*(v for _, v in batches), strict=True)))
    posterior = Likelihood(kept.precision, kept.information, kept.offset).posterior()
    found = refined(folder, Pose(views.rotation), case.box).rotation
    views = views._replace(rotation=found).whitened(subspace.point_noise)
    taught = Taught(subspace, views, posterior.mean, posterior.covariance)
    truth = torch.from_numpy(true.rotation)
    start = float(errors(case.given(true).rotation, truth, kept.half).median())
    for name, interventions in (("head", False), ("head, interventions", True)):
        began = time.perf_counter()
        read, unseen = taught_rotations(
            taught, interventions=interventions, steps=_HEAD_STEPS, seed=case.seed
        )
        left = errors(read, truth[unseen], kept.half[unseen])
        yield (
            name,
            {
                "start_error": start,
                "end_error": float(left.median()),
                "beyond_20": float((left > 20).float().mean()),
                "seconds": time.perf_counter() - began,
            },
        )


def results(case: Case, scratch: Path, known: set[str]) -> Iterator[tuple[str, dict[str, object]]]:
    """Rows of a case that are not known yet."""
    for name, options in case.methods():
        if name in known:
            continue
        try:
            yield name, done(case, name, options, scratch)
        except ValueError as error:
            # Poses as given may show no heterogeneity at all.
            print(f"{case.name} {name}: {error}", flush=True)
            yield name, {}
    if case.start.in_plane and "head" not in known:
        yield from taught_heads(case, scratch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", choices=sorted(STARTS), nargs="+", default=sorted(STARTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--box", type=int, default=32)
    parser.add_argument("--snr", type=float, default=0.4)
    parser.add_argument("--count", type=int, default=6000)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for stacks")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.scratch.mkdir(parents=True, exist_ok=True)
    size = {"particles": options.count, "box": options.box, "snr": options.snr}
    for seed in options.seeds:
        for name in options.settings:
            key = {"setting": name, "seed": seed}
            rows = read(options.out)
            same = {k: str(v) for k, v in (key | size).items()}
            known = {row["method"] for row in rows if same.items() <= row.items()}
            folder = options.scratch / f"adk_{options.box}_{options.snr:g}_{options.count}_{seed}"
            case = Case(name, seed, folder, options.box, options.snr, options.count)
            for method, found in results(case, options.scratch, known):
                row = key | {"method": method} | size | found
                append(row, options.out)
                print(*(f"{key} {shown(value)}" for key, value in row.items()), flush=True)


if __name__ == "__main__":
    main()

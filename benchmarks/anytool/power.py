"""False alarms and power of the judge of latents: ten kinds of latents on real views.

    python benchmarks/anytool/power.py empiar_poses_ctf.npz [--draws 100] [--particles 4000]

The views are those of EMPIAR-10076 (unit quaternions ``quat_xyzw_10076``). Draw n of kind k has the
seed 1000 k + n. Writes results/power.csv after each round of draws, one of each kind.
"""

from __future__ import annotations

import argparse
import csv
import platform
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from cryo_disentangle.files.paths import replacing
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.particle_groups import measure_groups, measure_shape
from cryo_disentangle.judgement.particle_scores import describe_coordinates, measure_leaks
from cryo_disentangle.judgement.scores import Measurement
from cryo_disentangle.judgement.verdict import Verdict, judge

WIDTH = 4
RESULTS = Path(__file__).parent / "results"
HEADER = (
    *("latents", "what", "alarms", "draws", "particles"),
    *("cpu_seconds_a_draw", "commit", "machine"),
)
# Whether the judge should say something.
KINDS = {
    "honest": False,
    "mean 5 %": True,
    "mean 10 %": True,
    "mean 25 %": True,
    "spread 1.25": True,
    "spread 2": True,
    "collapse": True,
    "clusters are views": True,
    "outliers": True,
    "honest, uncertainty follows view": False,
}


def draw(kind: str, view: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Latents of a kind and, where it has some, the logarithm of their variances."""
    count = len(view)
    z = generator.normal(size=(count, WIDTH))
    axis = Rotation.random(random_state=generator).as_matrix()[0]
    along = np.abs(view @ axis)
    smooth = (along - along.mean()) / along.std()
    side = 2 * (along - along.min()) / np.ptp(along) - 1
    what, _, number = kind.rpartition(" ") if "%" not in kind else ("mean", "", kind.split()[1])
    if what == "mean":
        share = float(number) / 100
        z[:, 0] = np.sqrt(1 - share) * z[:, 0] + np.sqrt(share) * smooth
    elif what == "spread":
        z *= np.exp(0.5 * np.log(float(number)) * side)[:, None]
    elif kind == "collapse":
        return 0.01 * z, np.full_like(z, -0.001)
    elif kind == "clusters are views":
        z[:, 0] += 5 * (along > np.median(along))
    elif kind == "outliers":
        far = generator.choice(count, count // 200, replace=False)
        z[far] *= 8
    elif kind.startswith("honest,"):
        variance = 0.35 + 0.25 * side
        return z * np.sqrt(1 - variance)[:, None], np.log(variance)[:, None].repeat(WIDTH, 1)
    return (z,)


def alarm(kind: str, found: Verdict) -> bool:
    """Whether what is wrong was found, or of honest latents anything."""
    leak = found.verdict in ("partly viewing direction", "viewing direction")
    said = " ".join(found.reasons)
    if kind.startswith("mean") or kind.startswith("spread"):
        return leak
    if kind == "collapse":
        return found.verdict == "nothing"
    if kind == "clusters are views":
        return "views rather than states" in said
    if kind == "outliers":
        return "outliers" in said
    return leak or found.verdict == "nothing" or "outliers" in said or "peaks" in said


def judged(kind: str, rotation: np.ndarray, seed: int) -> Verdict:
    """The verdict on one draw."""
    particles = InferredParticles.of(
        *draw(kind, rotation[:, 2], np.random.default_rng(seed)),
        rotation=rotation,
    )
    measured = Measurement(0)
    measure_leaks(measured, particles)
    measure_groups(measured, particles, {})
    describe_coordinates(measured, particles)
    measure_shape(measured, particles)
    return judge(measured.scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("views", type=Path)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--particles", type=int, default=4000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with np.load(options.views) as archive:
        rotation = Rotation.from_quat(archive["quat_xyzw_10076"]).as_matrix()
    git = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    said = dict.fromkeys(KINDS, 0)
    begin = time.process_time()
    for number in range(options.draws):
        for place, kind in enumerate(KINDS):
            seed = 1000 * place + number
            chosen = np.random.default_rng(seed).choice(
                len(rotation), options.particles, replace=False
            )
            said[kind] += alarm(kind, judged(kind, rotation[chosen], seed))
        seconds = (time.process_time() - begin) / (number + 1) / len(KINDS)
        print(number + 1, list(said.values()), f"{seconds:.1f} s a draw", flush=True)
        write(said, (number + 1, options.particles, f"{seconds:.1f}", commit, platform.machine()))


def write(said: dict[str, int], how: tuple[object, ...]) -> None:
    """Writes the table of what has been judged so far."""
    with replacing(RESULTS / "power.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for kind, alarms in said.items():
            writer.writerow((kind, "power" if KINDS[kind] else "false alarms", alarms, *how))


if __name__ == "__main__":
    main()

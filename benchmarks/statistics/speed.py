"""How fast and in how much memory one pass over images makes statistics.

    python benchmarks/statistics/speed.py [--box 64] [--radius 18] [--rank 5] [--out speed.csv]

Stacks are of noise: a pass takes as long whatever images show. A row for each of

    slices  K + 1 volumes sliced at the particles' rotations up to the radius, nothing else
    pass    images read, transformed, moved, CTFs, slices, products, written; `share` is the rate of
            slices that is left
    two     the same in two processes; `share` is the gain over one, twice at best
    large   ``--times`` as many particles, whose STAR file names each image of the same stack so
            many times: what grows with the number of particles is all there, and the disk is spared

each in a process of its own with one thread. Rates are of CPU seconds (of the slower process where
there are two), which other work on a machine hardly changes; `seconds` were taken by the clock.
`memory` is the peak of RssAnon in MiB (Linux).
"""

from __future__ import annotations

import argparse
import csv
import platform
import shutil
import subprocess
import tempfile
import threading
import time
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch.multiprocessing import get_context

from cryo_disentangle.files.stacks import MrcsWriter
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.export import write_particles_star
from cryo_disentangle.statistics.gathering import Gathering
from cryo_disentangle.statistics.grid import SliceGrid
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.origin import StatisticsOrigin
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.views import open_images
from cryo_disentangle.statistics.writing import StatisticsWriter

STACK_MIB, PIXEL_SIZE, BATCH = 200, 1.7, 64
COLUMNS = ["what", "box", "radius", "rank", "nuisance", "particles", "seconds", "cpu_seconds"]
COLUMNS += ["rate", "share", "memory", "commit", "machine"]


def write_stack(folder: Path, box_size: int, times: int) -> None:
    """Writes a stack of noise, and STAR files that name its images once and several times."""
    count = STACK_MIB * 2**20 // (4 * box_size**2)
    generator = torch.Generator().manual_seed(0)
    with MrcsWriter(folder / "particles.mrcs", box_size, PIXEL_SIZE) as writer:
        for rows in torch.arange(count).split(256):
            images = torch.randn(len(rows), box_size, box_size, generator=generator)
            writer.write(images.numpy())
    for name, repeated in (("once", 1), ("large", times)):
        total = count * repeated
        ctf = np.tile(np.float32([box_size, PIXEL_SIZE, 0, 0, 30, 300, 2.7, 0.1, 0]), (total, 1))
        defocus = 5e3 + 2e4 * torch.rand(total, 1, generator=generator)
        ctf[:, 2:4] = defocus.numpy()
        write_particles_star(
            folder / f"{name}.star",
            [f"{row % count + 1:06d}@particles.mrcs" for row in range(total)],
            box_size=box_size,
            pixel_size=PIXEL_SIZE,
            rotation=random_rotations(total, generator=generator).numpy(),
            translation_px=torch.randn(total, 2, generator=generator).numpy(),
            ctf=ctf,
        )


def random_subspace(options: argparse.Namespace) -> Subspace:
    """Volumes of noise."""
    side = 2 * options.radius + 3
    nodes = torch.randn(side**3, options.rank + 1, generator=torch.Generator().manual_seed(1))
    noise = torch.ones(options.radius + 1)
    return Subspace(0.01 * nodes, noise, options.box, PIXEL_SIZE, options.radius)


class PeakMemory(threading.Thread):
    """Watches this process' anonymous memory."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0.0
        self.start()

    def run(self) -> None:
        """Looks every 20 ms."""
        while True:
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon"):
                    self.peak = max(self.peak, int(line.split()[1]) / 1024)
            time.sleep(0.02)


def slices(star: Path, options: argparse.Namespace) -> int:
    """Slices alone."""
    subspace = random_subspace(options)
    grid = SliceGrid(options.box, options.radius)
    rotation = torch.from_numpy(ParticleStack.open(star).rotation)
    begin()
    for some in rotation.split(BATCH):
        grid.read(grid.at(some), subspace.paired)
    return len(rotation)


def whole_pass(star: Path, options: argparse.Namespace) -> int:
    """The pass, of this process's share of the particles."""
    images = open_images(ParticleStack.open(star), invert=True, norm=1.0)
    count, subspace = len(images), random_subspace(options)
    origin = StatisticsOrigin("", (1.0,), str(star), "", count, options.box, PIXEL_SIZE)
    half = torch.arange(count) % 2
    rotation = images.stack.rotation
    out = star.parent / f"{star.stem}_of_{dist.get_world_size() if dist.is_initialized() else 1}"
    if dist.is_initialized() and dist.get_rank():
        dist.barrier()
    writer = StatisticsWriter(out, origin, np.arange(count), half.numpy(), rotation, options.rank)
    if dist.is_initialized() and not dist.get_rank():
        dist.barrier()
    nuisance = Nuisance(*options.nuisance)
    gathering = Gathering((subspace, subspace), nuisance)
    begin()
    gathering.run(images, half, torch.zeros(count, nuisance.count), writer)
    return count


STARTED: list[float] = []


def begin() -> None:
    """Begins to take the time."""
    STARTED[:] = [time.perf_counter(), time.process_time()]


class Work(Protocol):
    """What is measured."""

    def __call__(self, star: Path, options: argparse.Namespace) -> int:
        """Works on the particles of a file; their number."""
        ...


def _child(
    work: Work, star: Path, options: argparse.Namespace, rank: int, count: int, out: Queue[Any]
) -> None:
    """Runs the work in a process, and says what it took."""
    torch.set_num_threads(1)
    if count > 1:
        store = f"file://{star.parent / 'store'}"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=count)
    memory = PeakMemory()
    with torch.no_grad():
        particles = work(star, options)
    wall, cpu = time.perf_counter() - STARTED[0], time.process_time() - STARTED[1]
    out.put((particles, wall, cpu, memory.peak))
    if count > 1:
        dist.destroy_process_group()


def measured(work: Work, star: Path, options: argparse.Namespace, count: int = 1) -> dict[str, Any]:
    """Runs the work in processes of its own."""
    context = get_context("spawn")
    out = context.Queue()
    processes = [
        context.Process(target=_child, args=(work, star, options, rank, count, out))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise SystemExit(f"a process ended with {process.exitcode}")
    found = [out.get() for _ in processes]
    particles, wall, cpu, memory = (max(values) for values in zip(*found, strict=True))
    return {
        "particles": particles,
        "seconds": wall,
        "cpu_seconds": cpu,
        "rate": particles / cpu,
        "memory": memory,
    }


def rows(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """All measurements."""
    write_stack(folder, options.box, options.times)
    once = folder / "once.star"
    found = []
    for _ in range(options.repeats):
        bare, one = (measured(work, once, options) for work in (slices, whole_pass))
        two = measured(whole_pass, once, options, 2)
        for left in (*folder.glob(".once_of_*"), folder / "store"):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(
                missing_ok=True
            )
        one["share"] = one["rate"] / bare["rate"]
        two["share"] = two["rate"] / one["rate"]
        found += [{"what": "slices"} | bare, {"what": "pass"} | one, {"what": "two"} | two]
    if options.times > 1:
        large = measured(whole_pass, folder / "large.star", options)
        large["share"] = large["memory"] / one["memory"]
        found.append({"what": "large"} | large)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--box", type=int, default=64, help="pixels")
    parser.add_argument("--radius", type=int, default=18, help="Fourier pixels")
    parser.add_argument("--rank", type=int, default=5)
    parser.add_argument("--nuisance", type=float, nargs=3, default=(0.0, 0.0, 0.0))
    parser.add_argument("--times", type=int, default=1, help="size of the large stack; 1 is none")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "speed.csv")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = rows(options, Path(folder))
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    about = {"box": options.box, "radius": options.radius, "rank": options.rank}
    about |= {"nuisance": " ".join(f"{value:g}" for value in options.nuisance)}
    about |= {"commit": commit, "machine": platform.machine()}
    new = not options.out.exists()
    with options.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        for row in found:
            shown = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()}
            writer.writerow(about | shown)
            print(" ".join(f"{k}={v}" for k, v in shown.items()))


if __name__ == "__main__":
    main()

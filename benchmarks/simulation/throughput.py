"""Images per second of the simulator, and how close that comes to the matrix product's rate.

    python benchmarks/simulation/throughput.py --threads 2 --out benchmarks/simulation/throughput.md

Every rate is the best of some short bursts, since other processes may share the machine.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cryo_disentangle.simulation import (
    AdenylateKinase,
    ColouredNoise,
    ContrastTransferRange,
    GaussianMolecule,
    Microscope,
    NormalShifts,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.simulation.output import simulate_chunks

CLEAN = Microscope(UniformViews(), NormalShifts(0.5))
NOISY = replace(CLEAN, ctf=ContrastTransferRange(), noise=WhiteNoise(0.1))
COLOURED = replace(NOISY, noise=ColouredNoise(0.1, [1.0 + 30 / (1 + r) for r in range(65)], 128))


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    molecule: GaussianMolecule
    microscope: Microscope
    box_size: int
    pixel_size: float
    images: int

    @property
    def simulation(self) -> Simulation:
        """What is measured."""
        factors = UniformFactors(2, 0.0, 1.0)
        sizes = (self.images, self.box_size, self.pixel_size)
        return Simulation(self.molecule, factors, self.microscope, *sizes, seed=0)

    @property
    def flop(self) -> int:
        """Arithmetic of the matrix product of one image."""
        return 2 * len(self.molecule.weights) * self.box_size**2


CASES = [
    Case("two arms, clean", TwoArms(), CLEAN, 32, 4.25, 60_000),
    Case("two arms, CTF, white noise", TwoArms(), NOISY, 32, 4.25, 30_000),
    Case("two arms, CTF, white noise", TwoArms(), NOISY, 64, 2.125, 8_000),
    Case("adenylate kinase, clean", AdenylateKinase(), CLEAN, 64, 1.6, 4_000),
    Case("adenylate kinase, CTF, white noise", AdenylateKinase(), NOISY, 64, 1.6, 4_000),
    Case("adenylate kinase, CTF, coloured noise", AdenylateKinase(), COLOURED, 64, 1.6, 4_000),
    Case("adenylate kinase, CTF, white noise", AdenylateKinase(), NOISY, 128, 0.8, 1_200),
    Case("adenylate kinase, CTF, white noise", AdenylateKinase(), NOISY, 256, 0.4, 300),
]


def best(action: Callable[[], object], repeats: int) -> float:
    """Shortest time of some repeats in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
        # Lets a burst of somebody else's work pass.
        time.sleep(0.5)
    return min(times)


def simulate(simulation: Simulation) -> None:
    """Makes all images and forgets them."""
    for _ in simulate_chunks(simulation):
        pass


def product_rate(case: Case, threads: int, repeats: int) -> float:
    """GFLOP/s of the same matrix products and nothing else, on as many threads."""
    count = len(case.molecule.weights)
    batch = max(1, 2**19 // (count * case.box_size))
    steps = max(1, 2 * 10**9 // (batch * case.flop))

    def multiply(_: int) -> None:
        rows = torch.rand(batch, count, case.box_size)
        columns = torch.rand(batch, count, case.box_size)
        for _ in range(steps):
            torch.bmm(rows.transpose(1, 2), columns)

    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        seconds = best(lambda: list(pool.map(multiply, range(threads))), repeats)
    return threads * steps * batch * case.flop / seconds / 1e9


def row(case: Case, threads: int, repeats: int) -> tuple[str, float]:
    """Measures one case."""
    simulation = case.simulation
    _ = simulation.noise_std
    rate = case.images / best(lambda: simulate(simulation), repeats)
    limit = product_rate(case, threads, repeats) * 1e9 / case.flop
    cells = (
        case.name,
        f"{len(case.molecule.weights):,}",
        case.box_size,
        f"{rate:,.0f}",
        f"{limit:,.0f}",
        f"{100 * rate / limit:.0f} %",
    )
    return "| " + " | ".join(map(str, cells)) + " |", rate


def written(case: Case, repeats: int) -> tuple[float, float]:
    """Images per second with all files written, and bytes per image beside the pixels."""
    rates, extra = [], 0.0
    for _ in range(repeats):
        out = Path(tempfile.mkdtemp())
        start = time.perf_counter()
        case.simulation.write(out)
        rates.append(case.images / (time.perf_counter() - start))
        files = {path.name: path.stat().st_size for path in out.iterdir()}
        extra = (
            sum(files.values()) - files["particles.mrcs"] - files["contact_sheet.png"]
        ) / case.images
        shutil.rmtree(out)
    return max(rates), extra


def big_stack(threads: int, rate: float) -> list[str]:
    """What a million particles cost."""
    case = replace(CASES[6], images=1_000_000)
    _, extra = written(replace(CASES[6], images=2_000), 1)
    pixels = case.images * case.box_size**2 * 4 / 1e9
    return [
        f"1,000,000 particles of adenylate kinase at D = 128 with CTF and noise, from the rates "
        f"above, on {threads} cores: {case.images / rate / 60:.0f} minutes; {pixels:.1f} GB of "
        f"images and {extra * case.images / 1e9:.2f} GB of STAR, poses, CTF and truth."
    ]


def machine() -> str:
    """Processor and versions."""
    name = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":")[1].strip() if models else name
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{name} ({capability}), torch {torch.__version__}, Python {platform.python_version()}"


def commit() -> str:
    """Commit of the checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    threads, repeats = arguments.threads, arguments.repeats
    torch.set_num_threads(threads)
    lines = [
        "# Simulator: images per second",
        "",
        f"Commit {commit()}, {machine()}, {threads} cores. `python {' '.join(sys.argv)}`, seed 0, "
        f"best of {repeats} bursts. *Limit*: the images' matrix products alone (2 N D² operations "
        "each), measured in the same run on as many threads.",
        "",
        "| stack | Gaussians | D | images/s | limit | share |",
        "|---|---|---|---|---|---|",
    ]
    rates = []
    for case in CASES:
        text, rate = row(case, threads, repeats)
        print(text, flush=True)
        lines.append(text)
        rates.append(rate)
    square = torch.rand(2048, 2048)
    gemm = 2 * 2048**3 / best(lambda: torch.mm(square, square), repeats) / 1e9
    to_disk, _ = written(replace(CASES[4], images=8_000), 3)
    lines += [
        "",
        f"A square product of side 2,048 runs at {gemm:.0f} GFLOP/s in the same run. Writing all "
        f"files, adenylate kinase with CTF and noise at D = 64 makes {to_disk:,.0f} images/s.",
        "",
        *big_stack(threads, rates[6]),
        "",
    ]
    text = "\n".join(lines)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

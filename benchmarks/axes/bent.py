"""What bending adds where mixing is curved: python benchmarks/axes/bent.py [OUT.csv].

Pairs of frames with Laplace steps, sheared by a sine and turned, as posteriors with noise that
differs between particles: MCC along the straight axes, the bent ones and the best linear map.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from cryo_disentangle.axes.bent import bent_by_time
from cryo_disentangle.axes.labelled import KnownLatents, axes_by_time
from cryo_disentangle.metrics.functional import mcc

sys.path.insert(0, str(Path(__file__).parents[1] / "statistics"))
from estimators import simulate
from tables import append

PAIRS = 4000


def row(strength: float, noise: float, seed: int) -> dict[str, object]:
    """Scores of one simulation."""
    generator = torch.Generator().manual_seed(seed)
    earlier = torch.randn(PAIRS, 2, generator=generator, dtype=torch.float64)
    uniform = torch.rand(PAIRS, 2, generator=generator, dtype=torch.float64)
    later = earlier + torch.distributions.Laplace(0.0, 0.5**0.5).icdf(uniform)
    factors = torch.cat([earlier, later])
    u, v = (factors / factors.std(0)).unbind(1)
    bent = torch.stack([u + strength * torch.sin(1.5 * v), v], 1)
    z = bent @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(bent.T))).T
    means, covariances = simulate(z, noise, generator)
    frames = torch.arange(2 * PAIRS).reshape(2, -1).T
    known = KnownLatents(means, covariances)
    straight = axes_by_time(known, frames)
    started = time.process_time()
    found = bent_by_time(straight, known, frames)
    seconds = time.process_time() - started
    truth = factors - factors.mean(0)
    best = means @ torch.linalg.lstsq(means, truth).solution
    return {
        "strength": strength,
        "noise": noise,
        "seed": seed,
        "straight": float(mcc(straight.transform(means), truth)),
        "best_linear": float(mcc(best, truth)),
        "bent": float(mcc(found.transform(means), truth)),
        "kept": int(found is not straight),
        "gain": float(getattr(found, "evidence_gain_", float("nan"))),
        "gain_error": float(getattr(found, "evidence_gain_error_", float("nan"))),
        "seconds": seconds,
    }


def main(out: Path) -> None:
    """Writes the table."""
    torch.set_num_threads(1)
    for seed in range(2):
        for strength in (0.0, 0.5, 1.0):
            for noise in (0.1, 0.37):
                found = row(strength, noise, seed)
                append(found, out)
                print(*found.values(), flush=True)


if __name__ == "__main__":
    default = Path(__file__).with_name("results") / "bent.csv"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)

"""Which estimator finds the axes of noisy latents: python benchmarks/axes/estimators.py [OUT.csv].

Posteriors of two coordinates under a standard normal prior, seen with noise that differs between
particles and directions, mixed by a random rotation. MCC is given as a share of that of the best
linear map of the posterior means (least squares on the true factors).
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import FastICA
from torch import Tensor

from cryo_disentangle.axes import EvidenceAxes, IndependentAxes, TemperatureAxes, TimeAxes
from cryo_disentangle.metrics.functional import mcc
from cryo_disentangle.unmixing import fourth_cumulants, joint_diagonalizer, whitener

SEEDS = range(5)
PAIRS = 5000
_COLUMNS = ("data", "noise", "estimator", "share_median", "share_worst", "angle_median")
_COLUMNS += ("determined", "seeds")


def simulate(factors: Tensor, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Posterior means and covariances of mixed factors (..., 2)."""
    mixing = torch.linalg.qr(torch.randn(2, 2, generator=generator, dtype=torch.float64))[0]
    z = factors @ mixing.T
    draw = torch.randn(*z.shape, generator=generator, dtype=torch.float64)
    precision = noise**-2 * torch.exp(0.7 * draw)
    frames = torch.randn(*z.shape, 2, generator=generator, dtype=torch.float64)
    frames = torch.linalg.qr(frames)[0]
    measured = frames @ torch.diag_embed(precision) @ frames.mT
    covariance = torch.linalg.inv(measured + torch.eye(2))
    draw = torch.randn(*z.shape, generator=generator, dtype=torch.float64)
    error = frames @ (precision.sqrt() * draw)[..., None]
    return (covariance @ (measured @ z[..., None] + error))[..., 0], covariance


def frames(seed: int, noise: float, law: str) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of frames: means (2, N, 2), covariances and factors."""
    generator = torch.Generator().manual_seed(seed)
    earlier = torch.randn(PAIRS, 2, generator=generator, dtype=torch.float64)
    steps = torch.distributions.Laplace(0.0, 0.5**0.5).icdf(
        torch.rand(PAIRS, 2, generator=generator, dtype=torch.float64)
    )
    if law == "normal":
        steps = torch.randn(PAIRS, 2, generator=generator, dtype=torch.float64)
    factors = torch.stack([earlier, earlier + steps])
    return *simulate(factors, noise, generator), factors


def levels(seed: int, noise: float, law: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Means, covariances, factors and temperatures of 2 x PAIRS particles."""
    generator = torch.Generator().manual_seed(seed)
    kelvin = 100.0 * (1 + torch.arange(2 * PAIRS) % 3).double()
    growth = torch.ones(2) if law == "harmonic" else torch.tensor([1.0, 0.0])
    factors = torch.randn(2 * PAIRS, 2, generator=generator, dtype=torch.float64)
    factors = factors * (kelvin[:, None] / 300) ** growth
    factors = factors / factors.std(0)
    return *simulate(factors, noise, generator), factors, kelvin


def share(along: Tensor, means: Tensor, factors: Tensor) -> float:
    """MCC over that of the best linear map."""
    best = means @ torch.linalg.lstsq(means, factors).solution
    return float(mcc(along, factors) / mcc(best, factors))


def cumulants(means: Tensor) -> Tensor:
    """JADE on the steps of posterior means."""
    steps = means[1] - means[0]
    steps = steps - steps.mean(0)
    white = whitener(steps.T @ steps / len(steps))
    return means[0] @ (joint_diagonalizer(fourth_cumulants(steps @ white.T)) @ white).T


def unshrunk(means: Tensor, covariances: Tensor) -> Tensor:
    """TimeAxes on maximum-likelihood estimates in place of posterior means."""
    gain = torch.eye(2) - covariances
    estimates = torch.linalg.solve(gain, means[..., None])[..., 0]
    return torch.from_numpy(TimeAxes().fit(estimates[0], estimates[1]).transform(means[0]))


def logcosh(means: Tensor) -> Tensor:
    """FastICA with log cosh on the steps."""
    steps = (means[1] - means[0]).numpy()
    matrix = FastICA(whiten="unit-variance", random_state=0).fit(steps).components_
    return means[0] @ torch.from_numpy(matrix).T


def by_time(noise: float, law: str) -> dict[str, list[tuple[float, float, float]]]:
    """Share of MCC, angle and verdict of each estimator and seed."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for seed in SEEDS:
        means, covariances, factors = frames(seed, noise, law)
        both = covariances[0], covariances[1]
        fits: dict[str, TimeAxes | EvidenceAxes | Tensor] = {
            "steps of means, exp(-y²/2) (TimeAxes)": TimeAxes().fit(means[0], means[1], both),
            "steps of means, log cosh": logcosh(means),
            "steps of means, fourth cumulants": cumulants(means),
            "steps of estimates, exp(-y²/2)": unshrunk(means, covariances),
            "evidence (EvidenceAxes)": EvidenceAxes(samples=32).fit(means[0], means[1], both),
        }
        for name, found in fits.items():
            angle, verdict = float("nan"), float("nan")
            if isinstance(found, Tensor):
                along = found
            else:
                along = torch.from_numpy(found.transform(means[0]))
                angle, verdict = float(found.angle_.max()), float(found.determined_)
            rows.setdefault(name, []).append((share(along, means[0], factors[0]), angle, verdict))
    return rows


def by_temperature(noise: float, law: str) -> dict[str, list[tuple[float, float, float]]]:
    """The same by temperature, with and without the noise taken off, and by neither."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for seed in SEEDS:
        means, covariances, factors, kelvin = levels(seed, noise, law)
        fits = {
            "noise taken off (TemperatureAxes)": TemperatureAxes().fit(means, kelvin, covariances),
            "covariances of means": TemperatureAxes().fit(means, kelvin),
            "by neither (IndependentAxes)": IndependentAxes().fit(means, covariances),
        }
        for name, found in fits.items():
            along = torch.from_numpy(found.transform(means))
            result = share(along, means, factors), float(found.angle_.max())
            rows.setdefault(name, []).append((*result, float(found.determined_)))
    return rows


_STUDIES = {
    "laplace": by_time,
    "normal": by_time,
    "frozen": by_temperature,
    "harmonic": by_temperature,
}


def main(out: Path) -> None:
    """Writes the table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for law, study in _STUDIES.items():
            for noise in (0.2, 0.37, 0.8):
                started = time.time()
                for name, results in study(noise, law).items():
                    shares, angles, verdicts = np.array(results).T
                    row = [law, noise, name, f"{np.median(shares):.3f}", f"{shares.min():.3f}"]
                    row += [f"{np.median(angles):.1f}", f"{verdicts.sum():g}", len(shares)]
                    writer.writerow(row)
                    print(*row, flush=True)
                print(f"# {time.time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    default = Path(__file__).with_name("results") / "estimators.csv"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)

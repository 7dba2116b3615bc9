"""Figures 3, 4 and 5A of Klindt et al. 2024 in three dimensions: adenylate kinase, on statistics.

    cryo-disentangle benchmark --config configs/benchmark/full.yaml --out runs/full \
        --set seeds=[0] --datasets adk_snr0.1 adk_temperatures adk_harmonic
    OMP_NUM_THREADS=1 python benchmarks/paper/three_dimensions.py --data runs/full/data

Views from everywhere, CTFs, noise, each factor moving both hinges; poses are known. All models of a
data set learn on the statistics that the benchmark has found, each on a random half of the
trajectories (or particles) and from a start of its own, the same for the methods that are compared,
and are scored on the last 2,000 particles. The oracles are those of the benchmark: posterior means
under the true molecule, and within the subspace. Writes results/figureN_3d.csv, a row each as it
comes, and figureN_3d.png. Rows that are there are kept.
"""

from __future__ import annotations

import json
import sys
import time as clock
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawing import MEASURES, compare, draw_oracles, draw_scatter, draw_seeds, panels, save
from matplotlib.axes import Axes
from torch import Tensor

from cryo_disentangle.axes.labelled import KnownLatents, axes_by_temperature, axes_by_time
from cryo_disentangle.axes.linear import LinearAxes
from cryo_disentangle.held_out.oracle import true_statistics
from cryo_disentangle.metrics import PoseConformationMetrics, disentanglement_metrics
from cryo_disentangle.metrics.functional import mcc, r2_linear
from cryo_disentangle.particles.labels import ParticleLabels, read_labels
from cryo_disentangle.particles.pairs import next_frames
from cryo_disentangle.priors import Boltzmann, StandardNormal
from cryo_disentangle.protocols import ConformationPrior
from cryo_disentangle.statistics import StatisticsFolder
from cryo_disentangle.statistics.dataset import StatisticsDataset
from cryo_disentangle.types import ParticleBatch

sys.path.append(str(Path(__file__).parents[1] / "statistics"))
from algorithm1 import make_model
from algorithm1 import train as take_steps
from tables import append, read

RESULTS = Path(__file__).parent / "results"
_SCORED, _BATCH, STEPS = 2000, 256, 600
_FIGURE3 = {
    "loss": ("bound, nats, held out", -1),
    "r2": ("R² of factors", 1),
    "eq2": ("Eq. 2, relative", -1),
    "invariance": ("z moved by pose, relative", -1),
}
_FEW = 1000


@dataclass
class Particles:
    """Statistics of a data set of the benchmark, with the truth.

    Attributes:
        data: All particles.
        labels: Of the same.
        half: Their half sets, shape (N,).
        training: Rows that models may be trained on.
        scored: The last rows.
        oracle: Scores of both oracles by group and name.
        folder: The statistics.
    """

    data: StatisticsDataset
    labels: ParticleLabels
    half: Tensor
    training: Tensor
    scored: Tensor
    oracle: dict[str, dict[str, float]]
    folder: StatisticsFolder

    @classmethod
    def open(cls, data: Path, name: str) -> Particles:
        """Opens what the benchmark has left."""
        stack = data / name / "seed_0"
        folder = StatisticsFolder.open(stack.with_name("seed_0_statistics"))
        labels = read_labels(stack / "truth.npz")
        rows = torch.arange(len(folder))
        kept = {
            called: json.loads((place / f"oracle_{_SCORED}.json").read_text())
            for called, place in (("true molecule", stack), ("subspace", folder.path))
        }
        statistics = folder.statistics
        made = StatisticsDataset(statistics, labels)
        half = statistics.half
        return cls(made, labels, half, rows[:-_SCORED], rows[-_SCORED:], kept, folder)

    @property
    def factors(self) -> Tensor:
        """True factors, shape (N, F)."""
        return torch.from_numpy(self.labels.factors)

    def batch(self, rows: Tensor) -> ParticleBatch:
        """Some particles."""
        return self.data.__getitems__(rows.tolist())

    def half_of_them(self, seed: int) -> Tensor:
        """A random half of the training particles, whole trajectories where there are any."""
        rng = np.random.default_rng(seed)
        groups = self.labels.trajectory
        keys = np.arange(len(self.labels)) if groups is None else groups
        names = np.unique(keys[self.training.numpy()])
        chosen = rng.permutation(names)[: len(names) // 2]
        return self.training[torch.from_numpy(np.isin(keys[self.training.numpy()], chosen))]


def train(
    particles: Particles, rows: Tensor, seed: int, prior: ConformationPrior, weight: float = 0.0
) -> Any:  # noqa: ANN401 - StatisticsModel
    """Trains a model on some particles, with pose interventions where they have a weight."""
    torch.manual_seed(seed)
    model = make_model(particles.folder.statistics.rank, weight, prior=prior)
    take_steps(particles.data, rows, model, STEPS, size=_BATCH)
    return model.eval()


@torch.no_grad()
def inferred(model: Any, particles: Particles, rows: Tensor) -> KnownLatents:  # noqa: ANN401
    """Posteriors of some particles."""
    found = model.infer(particles.batch(rows))
    return KnownLatents(found.mean, found.covariance, particles.half[rows])


def axes_of(known: KnownLatents, particles: Particles, rows: Tensor) -> LinearAxes:
    """Axes by the temperatures, or the times, of some particles."""
    labels = particles.labels.take(rows.numpy())
    if labels.temperature is not None:
        return axes_by_temperature(known, labels.temperature)
    time, trajectory = (labels.known()[name] for name in ("time", "trajectory"))
    following = next_frames(time, trajectory, "the particles")
    earlier = np.flatnonzero(following >= 0)
    return axes_by_time(known, np.stack([earlier, following[earlier]], 1))


def grow(
    title: str, methods: list[str], seeds: int, made: Callable[[int], dict[str, Any]]
) -> list[dict[str, str]]:
    """Adds rows of the seeds that a table has not, and reads all."""
    path = RESULTS / f"{title}.csv"
    done = {int(row["seed"]) for row in read(path)}
    for seed in sorted(set(range(seeds)) - done):
        started = clock.process_time()
        found = made(seed)
        seconds = (clock.process_time() - started) / len(methods)
        for method in methods:
            append({"method": method, "seed": seed, **found[method], "seconds": seconds}, path)
        print(title, seed, f"{clock.process_time() - started:.0f} s", flush=True)
    return [row for row in read(path) if int(row["seed"]) < seeds]


def figure3(particles: Particles, seeds: int) -> None:
    """Algorithm 1 where particles are few."""
    methods = ["VAE", "Algorithm 1"]
    unseen = particles.batch(particles.scored)
    truth = true_statistics(particles.folder.statistics, particles.factors, _SCORED)

    def judged(model: Any) -> dict[str, float]:  # noqa: ANN401
        own, true = PoseConformationMetrics(), PoseConformationMetrics(truth)
        with torch.no_grad():
            own.update(model, unseen)
            true.update(model, unseen)
            terms = model.loss_terms(unseen, step=0, sample=False)
            z = model.infer(unseen).mean
        return {
            "loss": float(terms["reconstruction"] + terms["kl"]),
            "r2": float(r2_linear(z, unseen["factors"])),
            "eq2": float(own.compute()["total_normalized"]),
            "invariance": float(true.compute()["conformation_pose_invariance_normalized"]),
        }

    def made(seed: int) -> dict[str, Any]:
        order = torch.randperm(
            len(particles.training), generator=torch.Generator().manual_seed(seed)
        )
        rows = particles.training[order[:_FEW]]
        models = [train(particles, rows, seed, StandardNormal(), weight) for weight in (0.0, 1.0)]
        return dict(zip(methods, map(judged, models), strict=True))

    rows = grow("figure3_3d", methods, seeds, made)
    print(compare(rows, "Algorithm 1", "VAE", _FIGURE3))
    figure, axes = panels(1, 4)
    for panel, (name, (called, _)) in zip(axes[0], _FIGURE3.items(), strict=True):
        draw_seeds(panel, rows, methods, name, called)
    _draw_oracle(axes[0][1], particles, "r2_linear")
    axes[0][1].legend(fontsize=7, loc="center left")
    save(figure, "figure3_3d", RESULTS)


def figure4(particles: Particles, seeds: int) -> None:
    """Axes by time, over seven metrics."""
    methods = ["VAE", "VAE, axes by time"]
    true = particles.factors[particles.scored]

    def seven(z: Tensor) -> dict[str, float]:
        found = disentanglement_metrics(z, true)
        return {name: float(found[name]) for name in (*MEASURES, "r2_linear")}

    def made(seed: int) -> dict[str, Any]:
        rows = particles.half_of_them(seed)
        model = train(particles, rows, seed, StandardNormal())
        # Whether half sets agree on the axes is not asked, which takes as long as the training.
        known = inferred(model, particles, rows)._replace(half=None)
        axes = axes_of(known, particles, rows)
        z = torch.as_tensor(inferred(model, particles, particles.scored).latents)
        return {"VAE": seven(z), methods[1]: seven(torch.as_tensor(axes.transform(z)).float())}

    rows = grow("figure4_3d", methods, seeds, made)
    print(compare(rows, methods[1], "VAE", MEASURES))
    figure, axes = panels(2, 4)
    for panel, (name, (called, _)) in zip([*axes[0], *axes[1]], MEASURES.items(), strict=False):
        draw_seeds(panel, rows, methods, name, called)
        _draw_oracle(panel, particles, name)
    draw_seeds(axes[1][3], rows, methods, "r2_linear", "R² of factors, linear")
    _draw_oracle(axes[1][3], particles, "r2_linear")
    axes[1][3].legend(fontsize=7, loc="center")
    save(figure, "figure4_3d", RESULTS)


def figure5a(sets: dict[str, Particles], seeds: int) -> None:
    """Temperatures that tell factors apart, and the harmonic control that does not."""
    methods = ["VAE", "VAE, axes", "Boltzmann"]
    every = [f"{method}, {name}" for name in sets for method in methods]

    def made(seed: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, particles in sets.items():
            rows, scored = particles.half_of_them(seed), particles.scored
            true, best = particles.factors[scored], particles.oracle["subspace"]["mcc_pearson"]
            priors: list[ConformationPrior] = [StandardNormal(), Boltzmann(2, 200.0)]
            plain, heated = (train(particles, rows, seed, prior) for prior in priors)
            axes = axes_of(inferred(plain, particles, rows), particles, rows)
            z, other = (
                torch.as_tensor(inferred(model, particles, scored).latents)
                for model in (plain, heated)
            )
            named = torch.as_tensor(axes.transform(z)).float()
            for method, latents in zip(methods, (z, named, other), strict=True):
                score = float(mcc(latents, true))
                found[f"{method}, {name}"] = {
                    "mcc": score,
                    "share": score / best,
                    "r2": float(r2_linear(latents, true)),
                    "determined": int(axes.determined_),
                    "smallest_separation": float(axes.separation_[0, 1]),
                }
        return found

    rows = grow("figure5a_3d", every, seeds, made)
    figure, axes = panels(1, 4, size=3.2)
    for panel, (name, particles) in zip(axes[0], sets.items(), strict=False):
        draw_seeds(panel, rows, [f"{method}, {name}" for method in methods], "mcc", f"MCC, {name}")
        panel.set_xticks(range(len(methods)), [method.replace(" ", "\n") for method in methods])
        panel.set_ylim(0.45, 1)
        _draw_oracle(panel, particles, "mcc_pearson")
        panel.legend(fontsize=7, loc="lower left")
    for panel, (name, particles) in zip(axes[0][2:], sets.items(), strict=True):
        half = particles.half_of_them(0)
        model = train(particles, half, 0, StandardNormal())
        found = axes_of(inferred(model, particles, half), particles, half)
        z = found.transform(inferred(model, particles, particles.scored).latents)
        colour = particles.factors[particles.scored][:, 0].numpy()
        words = "determined" if found.determined_ else "not determined"
        draw_scatter(panel, np.asarray(z), colour, f"axes, {name}: {words}")
    save(figure, "figure5a_3d", RESULTS)
    for method in every:
        mine = [row for row in rows if row["method"] == method]
        values = {name: [float(row[name]) for row in mine] for name in ("mcc", "share", "r2")}
        words = [f"{np.median(each):.3f}" for each in values.values()]
        flagged = sum(int(row["determined"]) for row in mine)
        print(f"| {method} | {' | '.join(words)} | {flagged} of {len(mine)} |")


def _draw_oracle(axes: Axes, particles: Particles, name: str) -> None:
    """Lines at what both oracles have."""
    draw_oracles(axes, {called: scores[name] for called, scores in particles.oracle.items()})


def main() -> None:
    """Trains, prints the comparisons and draws the figures."""
    from argparse import ArgumentParser

    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder data of a benchmark")
    parser.add_argument("--figures", nargs="+", default=["3", "4", "5a"])
    parser.add_argument("--models", type=int, default=50, help="of figure 4")
    parser.add_argument("--seeds", type=int, default=5, help="of figures 3 and 5a")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    RESULTS.mkdir(exist_ok=True)
    if "3" in chosen.figures:
        figure3(Particles.open(chosen.data, "adk_snr0.1"), chosen.seeds)
    if "4" in chosen.figures:
        figure4(Particles.open(chosen.data, "adk_snr0.1"), chosen.models)
    if "5a" in chosen.figures:
        names = {"one factor frozen": "adk_temperatures", "harmonic": "adk_harmonic"}
        sets = {called: Particles.open(chosen.data, name) for called, name in names.items()}
        figure5a(sets, chosen.seeds)


if __name__ == "__main__":
    main()

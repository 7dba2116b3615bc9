"""Measures on the shipped trajectories what identifiability asks of a molecule.

    python benchmarks/physics/assumptions.py

writes the tables of ``results`` and the picture of docs/assumptions.md; ``page.py`` puts the tables
into the page. No OpenMM, two minutes of one core.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from drawing import draw
from scipy.spatial.transform import Rotation
from scipy.stats import kurtosis

from cryo_disentangle.axes import TemperatureAxes, TimeAxes
from cryo_disentangle.metrics.functional.correlation import mcc
from cryo_disentangle.metrics.functional.unsupervised import pairwise_mutual_information
from cryo_disentangle.physics.collective import (
    HINGES,
    independent_components,
    principal_components,
    superposed,
)
from cryo_disentangle.physics.equilibrium import (
    block_means,
    core_states,
    reweighting,
    transition_counts,
)
from cryo_disentangle.physics.residues import LID, NMP, load_residues
from cryo_disentangle.physics.trajectories import Trajectories, hinges_of, open_trajectories
from cryo_disentangle.priors import temperature_identifiability

RESULTS = Path(__file__).parent / "results"
PICTURE = Path(__file__).parents[2] / "docs/assumptions.png"
LAGS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
BORDERS = ((50.0, 65.0), (112.0, 130.0))
WARM, BLOCKS, SLOW_LAG = 2, 20, 10
Array = npt.NDArray[np.floating]
Row = dict[str, object]


def write(name: str, rows: Iterable[Row]) -> None:
    """Writes a table, numbers to four digits."""
    made = [{k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, made[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(made)


def mixed(angles: Array) -> Array:
    """Angles of unit variance, turned by 45°: what a latent space without names may hold."""
    reduced = (angles - angles.mean((0, 1))) / angles.std((0, 1))
    found: Array = reduced @ np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2)
    return found


def memory_ps(values: Array, interval: float) -> float:
    """Integrated autocorrelation time, summed until correlation falls below 0.05."""
    centred = values - values.mean()
    power = np.abs(np.fft.rfft(centred, 2 * len(values))) ** 2
    correlation = np.fft.irfft(power)[: len(values)] / np.arange(len(values), 0, -1)
    correlation /= correlation[0]
    end = int(np.argmax(correlation < 0.05))
    return float(interval * (1 + 2 * correlation[1:end].sum()))


def of_steps(found: Trajectories, angles: Array) -> Iterable[Row]:
    """Steps at each lag, one temperature: are they sparse, independent, and does it name axes?"""
    here, blend = angles[WARM], mixed(angles)[WARM]
    for lag in LAGS:
        steps = here[lag:] - here[:-lag]
        reduced = (steps - steps.mean(0)) / steps.std(0)
        axes = TimeAxes().fit(blend[:-lag], blend[lag:])
        slow = independent_components([blend], lag, 2)
        truth = torch.from_numpy(here).double()
        yield {
            "lag_ps": float(lag * found.interval_ps),
            **{f"kurtosis_{n}": float(k) for n, k in zip(HINGES, kurtosis(steps), strict=True)},
            "step_correlation": float(np.corrcoef(reduced.T)[0, 1]),
            "square_correlation": float(np.corrcoef(np.square(reduced).T)[0, 1]),
            "mcc_by_steps": float(mcc(torch.as_tensor(axes.transform(blend)).double(), truth)),
            "determined": bool(axes.determined_),
            "angle_deg": float(axes.angle_.max()),
            "mcc_by_slowness": float(mcc(torch.from_numpy(slow(blend)), truth)),
            "autocorrelation_1": float(slow.strength[0]),
            "autocorrelation_2": float(slow.strength[1]),
        }


def of_temperatures(found: Trajectories, angles: Array) -> Iterable[Row]:
    """Spread, memory, populations and crossings at each temperature."""
    for run, kelvin in enumerate(found.kelvin.tolist()):
        here = angles[run]
        information = pairwise_mutual_information(torch.from_numpy(here))
        row: Row = {"kelvin": float(kelvin)}
        for k, name in enumerate(HINGES):
            states = core_states(here[:, k], *BORDERS[k])
            row |= {
                f"mean_{name}": float(here[:, k].mean()),
                f"spread_{name}": float(here[:, k].std()),
                f"closed_{name}": float((here[:, k] < sum(BORDERS[k]) / 2).mean()),
                f"memory_ps_{name}": memory_ps(here[:, k], found.interval_ps),
                f"crossings_{name}": int(np.abs(np.diff(states)).sum()),
            }
        row |= _log_ratio(here)
        row["correlation"] = float(np.corrcoef(here.T)[0, 1])
        row["information_nats"] = float(information)
        yield row


def _log_ratio(angles: Array) -> Row:
    """Log of the ratio of the variances of NMP and LID, and its error by blocks of the run."""
    blocks = np.array_split(angles, BLOCKS)
    drawn = np.random.default_rng(0).integers(BLOCKS, size=(400, BLOCKS))
    logs = [np.log(np.concatenate([blocks[b] for b in row]).var(0)) for row in drawn]
    here = np.log(angles.var(0))
    error = np.std([log[0] - log[1] for log in logs])
    return {"log_ratio": float(here[0] - here[1]), "log_ratio_error": float(error)}


def of_populations(found: Trajectories, angles: Array) -> Iterable[Row]:
    """Closed shares counted at a temperature, and predicted by the four others."""
    frames = angles.shape[1]
    for run, kelvin in enumerate(found.kelvin.tolist()):
        others = np.arange(len(found.kelvin)) != run
        weights = reweighting(found.potential[others], found.kelvin[others], kelvin)
        for k, name in enumerate(HINGES):
            closed = (angles[:, :, k] < sum(BORDERS[k]) / 2).astype(float)
            here = block_means(closed[[run]], np.full((1, frames), 1 / frames), BLOCKS)
            predicted = block_means(closed[others], weights, BLOCKS)
            difference = here.mean() - predicted.mean()
            yield {
                "kelvin": float(kelvin),
                "hinge": name,
                "counted": float(here.mean()),
                "counted_error": float(here.std()),
                "predicted": float(predicted.mean()),
                "predicted_error": float(predicted.std()),
                "z": float(difference / np.hypot(here.std(), predicted.std())),
            }


def of_counts(found: Trajectories, angles: Array) -> Iterable[Row]:
    """Changes between the four states of both hinges, there and back."""
    names = ["both closed", "LID open", "NMP open", "both open"]
    for run, kelvin in enumerate(found.kelvin.tolist()):
        nmp, lid = (core_states(angles[run][:, k], *BORDERS[k]) for k in range(2))
        counts = transition_counts(2 * nmp + lid, 4)
        for i, j in zip(*np.triu_indices(4, 1), strict=True):
            yield {
                "kelvin": float(kelvin),
                "from": names[i],
                "to": names[j],
                "there": int(counts[i, j]),
                "back": int(counts[j, i]),
            }


def of_heat(found: Trajectories, angles: Array) -> Iterable[Row]:
    """Does temperature tell the hinges apart: the rank condition, and axes of exact coordinates."""
    kelvin = np.repeat(found.kelvin, angles.shape[1])
    flat = torch.from_numpy(mixed(angles).reshape(-1, 2)).double()
    truth = torch.from_numpy(angles.reshape(-1, 2)).double()
    every = list(range(len(found.kelvin)))
    for rows in (every, [0, len(every) - 1]):
        chosen = torch.from_numpy(np.isin(kelvin, found.kelvin[rows]))
        level = torch.from_numpy(kelvin)[chosen]
        axes = TemperatureAxes().fit(flat[chosen], level)
        judged = temperature_identifiability(flat[chosen], level)
        along = torch.as_tensor(axes.transform(flat[chosen])).double()
        yield {
            "kelvin": " ".join(f"{found.kelvin[row]:g}" for row in rows),
            "rank": judged.rank,
            "required": judged.required_rank,
            "separation": float(judged.separation[0, 1]),
            "standard_error": float(judged.standard_error[0, 1]),
            "identifiable": judged.identifiable,
            "growth_1": float(axes.ratio_[0]),
            "growth_2": float(axes.ratio_[1]),
            "mcc": float(mcc(along, truth[chosen])),
            "determined": bool(axes.determined_),
        }


def of_components(found: Trajectories, angles: Array) -> Iterable[Row]:
    """Principal and time-lagged components: variance, memory, and how far they are hinges."""
    here = found.scores[WARM].astype(np.float64)
    total = float(np.square(here - here.mean(0)).sum(1).mean())
    kinds = {
        "principal": principal_components(here, 4),
        "time-lagged": independent_components([here[:, :20]], SLOW_LAG, 4),
    }
    for kind, coordinates in kinds.items():
        along = coordinates(here if kind == "principal" else here[:, :20])
        for k in range(4):
            steps = along[SLOW_LAG:, k] - along[:-SLOW_LAG, k]
            yield {
                "kind": kind,
                "component": k + 1,
                "variance_share": float(along[:, k].var() / total) if kind == "principal" else "",
                "memory_ps": memory_ps(along[:, k], found.interval_ps),
                "step_kurtosis": float(kurtosis(steps)),
                **{
                    f"r2_{name}": float(np.corrcoef(along[:, k], angles[WARM, :, h])[0, 1] ** 2)
                    for h, name in enumerate(HINGES)
                },
            }


def of_domains(found: Trajectories) -> Iterable[Row]:
    """How far each domain moves as a rigid body, and that body about one axis."""
    residues = load_residues()
    frames = found.positions(found.scores[WARM, ::10]).astype(np.float64)
    mean = frames.mean(0)
    for name, number in zip(HINGES, (NMP, LID), strict=True):
        rows = residues.domain == number
        moved = np.square(frames[:, rows] - mean[rows]).sum(2).mean()
        # Onto itself: what is left is not rigid.
        left = superposed(frames, mean, rows)[:, rows] - mean[rows]
        rotations = [
            Rotation.align_vectors(*_centred(frame[rows], mean[rows]))[0] for frame in frames
        ]
        vectors = np.stack([rotation.as_rotvec(degrees=True) for rotation in rotations])
        variances = np.linalg.eigvalsh(np.cov(vectors.T))[::-1]
        yield {
            "domain": name,
            "moved_angstrom": float(np.sqrt(moved)),
            "not_rigid_angstrom": float(np.sqrt(np.square(left).sum(2).mean())),
            "rigid_share": float(1 - np.square(left).sum(2).mean() / moved),
            "first_axis_share": float(variances[0] / variances.sum()),
            "first_axis_spread_deg": float(np.sqrt(variances[0])),
        }


def _centred(*both: Array) -> tuple[Array, Array]:
    """Points about their centres."""
    one, other = (points - points.mean(0) for points in both)
    return one, other


def main() -> None:
    RESULTS.mkdir(exist_ok=True)
    found, angles = open_trajectories(), hinges_of().astype(np.float64)
    steps, heat = list(of_steps(found, angles)), list(of_temperatures(found, angles))
    write("steps", steps)
    write("temperatures", heat)
    write("populations", of_populations(found, angles))
    write("counts", of_counts(found, angles))
    write("heat", of_heat(found, angles))
    write("components", of_components(found, angles))
    write("domains", of_domains(found))
    draw(PICTURE, angles[WARM], found.interval_ps, steps, heat)


if __name__ == "__main__":
    main()

"""Scores of a cell: the held-out particles of its stack, and the truth about them."""

from __future__ import annotations

import json
import logging
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cryo_disentangle.benchmark.cells import TRAINING, Cell
from cryo_disentangle.benchmark.latents import (
    find_latents,
    read_along_axes,
    read_linearly,
    read_stored,
    write_stored,
)
from cryo_disentangle.benchmark.restarts import Restart, best_restart
from cryo_disentangle.benchmark.volume_scores import volume_scores
from cryo_disentangle.evaluation import open_run
from cryo_disentangle.evaluation.by_statistics import statistics_model
from cryo_disentangle.evaluation.measuring import Sample
from cryo_disentangle.evaluation.measuring import measure as measure_run
from cryo_disentangle.evaluation.runs import DataFiles, FinishedRun
from cryo_disentangle.evaluation.streaming import Particles, infer_all, show_progress
from cryo_disentangle.files.arrays import read_archive
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.held_out.oracle import (
    posterior_of_stack,
    posterior_of_statistics,
    true_statistics,
)
from cryo_disentangle.held_out.particles import make_true_generator
from cryo_disentangle.held_out.sources import SimulatedFolder
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.oracles import SUBSPACE, TRUTH, keep_oracle, oracle_scores_of
from cryo_disentangle.judgement.particle_scores import evenly
from cryo_disentangle.judgement.scores import Measurement, Score
from cryo_disentangle.metrics.functional.codes import standardize
from cryo_disentangle.metrics.functional.neighbourhood import neighbourhood_similarity
from cryo_disentangle.metrics.particle_rows import evaluating
from cryo_disentangle.metrics.permutations import TrueGenerator
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.particles.labels import read_labels
from cryo_disentangle.particles.prepared import PreparedData
from cryo_disentangle.particles.preprocessing import Preprocessing
from cryo_disentangle.statistics import StatisticsData, StatisticsFolder

__all__ = ["score_cell"]

_BATCH_SIZE = 64
_MONITOR = "val/reconstruction"
_REACHED = "disentanglement/"
# Particles of the oracle at most; of 1,000 only, R² moves in the second digit.
_ORACLE = 4000


def score_cell(folder: Path) -> None:
    """Opens what a cell has made, scores it, and writes ``z.npz`` and ``result.json``.

    Latents of all particles are kept, of which the last ``held_out`` are scored.

    Args:
        folder: The cell's folder.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If latents, run or stack don't fit together, or no restart has a finite
            reconstruction.
        TypeError: If the model or its data can't be looked at.
    """
    cell = Cell.read(folder)
    if cell.settings["kind"] == "training":
        run, found = _best_training(cell)
    else:
        run, found = _finished(cell), {}
    held_out = cell.settings["held_out"]
    scores, missing, latents = measure(run, cell.stack, held_out)
    scores |= _attainable(scores, TRUTH, oracle_of_stack(cell.stack, held_out))
    if (cell.statistics / TRAINING).is_dir():
        scores |= _attainable(scores, SUBSPACE, oracle_of_subspace(cell, held_out))
    write_stored(folder / "z.npz", latents)
    metrics = {name: value for name, value in (found | scores).items() if math.isfinite(value)}
    cell.write_result({"metrics": metrics, "missing": missing})


def measure(
    run: FinishedRun, stack: Path, held_out: int
) -> tuple[dict[str, float], dict[str, str], InferredParticles]:
    """Measures a run on the last particles of a stack.

    Args:
        run: The run; its data are the whole stack.
        stack: Folder that ``cryo-disentangle simulate`` has written.
        held_out: How many particles are scored.

    Returns:
        Scores by ``group/name``, why others could not be had, and latents of all particles.

    Raises:
        ValueError: If there are not as many latents as particles.
        TypeError: If the run's data have no particles that can be counted.
    """
    source = SimulatedFolder(stack)
    factors = source.stack.labels.factors
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run.module.to(device)
    particles = Particles(run, _BATCH_SIZE, device, factors)
    if len(particles) != len(source.stack):
        raise ValueError(
            f"{run.folder}: a run on all {len(source.stack)} particles of {stack} expected, found "
            f"{len(particles)}"
        )
    chosen: npt.NDArray[np.int64] = np.arange(len(particles) - held_out, len(particles))
    with show_progress(None) as progress, evaluating(run.module):
        rows = infer_all(run, particles, progress)
        truth = None if run.stored is not None else _true_generator(source, run, held_out)
        sample = Sample(chosen, "held-out")
        measured = measure_run(run, particles, rows, sample, truth, 0, progress)
    scores = {
        f"{group}/{name}": score.value
        for group, members in measured.scores.items()
        for name, score in members.items()
    }
    scored = rows.take(chosen)
    with measured.attempt("neighbourhoods"):
        if scored.factors is not None:
            true = standardize(scored.factors.double())
            similar = neighbourhood_similarity(scored.mean, true)
            scores["neighbourhoods/similarity"] = float(similar)
    if run.stored is None:
        with measured.attempt("volumes"):
            scores |= volume_scores(run.module, source, scored)
    return scores, measured.missing, rows


def oracle_of_stack(stack: Path, held_out: int) -> dict[str, float]:
    """Scores the best that any method can infer of the last particles of a stack.

    The first cell of a stack finds it, and keeps it with the stack for the others.

    Args:
        stack: Folder that ``cryo-disentangle simulate`` has written.
        held_out: How many particles are scored.

    Returns:
        Scores by name of posterior means under the true molecule; none where the images have no
        noise, for then there is no bound.
    """
    path = stack / f"oracle_{held_out}.json"
    if path.is_file():
        known: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        return known
    source = SimulatedFolder(stack)
    rows = np.arange(len(source.stack))[-held_out:]
    rows = rows[evenly(len(rows), _ORACLE)]
    try:
        means = posterior_of_stack(source, rows)
        scores = oracle_scores_of(means, torch.from_numpy(source.stack.labels.factors)[rows])
    except ValueError:
        scores = {}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(scores) + "\n", encoding="utf-8")
    return scores


def oracle_of_subspace(cell: Cell, held_out: int) -> dict[str, float]:
    """Scores the best that any method can infer within the subspace that a stack's methods share.

    Args:
        cell: A cell on the stack; the first one finds it for all.
        held_out: How many particles are scored.

    Returns:
        Scores by name of posterior means under the coefficients' dependence on the true factors.
    """
    path = cell.statistics / f"oracle_{held_out}.json"
    if path.is_file():
        known: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        return known
    statistics = StatisticsFolder.open(cell.statistics).statistics
    factors = torch.from_numpy(SimulatedFolder(cell.stack).stack.labels.factors)
    places = torch.arange(len(statistics))[-held_out:]
    means = posterior_of_statistics(statistics, factors, places)
    scores = oracle_scores_of(means, factors[places])
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(scores) + "\n", encoding="utf-8")
    return scores


def _attainable(scores: dict[str, float], whose: str, oracle: dict[str, float]) -> dict[str, float]:
    """What an oracle reaches, and the share of it that is reached."""
    found = Measurement()
    reached = {name: value for name, value in scores.items() if name.startswith(_REACHED)}
    found.scores["disentanglement"] = {
        name.removeprefix(_REACHED): Score(value) for name, value in reached.items()
    }
    keep_oracle(found, whose, oracle)
    groups = (whose, f"{whose}_share")
    return {
        f"{group}/{name}": score.value
        for group in groups
        for name, score in found.scores[group].items()
    }


def _true_generator(
    source: SimulatedFolder, run: FinishedRun, held_out: int
) -> TrueGenerator | None:
    """What the particles were made by, in images or statistics as the model takes them."""
    if isinstance(run.data, StatisticsData):
        factors = torch.from_numpy(source.stack.labels.factors)
        return true_statistics(run.data.folder.statistics, factors, held_out)
    if not isinstance(run.data, PreparedData):
        return None
    return make_true_generator(source, run.data.preprocessing)


def _best_training(cell: Cell) -> tuple[FinishedRun, dict[str, float]]:
    """The restart that reconstructs particles best that it was not trained on, nor is scored by."""
    _quiet()
    restarts, runs, seconds = [], [], 0.0
    for number in range(cell.settings["restarts"]):
        folder = cell.folder / f"restart_{number}"
        run = open_run(folder)
        restarts.append(Restart(number, _reconstruction(run), run.module))  # type: ignore[arg-type]
        runs.append(run)
        seconds += float((folder / "seconds.txt").read_text(encoding="utf-8"))
    best = restarts[0] if len(restarts) == 1 else best_restart(restarts)
    run = runs[best.seed]
    found = {"training/seconds": seconds, "training/reconstruction": best.score}
    if isinstance(run.data, StatisticsData):
        return replace(run, data=_open_statistics(cell)), found
    if not isinstance(run.data, PreparedData):
        raise TypeError(
            f"{run.folder}: data must say how images are prepared (PreparedData), found "
            f"{type(run.data).__name__}"
        )
    return replace(run, data=_open_stack(cell, run.data.preprocessing)), found


def _reconstruction(run: FinishedRun) -> float:
    """Error of validation particles; infinity where there are none or it is NaN."""
    trainer = L.Trainer(
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module: Any = run.module
    logged = trainer.validate(module, datamodule=run.data, verbose=False)
    score = next((metrics[_MONITOR] for metrics in logged if _MONITOR in metrics), math.nan)
    return math.inf if math.isnan(score) else score


def _finished(cell: Cell) -> FinishedRun:
    """Latents, or a run, that somebody else has made, or a reading of another cell's latents."""
    settings = cell.settings
    count = len(read_archive(cell.stack / "truth.npz", ("factors",), "the truth")["factors"])
    if settings["kind"] == "cryodrgn":
        files = DataFiles(cell.stack / "particles.mrcs", cell.stack / "poses.pkl", cell.ctf)
        return open_run(Path(settings["folder"]), None, files)
    if settings["kind"] == "subspace":
        model = statistics_model(StatisticsFolder.open(cell.statistics), "cpu")
        return FinishedRun(cell.statistics, "the subspace", 0, _open_statistics(cell), model)
    if settings["kind"] == "latents":
        folder = Path(settings["folder"])
        latents = read_stored(find_latents(folder), count)
    else:
        folder = cell.at(settings["of"])
        latents = _reading(cell, read_stored(folder / "z.npz", count))
    data = _open_stack(cell, None)
    return FinishedRun(folder, settings["kind"], 0, data, nn.Identity(), latents)


def _reading(cell: Cell, latents: InferredParticles) -> InferredParticles:
    """Components of latents, or latents along named axes."""
    if cell.settings["kind"] != "axes":
        return read_linearly(latents, cell.settings["kind"])
    labels = read_labels(cell.stack / "truth.npz")
    training = len(latents) - cell.settings["held_out"]
    return read_along_axes(latents, labels, training, cell.folder)


def _open_statistics(cell: Cell) -> StatisticsData:
    """Statistics of all particles of the cell's stack."""
    return StatisticsData(cell.statistics, cell.stack / "truth.npz", batch_size=_BATCH_SIZE)


def _open_stack(cell: Cell, preprocessing: Preprocessing | None) -> ParticleData:
    """All particles of the cell's stack."""
    return ParticleData(
        cell.stack / "particles.mrcs",
        poses=cell.stack / "poses.pkl",
        ctf=cell.ctf,
        labels=cell.stack / "truth.npz",
        preprocessing=preprocessing,
        batch_size=_BATCH_SIZE,
    )


def _quiet() -> None:
    """Silences advice about what is done on purpose."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*LeafSpec.*")

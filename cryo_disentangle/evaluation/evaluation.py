"""Evaluates a finished run: measures, judges and draws its latent space."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from cryo_disentangle.drawing.scatter import ScatterData
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.evaluation.figures import Picture, draw_all
from cryo_disentangle.evaluation.html_page import SCATTER, write_page
from cryo_disentangle.evaluation.landscapes import PrincipalLandscapes, find_landscapes
from cryo_disentangle.evaluation.measuring import Sample, choose_sample, measure
from cryo_disentangle.evaluation.notebook import write_notebook
from cryo_disentangle.evaluation.oracles import measure_oracles, read_truth
from cryo_disentangle.evaluation.runs import EmbeddedRun, FinishedRun
from cryo_disentangle.evaluation.scattering import scatter_particles
from cryo_disentangle.evaluation.states import States, find_states
from cryo_disentangle.evaluation.streaming import Particles, infer_all, show_progress
from cryo_disentangle.evaluation.volumes import PrincipalVolumes, evaluate_volumes
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.score_names import group_reasons, headlines
from cryo_disentangle.judgement.scores import Measurement, Score
from cryo_disentangle.judgement.verdict import Verdict, judge
from cryo_disentangle.metrics.particle_rows import evaluating
from cryo_disentangle.particles import ParticleData, ParticleStack
from cryo_disentangle.selection.lasso import lasso_of

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Results of the evaluation of a run.

    Attributes:
        run: The run.
        facts: What was trained and looked at.
        measured: The numbers.
        judgement: The verdict.
        pictures: In the order of the report.
        volumes: Along principal axes of z; None where the model has none.
        sample: Whether training has seen the particles that were scored; None where it is unknown.
        scatter: Particles for a page that can be touched, or None.
        rows: Latents that are kept beside the page, for `select`; None where the run has a file.
        states: Clusters of z, or None.
        landscapes: Densities and free energies along the principal axes of z.
    """

    run: FinishedRun | EmbeddedRun
    facts: Mapping[str, str]
    measured: Measurement
    judgement: Verdict
    pictures: list[Picture]
    volumes: PrincipalVolumes | None
    sample: Literal["held-out", "training"] | None = "training"
    scatter: ScatterData | None = None
    rows: InferredParticles | None = None
    states: States | None = None
    landscapes: PrincipalLandscapes | None = None

    def write(self, folder: Path) -> None:
        """Writes ``metrics.json``, ``report.html``, pictures and what else was found.

        Args:
            folder: Where to; it is made.

        Raises:
            OSError: If the folder can't be written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "metrics.json") as temporary:
            temporary.write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")
        for picture in self.pictures:
            with replacing(folder / f"{picture.name}.png") as temporary:
                picture.figure.savefig(temporary, format="png", dpi=130)
        if self.volumes is not None and isinstance(self.run, FinishedRun):
            self.volumes.write(folder / "volumes", self.run)
        if self.scatter is not None:
            self.scatter.write(folder / SCATTER)
        if self.rows is not None:
            self._write_latents(folder / "latents.npz", self.rows)
        if self.states is not None:
            self.states.write(folder / "states")
        if self.landscapes is not None:
            self.landscapes.write(folder)
        write_notebook(
            folder,
            self.run.folder if self.rows is None else folder / "latents.npz",
            states=self.states is not None,
            volumes=self.states is not None and self.states.densities is not None,
        )
        write_page(folder)

    def _write_latents(self, path: Path, rows: InferredParticles) -> None:
        """Writes latents that a lasso of the page is drawn on."""
        index = {} if rows.index is None else {"row": rows.index.numpy()}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, latents=rows.mean.numpy(), **index)

    def as_dict(self) -> dict[str, Any]:
        """Returns the content of ``metrics.json``; numbers that are not finite are null."""
        found = self.measured
        return {
            "run": {
                "folder": str(self.run.folder),
                "epoch": self.run.epoch,
                "cryodrgn": self.run.is_cryodrgn,
                "exports": self.run.exports,
                "rendered": self.run.renders,
                "inference": _inference(self.run),
                "embedded": self.run.epoch is None,
                "sample": self.sample,
                **self.facts,
            },
            "verdict": self.judgement.verdict,
            "scores": {
                group: {name: _entry(score) for name, score in members.items()}
                for group, members in found.scores.items()
            },
            "coordinates": {name: _finite(values) for name, values in found.coordinates.items()},
            "components": {name: _finite(values) for name, values in found.components.items()},
            "identifiability": found.verdicts,
            "states": [] if self.states is None else self.states.entries(),
            "landscapes": [] if self.landscapes is None else self.landscapes.entries(),
            "not_measured": found.missing,
        }

    def show(self, console: Console) -> None:
        """Prints the judgement and the table.

        Args:
            console: Where to.
        """
        epoch = "" if self.run.epoch is None else f", epoch {self.run.epoch}"
        table = Table(title=f"{self.run.folder}{epoch}", title_justify="left")
        for name in ("", "value", "95 % interval", "best"):
            table.add_column(name, justify="left" if not name else "right")
        group = ""
        for row in headlines(self.measured.scores):
            if row.group != group:
                group = row.group
                table.add_section()
                table.add_row(f"[bold]{group}[/bold]")
            ends = ""
            if row.score.low is not None:
                ends = f"{row.score.low:.3g} to {row.score.high:.3g}"
            table.add_row(row.name, row.shown, ends, row.best)
        console.print(table)
        for reason, names in group_reasons(self.measured.missing).items():
            console.print(f"not measured: {names}: {reason}", markup=False)
        for label, verdict in self.measured.verdicts.items():
            console.print(f"{label}: {verdict}", markup=False)
        console.print(self.judgement.headline, style="bold", markup=False)
        for reason in self.judgement.reasons:
            console.print(f"- {reason}", markup=False)


def evaluate(
    run: FinishedRun,
    *,
    truth: Path | None = None,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    sample: int = 4000,
    resamples: int = 40,
    states: int = 6,
    console: Console | None = None,
) -> Evaluation:
    """Evaluates a finished run.

    All particles are read once, a batch at a time, and their conformations kept; a sample of them
    is read again to be rotated and imaged from other directions.

    Args:
        run: The run; `open_run`.
        truth: ``truth.npz`` of a simulated stack, for its true factors; with the simulation's other
            files beside it the true molecule is imaged, too.
        batch_size: Particles a batch.
        device: Where the model works.
        sample: Number of particles, evenly spread, used in interventions and probes.
        resamples: Halves of the sample that intervals are made of; 0 for no intervals.
        states: Number of k-means clusters of z, with volumes, views and defocus; 0 for none.
        console: Where progress is shown; None shows none.

    Returns:
        What was found.

    Raises:
        ValueError: If a number is out of range, or the truth is of other particles.
        FileNotFoundError: If a file is missing.
        TypeError: If the run's model is not supported.
    """
    if batch_size < 2 or sample < 12 or resamples == 1 or resamples < 0:
        raise ValueError(
            "batch_size must be at least 2, sample at least 12 and resamples 0 or at least 2, "
            f"found {batch_size}, {sample} and {resamples}"
        )
    target = torch.device(device)
    run.module.to(target)
    factors, generator = (None, None) if truth is None else read_truth(truth, run)
    particles = Particles(run, batch_size, target, factors)
    sampled = choose_sample(run, len(particles), sample)
    with show_progress(console) as progress, evaluating(run.module):
        rows = infer_all(run, particles, progress, _looked_for(run, sampled))
        if run.renders:
            sampled = sampled._replace(rows=np.arange(len(sampled.places)))
        measured = measure(run, particles, rows, sampled, generator, resamples, progress)
        if truth is not None:
            measure_oracles(measured, run, truth, rows, sampled)
        volumes = _volumes(run, rows, target, measured)
        found = find_states(rows, states, run.module, target)
        landscapes = find_landscapes(rows, measured, kelvin=run.kelvin)
        pictures = list(draw_all(run, particles, rows, measured, volumes, found, progress))
    facts = _facts(run, len(particles), sampled)
    scatter = scatter_particles(
        rows,
        {} if found is None else {"state": found.labels},
        _drawn_on(run, rows),
        lambda: _stack(run),
    )
    judgement = judge(measured.scores, sampled.kind)
    shown = (pictures, volumes, sampled.kind, scatter, rows, found, landscapes)
    return Evaluation(run, facts, measured, judgement, *shown)


def infer_share(
    run: FinishedRun, *, batch_size: int, device: torch.device | str, sample: int
) -> None:
    """Infers, in a process that is not the first, its share of the particles of `evaluate`.

    Args:
        run: As for `evaluate` in the first process.
        batch_size: As there.
        device: Where the model works.
        sample: As there.
    """
    target = torch.device(device)
    run.module.to(target)
    particles = Particles(run, batch_size, target)
    sampled = choose_sample(run, len(particles), sample)
    with show_progress(None) as progress, evaluating(run.module):
        infer_all(run, particles, progress, _looked_for(run, sampled))


def _looked_for(run: FinishedRun, sampled: Sample) -> npt.NDArray[np.int64] | None:
    """Places of particles whose z is inferred; None for all."""
    # Rendering takes long: z of others is not looked for.
    return sampled.places if run.renders else None


def _drawn_on(run: FinishedRun, rows: InferredParticles) -> dict[str, str | None]:
    """What a lasso on the page is drawn on: the latents that are written beside it."""
    return lasso_of(Embedding("latents", run.folder, rows.mean.numpy()))


def _stack(run: FinishedRun) -> ParticleStack | None:
    """Images of a run of particle files."""
    return run.data.stack if isinstance(run.data, ParticleData) else None


def _volumes(
    run: FinishedRun, rows: InferredParticles, device: torch.device, measured: Measurement
) -> PrincipalVolumes | None:
    """Volumes along principal axes, or the reason why there are none."""
    try:
        return evaluate_volumes(run, rows, device)
    except (ValueError, TypeError) as error:
        measured.missing["volumes"] = str(error)
        return None


def _facts(run: FinishedRun, count: int, sample: Sample) -> dict[str, str]:
    """What the report begins with."""
    epochs = {} if run.epoch is None else {"epochs": str(run.epoch)}
    facts = {"run": str(run.folder), "kind": run.kind, **epochs, **run.facts}
    chosen = len(sample.places)
    unseen = " held-out" if sample.kind == "held-out" else ""
    facts["particles"] = f"{count:,}; tests by rotation and intervention on {chosen:,}{unseen}"
    for name, unit in (("box_size", "pixels"), ("pixel_size", "Å per pixel")):
        value = getattr(run.data, name, None)
        if value is not None:
            facts[name.replace("_", " ")] = f"{value:g} {unit}"
    return facts


def _inference(run: FinishedRun | EmbeddedRun) -> str:
    """How conformations are found, as `--inference` has it."""
    if isinstance(run, FinishedRun) and run.by_statistics:
        return "statistics"
    return "rendering" if run.renders else "run"


def _entry(score: Score) -> dict[str, float | None]:
    """A score as JSON has it."""
    names = ("value", "low", "high")
    found = dict(zip(names, _finite(score), strict=True))
    return {name: found[name] for name in names if name == "value" or score.low is not None}


def _finite(values: Any) -> list[float | None]:  # noqa: ANN401 - numbers, some of them None
    """Numbers that JSON has; null for others."""
    return [v if v is not None and math.isfinite(v) else None for v in values]

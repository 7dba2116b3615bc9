"""``evaluate`` and ``report`` of runs of which only latents are read."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from cryo_disentangle.embeddings import open_embedding
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.evaluation.embedded import evaluate_embedding
from cryo_disentangle.evaluation.evaluation import Evaluation, evaluate
from cryo_disentangle.evaluation.linear_volumes import run_of_volumes
from cryo_disentangle.evaluation.run_kinds import has_model
from cryo_disentangle.evaluation.runs import DataFiles
from cryo_disentangle.judgement.advice import embedding_steps
from cryo_disentangle.precision import chosen_device

__all__ = ["evaluate_latents", "latents_folder", "reads_latents", "tell_report"]

_OF_IMAGES = ("truth", "datadir")
_OF_MODELS = ("truth", "epoch", "radius", "minutes", "datadir")


def reads_latents(run: Path, key: str | None) -> bool:
    """Returns whether a run is judged by its latents alone, rather than opened with its model.

    Args:
        run: The run, or a file of latents.
        key: Which of several latents was asked for.

    Returns:
        False for runs of ours and those of cryoDRGN, unless a key was given.
    """
    return key is not None or not has_model(run)


def latents_folder(run: Path) -> Path:
    """Where the evaluation of latents goes by default.

    Args:
        run: The run, or a file of latents.

    Returns:
        ``evaluation`` in the run's folder, or beside the file under its name.
    """
    return run / "evaluation" if run.is_dir() else run.with_name(f"{run.stem}_evaluation")


def evaluate_latents(options: Namespace, files: DataFiles, console: Console) -> None:
    """Judges latents, writes what was found and shows it.

    Rotations and translations of RELION's bodies are judged apart.

    Args:
        options: Of ``evaluate``.
        files: Where particles lie.
        console: Where to show it.

    Raises:
        FileNotFoundError: If a file is missing, or the run is of no known program.
        ValueError: If an option does not go with such a run, or a file is damaged.
    """
    of_volumes = options.inference == "statistics"
    for name in _OF_MODELS:
        if getattr(options, name, None) is not None and not (of_volumes and name in _OF_IMAGES):
            raise ValueError(
                f"--{name} needs a run whose model is read; of {options.run} only latents are read"
            )
    if options.inference == "rendering":
        raise ValueError(f"--inference rendering needs a decoder; of {options.run} only z is read")
    folder = options.out or latents_folder(options.run)
    embedding = open_embedding(options.run, options.z)
    if of_volumes:
        _judge_volumes(options, embedding, files, folder, console)
        return
    _judge(options, embedding, files, folder, console)
    if options.z is None and embedding.tool == "RELION multi-body":
        moved = open_embedding(options.run, "translations")
        console.print("Translations of the bodies:", style="bold")
        _judge(options, moved, files, folder / "translations", console)


def _judge(
    options: Namespace, embedding: Embedding, files: DataFiles, folder: Path, console: Console
) -> None:
    """Judges one set of latents."""
    found = evaluate_embedding(
        options.run,
        embedding,
        files,
        sample=options.sample,
        resamples=options.resamples,
        states=options.states,
        kelvin=options.kelvin,
        console=console,
    )
    _tell(found, folder, options.run, console)


def _judge_volumes(
    options: Namespace, embedding: Embedding, files: DataFiles, folder: Path, console: Console
) -> None:
    """Judges a run's linear volumes by the likelihood of images."""
    device = chosen_device(options.device)
    run = run_of_volumes(
        options.run, embedding, files, folder / "statistics", device=device, console=console
    )
    found = evaluate(
        replace(run, kelvin=options.kelvin),
        truth=options.truth,
        batch_size=options.batch_size,
        device=device,
        sample=options.sample,
        resamples=options.resamples,
        states=options.states,
        console=console,
    )
    _tell(found, folder, options.run, console)


def _tell(found: Evaluation, folder: Path, run: Path, console: Console) -> None:
    """Shows and writes what was found."""
    found.show(console)
    found.write(folder)
    tell_report(console, folder, embedding_steps(found.judgement, str(run)))


def tell_report(console: Console, folder: Path, steps: Sequence[tuple[str, str]]) -> None:
    """Tells where the report is, and how to go on.

    Args:
        console: Where to.
        folder: Of the report.
        steps: What to do next, and its command, which may be empty.
    """
    lines = [f"Report: {folder / 'report.html'}"]
    lines += [f"Next: {command}" for _, command in steps if command]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

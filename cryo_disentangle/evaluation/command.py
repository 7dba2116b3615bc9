"""The commands ``cryo-disentangle evaluate``, ``report`` and ``export``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from cryo_disentangle.evaluation.by_statistics import infer_by_statistics
from cryo_disentangle.evaluation.embedded_command import (
    evaluate_latents,
    latents_folder,
    reads_latents,
    tell_report,
)
from cryo_disentangle.evaluation.evaluation import evaluate, infer_share
from cryo_disentangle.evaluation.export import export_cryodrgn
from cryo_disentangle.evaluation.html_page import is_evaluated, write_page
from cryo_disentangle.evaluation.rendering import infer_by_rendering, plan_rendering
from cryo_disentangle.evaluation.run_kinds import open_run
from cryo_disentangle.evaluation.runs import DataFiles, FinishedRun
from cryo_disentangle.judgement.advice import next_steps
from cryo_disentangle.options.commands import evaluate_parser, export_parser, report_parser
from cryo_disentangle.precision import chosen_device
from cryo_disentangle.statistics.processes import joined_processes, of_the_first, process

__all__ = ["evaluate_command", "export_command", "report_command"]

_MINUTES, _RENDERED_BATCH = 4.0, 16


def evaluate_command(words: Sequence[str]) -> None:
    """Runs ``cryo-disentangle evaluate``.

    Args:
        words: Command line without the command's name.

    Raises:
        ValueError: If an option or the run is wrong.
        OSError: If a file is missing, or the folder can't be written to.
        TypeError: If the run's model is not supported.
        SystemExit: If help was asked for.
    """
    options = evaluate_parser().parse_args(words)
    with joined_processes():
        console = Console(quiet=process()[0] > 0)
        if not reads_latents(options.run, options.z):
            _evaluate_run(options, console)
        elif not process()[0]:
            evaluate_latents(options, _files(vars(options)), console)


def _evaluate_run(options: Namespace, console: Console) -> None:
    """Evaluates a run whose model is opened; processes share the inference of its particles."""
    run = open_run(options.run, options.epoch, _files(vars(options)))
    run = replace(run, kelvin=options.kelvin)
    if options.inference == "rendering":
        _plan(run, options, console)
    elif options.minutes is not None:
        raise ValueError("--minutes goes with --inference rendering")
    folder = options.out or options.run / "evaluation"
    inferring = _inferring(run, options, console, folder)
    device = chosen_device(options.device)
    if process()[0]:
        infer_share(inferring, batch_size=options.batch_size, device=device, sample=options.sample)
        return
    found = evaluate(
        inferring,
        truth=options.truth,
        batch_size=options.batch_size,
        device=device,
        sample=options.sample,
        resamples=options.resamples,
        states=options.states,
        console=console,
    )
    found.show(console)
    found.write(folder)
    steps = next_steps(
        found.judgement,
        str(options.run),
        cryodrgn=run.is_cryodrgn,
        exports=run.exports,
        rendered=options.inference == "rendering",
    )
    tell_report(console, folder, steps)


def report_command(words: Sequence[str]) -> None:
    """Runs ``cryo-disentangle report``.

    Args:
        words: Command line without the command's name.

    Raises:
        ValueError: If an option, the run or its evaluation is wrong.
        OSError: If a file is missing, or the folder can't be written to.
        TypeError: If the run's model is not supported.
        SystemExit: If help was asked for.
    """
    options = report_parser().parse_args(words)
    if reads_latents(options.run, options.z):
        folder = options.out or latents_folder(options.run)
        if is_evaluated(folder, None):
            Console().print(f"Report: {write_page(folder)}", markup=False, soft_wrap=True)
        else:
            evaluate_command(words)
        return
    folder = options.out or options.run / "evaluation"
    run = open_run(options.run, options.epoch, _files(vars(options)))
    # A run may be one that renders by itself.
    asked = "rendering" if options.inference == "run" and run.renders else options.inference
    if is_evaluated(folder, run.epoch, inference=asked):
        Console().print(f"Report: {write_page(folder)}", markup=False, soft_wrap=True)
    else:
        evaluate_command(words)


def export_command(words: Sequence[str]) -> None:
    """Runs ``cryo-disentangle export``.

    Args:
        words: Command line without the command's name.

    Raises:
        ValueError: If an option or the run is wrong.
        OSError: If a file is missing, or the folder can't be written to or holds a run.
        TypeError: If the format has no such model.
        SystemExit: If help was asked for.
    """
    options = export_parser().parse_args(words)
    console = Console()
    run = open_run(options.run, options.epoch, _files(vars(options)))
    export_cryodrgn(
        run,
        options.out,
        inferring=_inferring(run, options, console),
        batch_size=options.batch_size,
        device=chosen_device(options.device),
        console=console,
    )
    console.print(
        f"Written. Next: cryodrgn analyze {options.out} {run.epoch}",
        markup=False,
        soft_wrap=True,
    )


def _plan(run: FinishedRun, options: Namespace, console: Console) -> None:
    """Sets radius, sample and batch size so that rendering ends in time, and says so."""
    minutes = _MINUTES if options.minutes is None else options.minutes
    # Each process measures its own speed.
    plan = of_the_first(
        plan_rendering(
            run,
            particles=options.sample,
            minutes=minutes,
            radius=options.radius,
            device=chosen_device(options.device),
        )
    )
    options.radius, options.sample = plan.radius, plan.particles
    # Progress is told after each batch.
    options.batch_size = min(options.batch_size, _RENDERED_BATCH)
    console.print(
        f"Rendering finds z of {plan.particles} particles, up to {plan.radius} Fourier pixels, "
        f"in about {max(plan.minutes, 0.1):.1f} minutes (--minutes {minutes:g}, --sample, "
        "--radius).",
        markup=False,
        highlight=False,
    )


def _inferring(
    run: FinishedRun, options: Namespace, console: Console, folder: Path | None = None
) -> FinishedRun:
    """The run, inferring as the options say; statistics are written to the folder."""
    if options.inference != "rendering" and options.radius is not None:
        raise ValueError("--radius goes with --inference rendering")
    if options.inference == "run":
        return run
    if options.inference == "statistics" and folder is not None:
        return infer_by_statistics(
            run,
            folder / "statistics",
            batch_size=options.batch_size,
            device=chosen_device(options.device),
            console=console,
        )
    return infer_by_rendering(
        run,
        radius=options.radius,
        batch_size=options.batch_size,
        device=chosen_device(options.device),
        console=console,
    )


def _files(options: dict[str, object]) -> DataFiles:
    """Where particles lie now."""
    names = ("particles", "poses", "ctf", "datadir")
    return DataFiles(**{name: options[name] for name in names})  # type: ignore[arg-type]

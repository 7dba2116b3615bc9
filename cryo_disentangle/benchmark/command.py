"""The command ``cryo-disentangle benchmark``."""

from __future__ import annotations

import signal
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml
from rich.console import Console

from cryo_disentangle.benchmark.cells import Cell, Pass, Stack
from cryo_disentangle.benchmark.configuration import Benchmark, read_benchmark
from cryo_disentangle.benchmark.executors import ArrayExecutor, Executor, ProcessExecutor
from cryo_disentangle.benchmark.jobs import Job
from cryo_disentangle.benchmark.leaderboard import Findings, draw_leaderboard, write_summary
from cryo_disentangle.benchmark.planning import Plan, choose_cells, make_plan, make_stacks
from cryo_disentangle.benchmark.tables import collect, write_results
from cryo_disentangle.evaluation.streaming import show_progress
from cryo_disentangle.files.locks import alone_in
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.options.commands import benchmark_parser
from cryo_disentangle.options.shipped import find_config
from cryo_disentangle.version import __version__

__all__ = ["benchmark_command"]

_Stack = TypeVar("_Stack", bound=Stack)


def benchmark_command(words: Sequence[str]) -> None:
    """Runs ``cryo-disentangle benchmark``.

    Args:
        words: Command line without the command's name.

    Raises:
        ValueError: If an option or the benchmark is wrong, finished cells have other settings by
            now, or another process runs the benchmark.
        OSError: If a file is missing, or the folder can't be written to.
        SystemExit: If a cell failed, or help was asked for.
    """
    options = benchmark_parser().parse_args(words)
    benchmark = read_benchmark(Path(find_config(options.config, "benchmark")), options.set)
    console = Console(stderr=True)
    executor = _executor(options)
    if options.data_only:
        with _alone(options.out):
            stacks = make_stacks(benchmark, options.out, options.datasets)
            stacks = _open_stacks(stacks, rerun=options.rerun)
            failures = _run(executor, stacks, console, "Simulating")
        _leave(failures, len(stacks))
        return
    plan = make_plan(benchmark, options.out)
    chosen = choose_cells(benchmark, plan, options.datasets, options.methods)
    with _alone(options.out):
        failures = _run_plan(chosen, executor, console, rerun=options.rerun)
        folder = options.out
        found = _findings(benchmark, plan, failures)
        _write_tables(found, folder)
    console.print(
        f"Tables: {folder / 'summary.md'}, {folder / 'leaderboard.html'}",
        markup=False,
        soft_wrap=True,
    )
    _leave(failures, len(chosen.cells))


def _executor(options: Namespace) -> Executor:
    """Where jobs run."""
    if min(options.processes, options.threads) < 1:
        raise ValueError(
            "--processes and --threads must be above 0, found "
            f"{options.processes} and {options.threads}"
        )
    if options.slurm is None:
        return ProcessExecutor(options.processes, options.threads)
    parameters: dict[str, Any] = {}
    for word in options.slurm:
        name, equals, text = word.partition("=")
        if not equals:
            raise ValueError(f"--slurm: KEY=VALUE expected, found {word!r}")
        parameters[name] = yaml.safe_load(text)
    return ArrayExecutor(options.out / "slurm", options.threads, parameters)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keeps other processes from the folder, and ends as on Ctrl-C when told to terminate."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with alone_in(out, "another process runs a benchmark here"):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _run_plan(plan: Plan, executor: Executor, console: Console, *, rerun: bool) -> dict[str, str]:
    """Runs what is not finished; returns why some of it failed, by name."""
    waiting = _open_cells(plan.cells, rerun=rerun)
    needed = {cell.stack for cell in waiting}
    read = {cell.statistics for cell in waiting if "statistics" in cell.settings}
    stacks = [stack for stack in plan.stacks if stack.folder in needed]
    passes = [each for each in plan.passes if each.folder in read]
    stages: dict[str, Sequence[Job]] = {
        "Simulating": _open_stacks(stacks, rerun=rerun),
        "Finding subspaces": _open_stacks(passes, rerun=rerun),
        "Training and scoring": [cell for cell in plan.first if cell in waiting],
        "Reading latents": [cell for cell in plan.readings if cell in waiting],
    }
    failures: dict[str, str] = {}
    for what, jobs in stages.items():
        ready = []
        for job in jobs:
            reason = _unready(job, plan, failures)
            if reason is None:
                ready.append(job)
            else:
                failures[job.name] = reason
        failures |= _run(executor, ready, console, what)
    return failures


def _unready(job: Job, plan: Plan, failures: dict[str, str]) -> str | None:
    """Why a job can't run: what it needs has failed."""
    needed = set()
    if isinstance(job, Pass):
        needed = {job.stack}
    elif isinstance(job, Cell):
        needed = {job.stack, job.at(job.settings.get("of", ""))}
        needed |= {job.statistics} if "statistics" in job.settings else set()
    others: list[Job] = [*plan.stacks, *plan.passes, *plan.first]
    for other in others:
        if other.folder in needed and other.name in failures:
            return f"{other.name} failed"
    return None


def _open_cells(cells: Sequence[Cell], *, rerun: bool) -> list[Cell]:
    """Cells that are not finished, or are finished with other settings."""
    changed = [cell for cell in cells if cell.result is not None and cell.is_changed]
    _refuse_changed(changed, rerun=rerun)
    return [cell for cell in cells if cell.result is None or cell.is_changed]


def _open_stacks(stacks: Sequence[_Stack], *, rerun: bool) -> list[_Stack]:
    """Stacks that are not finished, or are finished with other settings."""
    changed = [stack for stack in stacks if stack.is_finished and stack.is_changed]
    _refuse_changed(changed, rerun=rerun)
    return [stack for stack in stacks if not stack.is_finished or stack.is_changed]


def _refuse_changed(changed: Sequence[Job], *, rerun: bool) -> None:
    """Refuses to mix results of two settings."""
    if changed and not rerun:
        raise ValueError(
            f"{len(changed)} finished before with other settings, the first is {changed[0].name} "
            f"({changed[0].folder}): give --rerun to run what has changed again, or another --out"
        )


def _run(executor: Executor, jobs: Sequence[Job], console: Console, what: str) -> dict[str, str]:
    """Runs jobs with a progress bar; returns why some failed, by name."""
    failures: dict[str, str] = {}
    if not jobs:
        return failures
    with show_progress(console) as progress:
        task = progress.add_task(what, total=len(jobs))
        for job, reason in executor.run(jobs):
            if reason is not None:
                failures[job.name] = reason
                progress.console.print(f"FAILED {job.name}: {reason}", markup=False, soft_wrap=True)
            progress.update(task, advance=1)
    return failures


def _findings(benchmark: Benchmark, plan: Plan, failures: dict[str, str]) -> Findings:
    """What there is to tell."""
    done = sum(cell.result is not None for cell in plan.cells)
    facts = {
        "benchmark": benchmark.file.name,
        "methods": ", ".join(benchmark.methods),
        "data sets": ", ".join(benchmark.datasets),
        "seeds": ", ".join(map(str, benchmark.seeds)),
        "scored": f"the last {benchmark.held_out:,} particles of each stack",
        "cells": f"{done} of {len(plan.cells)} finished",
        "made by": f"cryo-disentangle {__version__}, {datetime.now():%Y-%m-%d %H:%M}",
    }
    title = f"Benchmark {benchmark.file.stem}"
    return Findings(title, plan.cells, collect(plan.cells), failures, facts)


def _write_tables(found: Findings, out: Path) -> None:
    """Writes results.csv, summary.md and leaderboard.html."""
    write_results(out / "results.csv", found.entries)
    pages = {"summary.md": write_summary(found), "leaderboard.html": draw_leaderboard(found)}
    for name, text in pages.items():
        with replacing(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _leave(failures: dict[str, str], count: int) -> None:
    """Ends with an exit status that tells of failures."""
    if failures:
        sys.exit(
            f"cryo-disentangle: error: {len(failures)} of {count} failed "
            f"({', '.join(failures)}); the same command runs these again"
        )

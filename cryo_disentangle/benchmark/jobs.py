"""Runs a stack or a cell: processes of the command line, one after another, with a log."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import yaml

from cryo_disentangle.benchmark.cells import TRAINING, Cell, Pass, Stack
from cryo_disentangle.benchmark.merging import fill_in, merge
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.simulation import Simulation
from cryo_disentangle.statistics.folder import StatisticsFolder
from cryo_disentangle.statistics.writing import write_part

__all__ = ["Job", "JobError", "Launcher", "run_job", "training_configuration"]

Job: TypeAlias = Stack | Cell

_TAIL = 15
# Windows has no forks.
_FORKS = "forkserver" in multiprocessing.get_all_start_methods()
_CONTEXT: Any = multiprocessing.get_context("forkserver" if _FORKS else "spawn")
_PRELOADED = ["cryo_disentangle.benchmark.scoring", "cryo_disentangle.cli.training"]
if _FORKS:
    _CONTEXT.set_forkserver_preload(_PRELOADED)
# Seeds of restarts of neighbouring seeds must not meet: fewer restarts than this.
_RESTART_STRIDE = 100
_QUIET = {"enable_progress_bar": False, "enable_model_summary": False}


class JobError(RuntimeError):
    """A process failed; says which, with the end of its log."""


class Launcher:
    """Runs processes with a number of threads each, and ends them when told.

    They are forked from one that has imported all they need, which takes longer than a short
    training.

    Args:
        threads: Threads of each process.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._running: set[BaseProcess] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, words: Sequence[str | Path], log: Path) -> None:
        """Runs a Python module to its end.

        Args:
            words: Name of the module, and its arguments.
            log: File that what it prints is added to.

        Raises:
            JobError: If it fails.
        """
        command = [str(word) for word in words]
        log.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            if self._stopped:
                raise JobError("stopped")
            # What is imported once counts its threads then.
            os.environ.update(_environment(self._threads))
            process = _CONTEXT.Process(target=_run_module, args=(command, log))
            process.start()
            self._running.add(process)
        try:
            process.join()
        finally:
            with self._lock:
                self._running.discard(process)
        if process.exitcode:
            raise JobError(
                f"-m {' '.join(command[:2])} ended with {process.exitcode}; {log} ends with\n"
                f"{_tail(log)}"
            )

    def stop(self) -> None:
        """Ends what runs, and starts nothing more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


def _run_module(command: list[str], log: Path) -> None:
    """Runs ``python -m`` in this process, what it prints going to the log."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for printed in (1, 2):
        os.dup2(file, printed)
    # A process of its own, not one of the tasks of a job of SLURM.
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        del os.environ[name]
    sys.argv[:] = command
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


def _environment(threads: int) -> dict[str, str]:
    """What tells libraries their number of threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def _tail(log: Path) -> str:
    """The end of a log."""
    with log.open(encoding="utf-8", errors="replace") as file:
        return "".join(deque(file, _TAIL)).rstrip()


def run_job(job: Job, launcher: Launcher) -> None:
    """Simulates a stack, makes its statistics, or trains and scores a cell.

    An unfinished run is resumed if its settings are the same, and thrown away if not.

    Args:
        job: The stack, pass or cell.
        launcher: Runs its processes.

    Raises:
        JobError: If one of them fails.
        OSError: If a file can't be written.
    """
    if isinstance(job, Pass):
        _find_subspace(job, launcher)
    elif isinstance(job, Stack):
        _simulate(job, launcher)
    else:
        _run_cell(job, launcher)


def _simulate(stack: Stack, launcher: Launcher) -> None:
    """Writes the particles."""
    if stack.is_changed:
        shutil.rmtree(stack.folder, ignore_errors=True)
    stack.write_configuration()
    words: list[str | Path] = ["cryo_disentangle", "simulate", "--config", stack.configuration]
    launcher.run([*words, "--out", stack.folder], stack.log)


def _find_subspace(each: Pass, launcher: Launcher) -> None:
    """Reads the images once, and takes the scored particles out of what is trained on."""
    if each.is_changed:
        shutil.rmtree(each.folder, ignore_errors=True)
    each.write_configuration()
    if not each.folder.is_dir():
        options = each.folder.with_suffix(".options.yaml")
        with replacing(options) as temporary:
            temporary.write_text(yaml.safe_dump(dict(each.settings["options"])), encoding="utf-8")
        words: list[str | Path] = ["cryo_disentangle", "statistics", "--config", options]
        words += [each.stack / "particles.star", "--out", each.folder]
        launcher.run(words, each.log)
    found = StatisticsFolder.open(each.folder)
    write_part(found, slice(0, len(found) - each.settings["held_out"]), each.folder / TRAINING)


def _run_cell(cell: Cell, launcher: Launcher) -> None:
    """Trains as often as told, and scores."""
    if cell.is_changed:
        shutil.rmtree(cell.folder)
    cell.write_settings()
    if cell.settings["kind"] == "training":
        for number in range(cell.settings["restarts"]):
            _train(cell, number, launcher)
    launcher.run(["cryo_disentangle.benchmark.score_cell", cell.folder], cell.log)


def _train(cell: Cell, number: int, launcher: Launcher) -> None:
    """Trains once, unless that is done."""
    folder = cell.folder / f"restart_{number}"
    done = folder / "seconds.txt"
    if done.is_file():
        return
    folder.mkdir(exist_ok=True)
    path = cell.folder / f"restart_{number}.yaml"
    with replacing(path) as temporary:
        text = yaml.safe_dump(training_configuration(cell, number, folder), sort_keys=False)
        temporary.write_text(text, encoding="utf-8")
    words: list[str | Path] = ["cryo_disentangle", "fit", "--config", path]
    last = folder / "checkpoints" / "last.ckpt"
    if last.is_file():
        words += ["--ckpt_path", last]
    started = time.perf_counter()
    launcher.run(words, cell.log)
    with replacing(done) as temporary:
        temporary.write_text(f"{time.perf_counter() - started:.2f}\n", encoding="utf-8")


def training_configuration(cell: Cell, number: int, folder: Path) -> dict[str, Any]:
    """Completes the configuration of a training with files and seed.

    Args:
        cell: A cell of kind ``training``, whose stack is finished.
        number: Number of the restart.
        folder: Folder of the run.

    Returns:
        Configuration of ``cryo-disentangle fit``.

    Raises:
        OSError: If the list of training particles can't be written.
    """
    stack = cell.stack
    files = _statistics(cell) if "statistics" in cell.settings else _particles(cell)
    own = {
        "seed_everything": _RESTART_STRIDE * cell.seed + number,
        "trainer": {"default_root_dir": str(folder)},
        "data": {"init_args": files | {"labels": str(stack / "truth.npz")}},
    }
    training = fill_in(cell.settings["training"], {"data": str(stack)})
    return merge(merge({"trainer": _QUIET}, training), own)


def _statistics(cell: Cell) -> dict[str, str]:
    """What is trained on of statistics."""
    return {"statistics": str(cell.statistics / TRAINING)}


def _particles(cell: Cell) -> dict[str, str]:
    """What is trained on of images."""
    stack = cell.stack
    files = {"particles": str(stack / "particles.mrcs"), "poses": str(stack / "poses.pkl")}
    if cell.ctf is not None:
        files["ctf"] = str(cell.ctf)
    if not cell.settings["sees_held_out"]:
        files["indices"] = str(_training_rows(cell))
    return files


def _training_rows(cell: Cell) -> Path:
    """Particles before the held-out ones."""
    path = cell.folder / "training.npy"
    count = int(cell.settings["stack"].get("n_images", Simulation.n_images))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.arange(count - cell.settings["held_out"]))
    return path

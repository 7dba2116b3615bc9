"""Where jobs run: processes of this machine, or a SLURM array."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cryo_disentangle.benchmark.jobs import Job, Launcher, run_job

__all__ = ["ArrayExecutor", "Executor", "ProcessExecutor"]


class Executor(Protocol):
    """Runs jobs that don't depend on each other."""

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, str | None]]:
        """Runs jobs.

        Args:
            jobs: What to run.

        Yields:
            Each job when it has ended, with the reason if it failed.
        """
        ...


class ProcessExecutor:
    """Runs jobs side by side on this machine.

    Args:
        processes: How many at once.
        threads: Threads of each.
    """

    def __init__(self, processes: int, threads: int) -> None:
        self._processes, self._threads = processes, threads

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, str | None]]:
        """Runs jobs; see `Executor`. If the caller stops, what runs is ended."""
        launcher = Launcher(self._threads)
        with ThreadPoolExecutor(self._processes) as pool:
            waiting = {pool.submit(run_job, job, launcher): job for job in jobs}
            try:
                for future in as_completed(waiting):
                    error = future.exception()
                    yield waiting[future], None if error is None else str(error)
            finally:
                launcher.stop()
                pool.shutdown(cancel_futures=True)


class ArrayExecutor:
    """Runs jobs as an array of jobs of a cluster, by submitit.

    Args:
        folder: Where submitit keeps its scripts and logs; seen by all machines.
        threads: Threads, and cores, of each.
        options: What submitit's ``update_parameters`` takes, such as ``slurm_partition``.
        cluster: ``slurm``, or submitit's ``local`` for this machine.

    Raises:
        ValueError: If submitit or SLURM is absent, or submitit refuses an option.
    """

    def __init__(
        self, folder: Path, threads: int, options: Mapping[str, Any], cluster: str = "slurm"
    ) -> None:
        try:
            submitit = importlib.import_module("submitit")
        except ImportError as error:
            raise ValueError(
                "--slurm needs submitit, which is not installed: "
                "pip install 'cryo-disentangle[slurm]'"
            ) from error
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise ValueError("--slurm: this machine has no sbatch, so no SLURM")
        self._as_completed = submitit.helpers.as_completed
        self._threads = threads
        self._executor = submitit.AutoExecutor(folder, cluster=cluster)
        try:
            self._executor.update_parameters(**{"cpus_per_task": threads, **options})
        except (NameError, TypeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"--slurm: {reason}") from error

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, str | None]]:
        """Runs jobs; see `Executor`."""
        submitted = self._executor.map_array(partial(run_alone, threads=self._threads), jobs)
        known = {id(handle): job for handle, job in zip(submitted, jobs, strict=True)}
        for handle in self._as_completed(submitted):
            error = handle.exception()
            yield known[id(handle)], None if error is None else str(error)


def run_alone(job: Job, threads: int) -> None:
    """Runs a job in a process of its own; see `run_job`.

    Args:
        job: The job.
        threads: Threads of its processes.
    """
    run_job(job, Launcher(threads))

"""Processes of their own for tests, forked from one that has imported what they need.

An interpreter that imports torch and Lightning takes seconds; a fork of one takes none. What a test
needs of a fresh interpreter (its command line, its memory) it has to start itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from tests.pictures import save_coarsely

ROOT = Path(__file__).resolve().parents[1]
_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(
    ["cryo_disentangle.cli.training", "cryo_disentangle.evaluation.command", "tests.small_model"]
)


def environment() -> dict[str, str]:
    """One thread, so that sums are formed in one order, and no queue of a cluster."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "COLUMNS": "200"}


class Forked:
    """A function in a process of its own.

    Args:
        function: Of a module, so that it is found by name.
        words: Its arguments.
        more: Variables of the environment besides `environment`.
    """

    def __init__(
        self, function: Callable[..., object], *words: object, more: Mapping[str, str] | None = None
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._files = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        settings = environment() | dict(more or {})
        self._process = _FORK.Process(target=_work, args=(function, words, settings, self._files))
        with pytest.MonkeyPatch.context() as patch:
            # Of the server, which starts with the first process.
            patch.setenv("OMP_NUM_THREADS", "1")
            patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
            self._process.start()

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    def wait(self, seconds: float = 1500) -> int:
        """Waits for the end; returns the status, or minus the signal that ended it."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutError(f"still running after {seconds} s: {self.said()}")
        return self._process.exitcode

    def said(self) -> tuple[str, str]:
        """What it has written to stdout and to stderr."""
        first, second = (file.read_text() if file.exists() else "" for file in self._files)
        return first, second

    def close(self) -> None:
        """Ends it, and forgets what it said."""
        if self.running():
            self._process.kill()
            self._process.join()
        self._process.close()
        self._folder.cleanup()


@contextlib.contextmanager
def forked(
    function: Callable[..., object], *words: object, more: Mapping[str, str] | None = None
) -> Iterator[Forked]:
    """Runs a function in a process of its own, which does not outlive the block."""
    process = Forked(function, *words, more=more)
    try:
        yield process
    finally:
        process.close()


def alone(function: Callable[..., object], *words: object) -> str:
    """Runs a function in a process of its own, which must succeed; returns what it printed."""
    with forked(function, *words) as process:
        status, (said, errors) = process.wait(), process.said()
    assert status == 0, said[-2000:] + errors[-4000:]
    return said


def peak_memory() -> int:
    """Returns the largest resident set of this process in KiB, as Linux counts it.

    Not getrusage's, which a process takes over from the one that started it.
    """
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def together(function: Callable[..., object], *words: object, nodes: int = 1) -> list[str]:
    """Runs a function in two processes as torchrun starts them; both must succeed.

    Args:
        function: Of a module.
        words: Its arguments.
        nodes: 2 where each process is on a node of its own.

    Returns:
        What each wrote to stdout.
    """
    with socket.socket() as free, contextlib.ExitStack() as ending:
        free.bind(("127.0.0.1", 0))
        shared = {
            "GLOO_SOCKET_IFNAME": "lo",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free.getsockname()[1]),
            "TORCHELASTIC_RUN_ID": "none",
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": str(2 // nodes),
            "GROUP_WORLD_SIZE": str(nodes),
        }
        free.close()
        started = [
            ending.enter_context(forked(function, *words, more=shared | _place(rank, nodes)))
            for rank in range(2)
        ]
        for process in started:
            status = process.wait()
            assert status == 0, [each.said()[1][-4000:] for each in started]
        return [process.said()[0] for process in started]


def script(path: Path, *words: str) -> str:
    """Runs a script, as ``python PATH WORDS`` in the root of the clone; it must succeed.

    Args:
        path: Of the script.
        words: Of its command line.

    Returns:
        What it wrote to stdout.
    """
    return alone(_run_script, path, words)


def _run_script(path: Path, words: Sequence[str]) -> None:
    """What an interpreter does with a script."""
    os.chdir(ROOT)
    sys.path.insert(0, str(path.parent))
    sys.argv = [str(path), *words]
    runpy.run_path(str(path), run_name="__main__")


def _place(rank: int, nodes: int) -> dict[str, str]:
    """A process's own variables."""
    node, local = (rank, 0) if nodes == 2 else (0, rank)
    return {"RANK": str(rank), "GROUP_RANK": str(node), "LOCAL_RANK": str(local)}


def _work(
    function: Callable[..., Any],
    words: Sequence[object],
    settings: Mapping[str, str],
    files: Sequence[Path],
) -> None:
    """What the process does."""
    # Shells start background jobs, and so all that is forked of them, deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(settings)
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    warnings.simplefilter("ignore")
    Figure.savefig = save_coarsely  # type: ignore[assignment, method-assign]
    sys.argv = ["cryo-disentangle"]
    function(*words)

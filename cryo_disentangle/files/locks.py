"""A folder for one process at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["alone_in", "in_turn"]


@contextmanager
def alone_in(folder: Path, refusal: str) -> Iterator[None]:
    """Keeps other processes from a folder.

    The system gives the lock back when a process ends, however it ends. Of what was refused inside
    nothing is left: a folder that holds the lock alone is removed again.

    Args:
        folder: Is made if it is missing; gets a file ``.lock``.
        refusal: What to say to the second process, after the folder's name.

    Yields:
        Nothing; the folder is given back at the end.

    Raises:
        ValueError: If another process has it.
        OSError: If the folder can't be made or written to.
    """
    # Not at the top: Windows has none, and shall have the other commands.
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{folder}: {refusal}") from error
        # Another may have removed the file since it was opened, and a third locked a new one.
        if not path.is_file() or not os.path.samestat(os.fstat(lock.fileno()), path.stat()):
            raise ValueError(f"{folder}: {refusal}")
        try:
            yield
        except BaseException:
            if [other.name for other in folder.iterdir()] == [path.name]:
                path.unlink()
                folder.rmdir()
            raise


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Lets one process at a time do something; others wait until it is their turn.

    Args:
        path: A file to lock, which is made.

    Yields:
        Nothing; the next process goes on at the end.

    Raises:
        OSError: If the file can't be written.
    """
    import fcntl

    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

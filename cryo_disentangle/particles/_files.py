"""Paths in and out: nothing half-written, and data files found where people keep them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["MissingColumnError", "locate", "replacing", "require_folder"]


class MissingColumnError(ValueError):
    """A table lacks a column that was asked for."""


def require_folder(path: Path) -> None:
    """Refuses a file whose folder is missing, is a file or cannot be written to.

    Args:
        path: File about to be written.

    Raises:
        FileNotFoundError: If the folder does not exist.
        NotADirectoryError: If it is a file.
        PermissionError: If this user may not write there.
    """
    folder = path.resolve().parent
    if not folder.exists():
        raise FileNotFoundError(f"cannot write {path.name}: folder {folder} does not exist")
    if not folder.is_dir():
        raise NotADirectoryError(f"cannot write {path.name}: {folder} is a file, not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write {path.name}: no permission to write in {folder}")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives a temporary name in the folder of ``path`` that takes its place on success.

    Args:
        path: File to be written.

    Yields:
        The temporary name; on an exception it is removed and ``path`` stays as it was.
    """
    path = Path(path)
    require_folder(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def locate(name: str, folder: Path, mentioned: str) -> Path:
    """Finds a data file named by a table, by cryoDRGN's rules.

    Args:
        name: Path as the table has it.
        folder: Where to look if it is not found as it is.
        mentioned: Table and row, for the message.

    Returns:
        ``name`` itself if it exists, else ``folder / name``, else ``folder`` / its last part.

    Raises:
        FileNotFoundError: If none of them exists.
    """
    candidates = [Path(name), folder / name, folder / Path(name).name]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"{mentioned} names {name}, found neither as it is nor in {folder} (datadir), "
        f"with or without its folders"
    )

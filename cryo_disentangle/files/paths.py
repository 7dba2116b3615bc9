"""Files written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["MissingColumnError", "replacing", "require_folder"]


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

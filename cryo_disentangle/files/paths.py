"""Files checked before they are read, and written whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["MissingColumnError", "beginning", "readable", "replacing", "require_folder"]

_LFS = b"version https://git-lfs.github.com/spec/"
_COMPRESSED = {
    b"\x1f\x8b\x08": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ\0": ("xz", "unxz"),
    b"(\xb5/\xfd": ("Zstandard", "unzstd"),
    b"\x04\x22\x4d\x18": ("LZ4", "unlz4"),
    b"\x1f\x9d": ("compress", "uncompress"),
}
_LONGEST_MAGIC = 64


class MissingColumnError(ValueError):
    """A table lacks a column that was asked for."""


def readable(path: str | Path, what: str) -> Path:
    """Refuses what is no file of bytes to read, whatever its format.

    Args:
        path: The file.
        what: What is expected there, for the message: "a STAR file".

    Returns:
        The path.

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If it is a folder.
        PermissionError: If this user may not read it.
        ValueError: If it is empty, compressed, a Git LFS pointer, a pipe or a device, or the name
            is none that a file can have.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path}: {_why_missing(path)}") from None
    except PermissionError:
        raise PermissionError(f"{path}: no permission to enter its folder") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: cannot be opened: {reason}") from error
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path}: a folder, expected {what}")
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path}: a pipe or a device, expected {what} on a disk")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path}: no permission to read it")
    _check_beginning(path, what)
    return path


def _why_missing(path: Path) -> str:
    """What is there instead of a file that does not exist."""
    if path.is_symlink():
        return f"a link to {os.readlink(path)}, which does not exist"
    for suffix in (".gz", ".bz2", ".xz", ".zst"):
        if Path(f"{path}{suffix}").exists():
            return f"no such file, but there is {path.name}{suffix}; decompress it"
    return "no such file"


def _check_beginning(path: Path, what: str) -> None:
    """Refuses by the first bytes what is another file's stand-in or wrapping."""
    start = beginning(path)
    if not start:
        raise ValueError(f"{path}: the file is empty, expected {what}")
    if start.startswith(_LFS):
        raise ValueError(
            f"{path}: a Git LFS pointer instead of {what}; fetch the file with `git lfs pull`"
        )
    for magic, (name, command) in _COMPRESSED.items():
        if start.startswith(magic):
            raise ValueError(
                f"{path}: compressed with {name}, expected {what}; decompress it first ({command})"
            )


def beginning(path: Path) -> bytes:
    """Reads the bytes that tell what a file is.

    Args:
        path: A file that exists.

    Returns:
        Its first 64 bytes, or all of a shorter file.
    """
    with path.open("rb") as file:
        return file.read(_LONGEST_MAGIC)


def require_folder(path: Path) -> None:
    """Refuses a file whose folder is missing, is a file or cannot be written to.

    Args:
        path: File about to be written.

    Raises:
        FileNotFoundError: If the folder does not exist.
        NotADirectoryError: If it is a file.
        IsADirectoryError: If a folder has the file's name.
        PermissionError: If this user may not write there.
    """
    folder = path.resolve().parent
    if not folder.exists():
        raise FileNotFoundError(f"cannot write {path.name}: folder {folder} does not exist")
    if not folder.is_dir():
        raise NotADirectoryError(f"cannot write {path.name}: {folder} is a file, not a folder")
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path.name}: there is a folder of that name")
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

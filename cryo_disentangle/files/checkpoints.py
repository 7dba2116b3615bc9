"""What ``torch.save`` has written, read without running anybody's code."""

from __future__ import annotations

import _codecs
import pickle
import pickletools
import re
import warnings
import zipfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cryo_disentangle.files.paths import readable

__all__ = ["map_tensor", "read_checkpoint", "read_tensors"]

# What Lightning writes into each.
_KEYS = ("state_dict", "epoch", "global_step", "pytorch-lightning_version")

_HARMLESS = ("torch", "numpy", "collections", "_codecs")


def read_tensors(path: str | Path, what: str) -> dict[str, Any]:
    """Reads a dictionary of tensors, arrays and numbers.

    Args:
        path: The file.
        what: What is expected there, for the message: "a checkpoint".

    Returns:
        What it holds, tensors on the host.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, is no dictionary, or wants to import anything else.
    """
    path = readable(path, what)
    # A damaged file can raise nearly any exception.
    try:
        content = _load(path)
    except Exception as error:
        # What torch says recommends to run the file's code.
        name = _wanted(path, str(error))
        if name is None:
            raise ValueError(
                f"{path}: refused as {what}: it is damaged, truncated or another kind of file"
            ) from error
        raise ValueError(
            f"{path}: refused as {what}: it wants to import {name}, and only tensors, arrays and "
            "numbers are read; nothing in it was run"
        ) from error
    if not isinstance(content, dict):
        found = type(content).__name__
        raise ValueError(f"{path}: refused as {what}: expected a dictionary, found {found}")
    return content


def map_tensor(path: str | Path, what: str) -> torch.Tensor:
    """Maps a tensor: values are read when they are asked for.

    Args:
        path: The file.
        what: What is expected there, for the message.

    Returns:
        The tensor.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, is no tensor, or wants to import anything.
    """
    path = readable(path, what)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise ValueError(
            f"{path}: refused as {what}: it is damaged, truncated, holds more than tensors, or is "
            "another kind of file"
        ) from error
    if not isinstance(content, torch.Tensor):
        found = type(content).__name__
        raise ValueError(f"{path}: refused as {what}: expected a tensor, found {found}")
    return content


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint of Lightning, without running any code of it.

    Args:
        path: The file.

    Returns:
        What was written.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, of another kind, or would run code.
    """
    found = read_tensors(path, "a checkpoint")
    missing = [name for name in _KEYS if name not in found]
    if missing:
        raise ValueError(
            f"{path}: refused as a checkpoint: it is not of a training run, since it has no "
            f"{missing[0]}"
        )
    return found


def _load(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Reads tensors, and where there are some numpy's arrays, and nothing else."""
    with warnings.catch_warnings():
        # Of pickles that torch did not write.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if not re.search(r"GLOBAL (numpy|_codecs)", str(error)):
                raise
        with _arrays_allowed():
            return torch.load(path, map_location="cpu", weights_only=True)


def _arrays_allowed() -> AbstractContextManager[Any]:
    """Lets weights come with arrays of numbers, as ``abinit_het_old`` and OPUS-DSD save them."""
    rebuild = np.ones(0).__reduce__()[0]
    # Bytes of an array are text in pickles of protocol 2.
    allowed: list[Any] = [np.ndarray, np.dtype, bytes, _codecs.encode]
    allowed += [type(np.dtype(code)) for code in ("f4", "f8", "i4", "i8")]
    # numpy renamed `core` in 2.0.
    allowed += [(rebuild, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    return torch.serialization.safe_globals(allowed)


def _wanted(path: Path, message: str) -> str | None:
    """What a refused file wanted to import, by torch's message or else by its pickle."""
    told = re.search(r"GLOBAL ([\w.]+)", message)
    if told:
        return told[1]
    try:
        names = _imports(_pickle_of(path))
    # Pickles of anybody's making can be broken anywhere.
    except Exception:
        return None
    return next((name for name in names if name.partition(".")[0] not in _HARMLESS), None)


def _pickle_of(path: Path) -> bytes:
    """The pickle of a checkpoint: a member of an archive, or the file itself."""
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


def _imports(content: bytes) -> list[str]:
    """Names that a pickle imports, found without executing it."""
    names: list[str] = []
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in ("GLOBAL", "INST"):
                names.append(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                names.append(".".join(texts[-2:]))
            elif isinstance(argument, str):
                texts.append(argument)
    except ValueError:
        # Damaged further on; what was found until then counts.
        return names
    return names

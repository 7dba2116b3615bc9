"""``weights.pkl`` of cryoDRGN, read without running anybody's code."""

from __future__ import annotations

import _codecs
import pickle
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = ["read_tensors", "read_weights"]


def read_weights(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint of cryoDRGN.

    Args:
        path: ``weights.pkl`` or ``weights.N.pkl``.

    Returns:
        What it holds, tensors on the host: ``epoch``, ``model_state_dict``,
        ``optimizer_state_dict`` and whatever else its program has written.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, holds more than tensors, arrays and numbers, or no weights.
    """
    content = read_tensors(path)
    if "model_state_dict" not in content:
        raise ValueError(f"{path}: refused as weights: it has no model_state_dict")
    return content


def read_tensors(path: str | Path) -> dict[str, Any]:
    """Reads a dictionary that ``torch.save`` has written.

    Args:
        path: The file.

    Returns:
        What it holds, tensors on the host.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or holds more than tensors, arrays and numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    # A damaged file can raise nearly any exception.
    try:
        content = _load(path)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: refused as weights, damaged or truncated: {reason}") from error
    if not isinstance(content, dict):
        found = type(content).__name__
        raise ValueError(f"{path}: refused as weights: expected a dictionary, found {found}")
    return content


def _load(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Reads tensors, and where there are some numpy's arrays, and nothing else."""
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

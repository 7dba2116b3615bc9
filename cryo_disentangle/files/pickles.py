"""Pickles of arrays and numbers, read without running anybody's code."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from cryo_disentangle.files.paths import readable, replacing

__all__ = ["load_pickles", "write_pickles"]

_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
        )
    ),
}
_CORE = "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
# Read by every Python 3 from 3.4 on.
_PROTOCOL = 4


class _RefusedImport(pickle.UnpicklingError):
    """A pickle wants to import what it must not."""


class _Arguments:
    """Stands in for ``argparse.Namespace``: attributes, and no methods."""


class _Unread:
    """Stands in for what RECOVAR keeps beside its arrays: takes anything, and holds nothing."""

    def __init__(self, *_: object) -> None:
        """Drops what it is made of."""

    def __setstate__(self, _: object) -> None:
        """Drops what it would hold."""


def _device_array(make: Any, given: tuple[Any, ...], state: Any, _: object) -> Any:  # noqa: ANN401
    """An array of JAX as the array of numpy that it was pickled as."""
    array = make(*given)
    array.__setstate__(state)
    return array


# Instances of these are made in place of what a pickle names; none of it is imported.
_STAND_INS = {
    ("argparse", "Namespace"): _Arguments,
    ("jax._src.array", "_reconstruct_array"): _device_array,
}
_UNREAD = ("jax", "jaxlib", "recovar")


class _NumpyUnpickler(pickle.Unpickler):
    """Builds arrays, tuples, lists, dictionaries, arguments, text and numbers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if (module, name) in _STAND_INS:
            return _STAND_INS[module, name]
        if module.partition(".")[0] in _UNREAD:
            return _Unread
        if (module, name) not in _ALLOWED:
            raise _RefusedImport(
                f"it wants to import {module}.{name}, and only numpy arrays are read from pickles"
            )
        # numpy renamed `core` in 2.0 and warns at the old name.
        _, core, submodule = module.rpartition("core.")
        return super().find_class(f"{_CORE}.{submodule}" if core else module, name)


def load_pickles(path: str | Path) -> list[Any]:
    """Reads all pickles of a file, one after the other.

    Args:
        path: File of one or more pickles of numpy arrays, tuples, lists, dictionaries and numbers.

    Returns:
        The objects, in order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or a pickle wants to import anything but numpy's arrays.
    """
    path = readable(path, "a pickle")
    stream = io.BytesIO(path.read_bytes())
    size = stream.getbuffer().nbytes
    objects = []
    # A damaged pickle can raise nearly any exception.
    try:
        while stream.tell() < size:
            objects.append(_NumpyUnpickler(stream).load())
    except Exception as error:
        reason = str(error) if isinstance(error, _RefusedImport) else "it is damaged or truncated"
        raise ValueError(f"{path}: refused as a pickle: {reason}") from error
    return objects


def write_pickles(path: str | Path, *objects: object) -> None:
    """Writes pickles one after the other, as `load_pickles` reads them.

    Args:
        path: File to write.
        *objects: What to pickle.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        for value in objects:
            pickle.dump(value, file, protocol=_PROTOCOL)

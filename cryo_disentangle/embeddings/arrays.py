"""Latents that lie in a file of their own: ours, cryoSTAR's, cryoSPHERE's, EMAN2's, anybody's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cryo_disentangle.embeddings.embedding import Array, Embedding
from cryo_disentangle.embeddings.run_arguments import with_arguments
from cryo_disentangle.files.arrays import map_array, read_archive
from cryo_disentangle.particles.pickles import read_latents

__all__ = ["ARRAYS", "is_own_run", "read_array", "read_cryostar", "read_eman2", "read_own"]

ARRAYS = (".npy", ".npz", ".csv", ".txt", ".pkl")
_NAMES = ("latents", "z", "mean")
# Columns that name particles: `predict` calls their row index, the others RELION's and Xmipp's.
_KEYS = {
    "row": "rows",
    "index": "rows",
    "uid": "uids",
    **dict.fromkeys(("image_name", "rlnImageName", "_rlnImageName", "image"), "image_names"),
}
_WIDTHS = ("covariance", "log_variance")
_OWN = ("evaluation", "prediction")


def read_array(path: Path, key: str | None = None) -> Embedding:
    """Reads latents of an array or a table of numbers.

    Archives and tables with a header may also have ``row`` or ``index`` (row of each in the
    particle file), ``uid`` or ``image_name``; archives the posteriors' ``covariance`` (n, Z, Z) or
    ``log_variance`` (n, Z). Tables of EMAN2 (``.txt``) begin with a column of row numbers; so does
    every ``.txt`` whose first column holds different whole numbers.

    Args:
        path: ``.npy``, ``.npz``, ``.csv`` (a header, or none), ``.txt`` or a pickle as cryoDRGN
            writes.
        key: Array of an ``.npz``; None is the one called ``latents``, ``z`` or ``mean``.

    Returns:
        The embedding; without ``row`` its rows count from 0.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, no table of numbers, or has no such array.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        found = _contents(path, key)
    except (ValueError, EOFError) as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    embedding = Embedding("latents", path, **found._asdict())
    named = (found.rows, found.uids, found.image_names)
    return _numbered(embedding) if all(keys is None for keys in named) else embedding


class _Contents(NamedTuple):
    """What a file holds."""

    latents: Array
    rows: Array | None = None
    covariance: Array | None = None
    coordinates: tuple[str, ...] = ()
    uids: Array | None = None
    image_names: Array | None = None


def _contents(path: Path, key: str | None) -> _Contents:
    """Reads a file by its suffix."""
    match path.suffix.lower():
        case ".npz":
            return _archive(path, key)
        case ".npy":
            return _Contents(np.array(map_array(path, "an array of latents")))
        case ".csv":
            return _comma_separated(path)
        case ".txt":
            return _Contents(*_text(path))
        case ".pkl":
            latents, log_variance = read_latents(path)
            covariance = None if log_variance is None else _diagonal(log_variance)
            return _Contents(latents, covariance=covariance)
        case suffix:
            raise ValueError(f"expected one of {', '.join(ARRAYS)}, found {suffix or 'none'}")


def read_cryostar(folder: Path) -> Embedding:
    """Reads latents of cryoSTAR and cryoSPHERE: ``z.npy``, of cryoSTAR's last epoch.

    Args:
        folder: Folder of the run or of an epoch.

    Returns:
        The embedding.

    Raises:
        FileNotFoundError: If there is no ``z.npy``.
        ValueError: If it is damaged.
    """
    here = folder / "z.npy"
    # cryoSTAR has a folder an epoch, EEEE_SSSSSSS, both counted.
    path = here if here.is_file() else max(folder.glob("[0-9]*_[0-9]*/z.npy"), default=here)
    return read_array(path)


def is_own_run(folder: Path) -> bool:
    """Returns whether a folder holds what ``cryo-disentangle fit`` leaves.

    Args:
        folder: Any folder.

    Returns:
        Whether there are a configuration and checkpoints.
    """
    return (folder / "checkpoints").is_dir() and (folder / "config.yaml").is_file()


def read_own(folder: Path, key: str | None = None) -> Embedding:
    """Reads latents of our own runs, as ``evaluate`` or ``predict`` has written them.

    Args:
        folder: The run's folder.
        key: ``evaluation`` or ``prediction``; None where there is one of them.

    Returns:
        The embedding.

    Raises:
        FileNotFoundError: If neither has been written.
        ValueError: If both have, or the file is damaged.
    """
    names = _OWN if key is None else (key,)
    found = [path for name in names if (path := folder / name / "latents.npz").is_file()]
    if not found:
        raise FileNotFoundError(
            f"{folder}: no latents.npz in {' or '.join(names)}: run `cryo-disentangle evaluate "
            f"{folder}` first"
        )
    if len(found) > 1:
        raise ValueError(f"{folder}: latents of both {' and '.join(names)}; name one by --z")
    return replace(read_array(found[0]), tool="cryo-disentangle")


def read_eman2(folder: Path, key: str | None = None) -> Embedding:
    """Reads latents of EMAN2's e2gmm: ``mid_*.txt``, the first column the row in its list.

    Args:
        folder: The run's folder, ``gmm_00``.
        key: Name of one of several files; None where there is one.

    Returns:
        The embedding.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there are several to choose from, or the file is damaged.
    """
    files = sorted(folder.glob("mid_*.txt")) if key is None else [folder / key]
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise ValueError(f"{folder}: several files of latents, name one by --z: {names}")
    return replace(read_array(files[0]), tool="EMAN2 e2gmm")


def _numbered(embedding: Embedding) -> Embedding:
    """The same with rows: those of the run where its configuration lies beside, or counted."""
    path = embedding.source
    if path.suffix.lower() == ".pkl":
        embedding = with_arguments(embedding, path.parent / "config.yaml")
    if embedding.rows is None and embedding.particles is None:
        return replace(embedding, rows=np.arange(len(embedding)), counted=True)
    return embedding


def _archive(path: Path, key: str | None) -> _Contents:
    """Latents of an archive, by name, and what else is known of them."""
    names = _NAMES if key is None else (key,)
    found = read_archive(path, (*names, *_KEYS, *_WIDTHS), "latents")
    if not found.keys() & set(names):
        present = ", ".join(found)
        raise ValueError(f"no array {' or '.join(names)}, found {present}; name it by --z")
    latents = next(found[name] for name in names if name in found)
    covariance, log_variance = (found.get(name) for name in _WIDTHS)
    if covariance is None and log_variance is not None and log_variance.shape == latents.shape:
        covariance = _diagonal(log_variance)
    keys: dict[str, Any] = {_KEYS[name]: found[name] for name in found if name in _KEYS}
    return _Contents(latents, covariance=covariance)._replace(**keys)


def _diagonal(log_variance: Array) -> Array:
    """Covariances (n, Z, Z) of coordinates that are independent."""
    return np.asarray(np.exp(log_variance)[:, :, None] * np.eye(log_variance.shape[1]))


def _comma_separated(path: Path) -> _Contents:
    """Numbers, the names of a header where there is one, and columns that name particles."""
    with path.open(encoding="utf-8-sig") as file:
        first = [word.strip().strip('"') for word in file.readline().split(",")]
    try:
        [float(word) for word in first]
        named: list[str] = []
    except ValueError:
        named = first

    def read(columns: list[int], kind: type) -> Array:
        """Some columns of all rows."""
        return np.loadtxt(
            path,
            kind,
            delimiter=",",
            skiprows=1 if named else 0,
            ndmin=2,
            encoding="utf-8-sig",
            usecols=columns,
            quotechar='"',
        )

    # Tables of pandas begin with a column without a name, which counts.
    keys = {k: _KEYS.get(name or "row") for k, name in enumerate(named)}
    columns = [k for k in range(len(first)) if keys.get(k) is None]
    kinds = {"uids": np.uint64, "image_names": np.str_, "rows": np.int64}
    found: dict[str, Any] = {
        key: read([k], kinds[key])[:, 0] for k, key in keys.items() if key is not None
    }
    coordinates = tuple(named[k] for k in columns) if named else ()
    latents = read(columns, np.float64)
    return _Contents(latents, coordinates=coordinates)._replace(**found)


def _text(path: Path) -> tuple[Array, Array | None]:
    """Numbers, without the first column where it holds rows: different whole numbers."""
    table = np.loadtxt(path, ndmin=2, encoding="utf-8")
    rows = table[:, 0]
    whole = (rows >= 0).all() and np.array_equal(rows, np.rint(rows))
    if table.shape[1] > 1 and whole and len(np.unique(rows)) == len(rows):
        return table[:, 1:], rows.astype(np.int64)
    return table, None

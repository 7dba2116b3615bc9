"""Latents of RECOVAR, 0.4 to 1.x."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cryo_disentangle.embeddings.embedding import Array, Embedding, LinearVolumes
from cryo_disentangle.files.arrays import map_array
from cryo_disentangle.files.pickles import load_pickles

__all__ = ["read_recovar"]

_FOLDER = re.compile(r"zdim_(\d+)")
_BY_HALVES = ("0", "0.0")
# Eigenvalues this many rounding errors small are 0.
_SINGULAR = 10
_REGULARISED = {"latent_coords": "zs", "latent_precision": "cov_zs", "contrasts": "contrasts"}


def read_recovar(folder: Path, key: str | None = None) -> Embedding:
    """Reads latents of a RECOVAR pipeline.

    Arrays have a row for each particle of the file up to the last one used, NaN where a particle
    was not used. What the program calls ``latent_precision`` (before 1.0 ``cov_zs``) is the inverse
    of the posterior covariance, whatever its docstring says. Where it is singular the particle
    counts as not embedded.

    Args:
        folder: The run's folder, that with ``model`` in it.
        key: Number of coordinates, with ``_noreg`` for those without regularisation: ``10``,
            ``10_noreg``; None is the regularised one of the largest number.

    Returns:
        The embedding; ``rows`` count in the particle file that RECOVAR was given.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged or not what it should be, there are no such latents, or
            nothing is known of any particle in some direction.
    """
    model = folder / "model"
    folders = {
        int(match[1]): path
        for path in model.iterdir()
        if path.is_dir() and (match := _FOLDER.fullmatch(path.name))
    }
    # Its metadata.json names embeddings.pkl, which versions from 1.0 on no longer write.
    found = _from_arrays(folders, key) if folders else _from_pickle(model / "embeddings.pkl", key)
    source, chosen, arrays = found
    latents = np.asarray(arrays["latent_coords"])
    used = np.flatnonzero(np.isfinite(latents).all(axis=1))
    parameters = _parameters(model / "params.pkl")
    halves = _halves(model / "particles_halfsets.pkl")
    rows = used if halves is None else _rows(latents, halves, parameters.get("version"), source)
    contrast = arrays.get("contrasts")
    embedding = Embedding(
        "RECOVAR",
        source,
        latents[used],
        errors=True,
        rows=rows,
        left_out=len(latents) - len(used),
        particles=getattr(parameters.get("input_args"), "particles", None),
        volumes=None if chosen.endswith("_noreg") else _volumes(folder, latents.shape[1]),
        extra={} if contrast is None else {"contrast": np.asarray(contrast)[used]},
    )
    precision = arrays.get("latent_precision")
    return embedding if precision is None else _uncertain(embedding, np.asarray(precision)[used])


def _uncertain(found: Embedding, precision: Array) -> Embedding:
    """Adds covariances, and leaves out particles of which an image told nothing in some direction.

    A precision of 0 is no variance of 0 but an infinite one: the latent there is the prior's.
    """
    told, covariance = _inverted(precision)
    lost = int((~told).sum())
    if lost == len(told):
        raise ValueError(
            f"{found.source}: latent_precision of all {lost} particles is singular, so that "
            "nothing is known of them in some direction: take fewer coordinates by --z"
        )
    found = replace(found, covariance=covariance)
    if not lost:
        return found
    mind = (
        f"latent_precision of {lost:,} particles is singular: nothing is known of them in some "
        "direction, and they count as not embedded"
    )
    return replace(found.take(told), mind=mind)


def _inverted(precision: Array) -> tuple[Array, Array]:
    """Which matrices (n, Z, Z) have an inverse in float32, whatever the units, and the inverses."""
    matrices = np.asarray(precision, dtype=np.float64)
    matrices = (matrices + matrices.mT) / 2
    width = matrices.shape[1]
    scale = np.diagonal(matrices, axis1=1, axis2=2)
    told = np.asarray(np.isfinite(matrices).all(axis=(1, 2)) & (scale > 0).all(axis=1))
    unit = np.sqrt(np.where(told[:, None], scale, 1))
    even = matrices / unit[:, :, None] / unit[:, None]
    even[~told] = np.eye(width)
    least = np.linalg.eigvalsh(even)[:, 0]
    told &= least > _SINGULAR * width * np.finfo(np.float32).eps
    even[~told] = np.eye(width)
    return told, np.linalg.inv(even) / unit[:, :, None] / unit[:, None]


def _chosen(key: str | None, numbers: list[int], source: Path) -> tuple[int, str]:
    """Number of coordinates and suffix of a key."""
    match = re.fullmatch(r"(\d+)(_noreg)?", str(max(numbers)) if key is None else key)
    if match is None or int(match[1]) not in numbers:
        names = ", ".join(f"{n}, {n}_noreg" for n in sorted(numbers))
        raise ValueError(f"{source}: no latents {key}, found {names}")
    return int(match[1]), match[2] or ""


def _from_arrays(folders: dict[int, Path], key: str | None) -> tuple[Path, str, dict[str, Array]]:
    """Arrays of version 1.0 and later, a file each."""
    number, suffix = _chosen(key, list(folders), next(iter(folders.values())).parent)
    folder = folders[number]
    source = folder / f"latent_coords{suffix}.npy"
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file")
    paths = {name: folder / f"{name}{suffix}.npy" for name in _REGULARISED}
    arrays = {
        name: np.array(map_array(path, "an array of RECOVAR"))
        for name, path in paths.items()
        if path.is_file()
    }
    return source, f"{number}{suffix}", arrays


def _from_pickle(path: Path, key: str | None) -> tuple[Path, str, dict[str, Array]]:
    """Arrays of versions before 1.0, in one dictionary of dictionaries."""
    stored = load_pickles(path)[0]
    latents = stored.get("zs", stored.get("latent_coords")) if isinstance(stored, dict) else None
    if not isinstance(latents, dict) or not latents:
        raise ValueError(f"{path}: expected RECOVAR's dictionary with zs, found none")
    number, suffix = _chosen(key, [int(k) for k in latents if str(k).isdigit()], path)

    def of(tables: Any) -> Array | None:  # noqa: ANN401 - what a pickle held
        if not isinstance(tables, dict):
            return None
        for name in (f"{number}{suffix}", number if not suffix else None):
            if name in tables:
                return np.asarray(tables[name])
        return None

    arrays = {new: of(stored.get(old, stored.get(new))) for new, old in _REGULARISED.items()}
    if arrays["latent_coords"] is None:
        raise ValueError(f"{path}: no latents {number}{suffix}")
    return path, f"{number}{suffix}", {k: v for k, v in arrays.items() if v is not None}


def _halves(path: Path) -> Array | None:
    """Rows of both half sets, one after the other."""
    if not path.is_file():
        return None
    return np.concatenate([np.asarray(half, dtype=np.int64) for half in load_pickles(path)[0]])


def _rows(latents: Array, halves: Array, version: object, source: Path) -> Array:
    """Row in the particle file of each latent that is there.

    Arrays have the particle file's rows up to the last used one; those of version 0 only the used
    ones, one half set after the other, and those from 0.8 on the used ones in the file's order.
    """
    used, rows = np.flatnonzero(np.isfinite(latents).all(axis=1)), np.sort(halves)
    short = len(used) == len(latents) == len(rows)
    if short and str(version) in _BY_HALVES:
        return halves
    if np.array_equal(used, rows):
        return rows
    if short and re.fullmatch(r"0\.[1-7]|None", str(version)) is None:
        return rows
    if short:
        raise ValueError(
            f"{source}: {len(latents)} latents of the {len(rows)} particles in "
            f"particles_halfsets.pkl, but version {version} in params.pkl writes a row for each "
            f"particle up to the last one used, {rows[-1] + 1}: their order is not known"
        )
    raise ValueError(
        f"{source}: latents of {len(used)} particles, but particles_halfsets.pkl names {len(rows)} "
        "others"
    )


def _parameters(path: Path) -> dict[str, Any]:
    """What the run was made with."""
    parameters = load_pickles(path)[0] if path.is_file() else {}
    return parameters if isinstance(parameters, dict) else {}


def _volumes(folder: Path, width: int) -> LinearVolumes | None:
    """Mean and eigenvolumes."""
    volumes = folder / "output" / "volumes"
    mean = volumes / "mean.mrc"
    components = tuple(volumes / f"eigen_pos{k:04d}.mrc" for k in range(width))
    if all(path.is_file() for path in (mean, *components)):
        return LinearVolumes(mean, components)
    return None

"""Latents of cryoSPARC: 3D variability analysis, 3D Flex and 3D classification."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import torch

from cryo_disentangle.embeddings.embedding import Array, Embedding, LinearVolumes, ParticlePoses
from cryo_disentangle.files.cs import CsTable
from cryo_disentangle.geometry.rotations import rotation_vector_to_rotation
from cryo_disentangle.particles.keys import rows_by_key

__all__ = ["is_cryosparc_job", "read_cryosparc"]

_VALUE = re.compile(r"components_mode_(\d+)/value")
_POSTERIOR = re.compile(r"alignments_class3D_(\d+)/class_posterior")
_POSTERIORS = "alignments3D_multi/class_posterior"
_TOOLS = {"var_3D": "cryoSPARC 3DVA", "flex_train": "cryoSPARC 3DFlex"}
# Particle tables of a job, of cryoSPARC 3 and before too, and exported ones: J11_particles.cs,
# cryosparc_P3_J11_005_particles.cs, J11_particles_exported.cs.
_PARTICLES = "*particles*.cs"
_ITERATION = re.compile(r"_\d{3,}(?=_particles)")


def _tables(folder: Path) -> list[Path]:
    """Particle tables of a job, those that were passed through last."""
    return sorted(folder.glob(_PARTICLES), key=lambda path: ("passthrough" in path.name, path.name))


def is_cryosparc_job(folder: Path) -> bool:
    """Returns whether a folder holds a cryoSPARC job that embeds particles.

    Args:
        folder: Any folder.

    Returns:
        Whether one of its particle tables has latents.
    """
    return any(_coordinates(CsTable(path)) for path in _tables(folder))


def _coordinates(table: CsTable) -> tuple[str, ...]:
    """Fields of latents, in order."""
    for pattern in (_VALUE, _POSTERIOR):
        found = {int(m[1]): m[0] for name in table.fields if (m := pattern.fullmatch(name))}
        if found:
            return tuple(found[k] for k in sorted(found))
    return (_POSTERIORS,) if _POSTERIORS in table else ()


def read_cryosparc(path: Path) -> Embedding:
    """Reads latents of a cryoSPARC job.

    Latents and poses may lie in two tables whose rows differ in order: they are joined by ``uid``.
    Components that 3D variability analysis wrote as maps are linear volumes.

    Args:
        path: The job's folder, or its particle table.

    Returns:
        The embedding, with ``uids``.

    Raises:
        FileNotFoundError: If there is no particle table with latents.
        ValueError: If a table is damaged, or the one with poses lacks some of the particles.
    """
    folder = path if path.is_dir() else path.parent
    paths = [path] if path.is_file() else _tables(folder)
    main = _with_latents([CsTable(file) for file in paths], path)
    names = _coordinates(main)
    columns = [main.numbers(name, *main[name].shape[1:]).reshape(len(main), -1) for name in names]
    latents = np.hstack(columns).astype(np.float32)
    uids = np.asarray(main["uid"])
    others = [main] + [CsTable(file) for file in _tables(folder) if file != main.path]
    return Embedding(
        _tool(folder, names),
        main.path,
        latents,
        coordinates=names if len(names) == latents.shape[1] else (),
        uids=uids,
        poses=_poses(others, uids, latents),
        volumes=_volumes(folder, len(names)) if _VALUE.fullmatch(names[0]) else None,
    )


def _with_latents(tables: list[CsTable], path: Path) -> CsTable:
    """The table of latents; of several iterations the last one's."""
    found = [table for table in tables if _coordinates(table)]
    if not found:
        raise FileNotFoundError(
            f"{path}: no particle table with components_mode_0/value or class posteriors"
        )
    if len({_ITERATION.sub("", table.path.name) for table in found}) > 1:
        names = ", ".join(table.path.name for table in found)
        raise ValueError(f"{path}: several particle tables with latents, name one: {names}")
    # A name without a number is the job's result.
    results = [table for table in found if not _ITERATION.search(table.path.name)]
    return max(results or found, key=lambda table: table.path.name)


def _tool(folder: Path, names: tuple[str, ...]) -> str:
    """Name of the job's type."""
    if not _VALUE.fullmatch(names[0]):
        return "cryoSPARC 3D classification"
    file = folder / "job.json"
    if not file.is_file():
        return "cryoSPARC"
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: not the description of a job: {error}") from error
    kind = described.get("type") if isinstance(described, dict) else None
    return _TOOLS.get(str(kind), "cryoSPARC")


def _poses(tables: list[CsTable], uids: Array, latents: Array) -> ParticlePoses | None:
    """Poses of the first table that has them, in the order of the latents."""
    for table in tables:
        found = _pose_columns(table)
        if found is None:
            continue
        order = rows_by_key(uids, np.asarray(table["uid"]), "uid", table.path)
        # Of a pose for each class, that of the likeliest.
        best = latents.argmax(axis=1)
        vectors, shift, pixel = (
            None if column is None else _of_class(column[order], best) for column in found
        )
        rotation = rotation_vector_to_rotation(torch.from_numpy(vectors)).numpy()
        if shift is None or pixel is None:
            return ParticlePoses(rotation, shift, "px", table.path)
        return ParticlePoses(rotation, shift * pixel[:, None], "angstrom", table.path)
    return None


def _of_class(values: Array, classes: Array) -> Array:
    """Values (N, ...) of each particle, or of its class where there is one for each (N, C, D)."""
    return values[np.arange(len(values)), classes] if values.ndim == 3 else values


def _pose_columns(table: CsTable) -> tuple[Array, Array | None, Array | None] | None:
    """Rotation vectors (N, 3) or (N, C, 3), shifts of the same kind, and their pixel sizes (N,)."""
    groups = [name for name in ("alignments3D", "alignments3D_multi") if f"{name}/pose" in table]
    if not groups:
        return None
    group = groups[0]
    pose = table[f"{group}/pose"]
    shift, pixel = f"{group}/shift", f"{group}/psize_A"
    return (
        table.numbers(f"{group}/pose", *pose.shape[1:]),
        table.numbers(shift, *table[shift].shape[1:]) if shift in table else None,
        table.numbers(pixel) if pixel in table else None,
    )


def _volumes(folder: Path, count: int) -> LinearVolumes | None:
    """Map and components of 3D variability analysis."""
    means = sorted(folder.glob("*_map.mrc"))
    components = [sorted(folder.glob(f"*_component_{k}.mrc")) for k in range(count)]
    if len(means) == 1 and all(len(found) == 1 for found in components):
        return LinearVolumes(means[0], tuple(found[0] for found in components))
    return None

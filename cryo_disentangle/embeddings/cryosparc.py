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
# Particle tables of a job, of cryoSPARC 3 and before too: J11_particles.cs,
# cryosparc_P3_J11_particles.cs.
_PARTICLES = "*particles.cs"


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
    tables = [CsTable(file) for file in paths]
    main = next((table for table in tables if _coordinates(table)), None)
    if main is None:
        raise FileNotFoundError(
            f"{path}: no particle table with components_mode_0/value or class posteriors"
        )
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
        poses=_poses(others, uids),
        volumes=_volumes(folder, len(names)) if _VALUE.fullmatch(names[0]) else None,
    )


def _tool(folder: Path, names: tuple[str, ...]) -> str:
    """Name of the job's type."""
    if not _VALUE.fullmatch(names[0]):
        return "cryoSPARC 3D classification"
    file = folder / "job.json"
    kind = json.loads(file.read_text(encoding="utf-8")).get("type") if file.is_file() else None
    return _TOOLS.get(str(kind), "cryoSPARC")


def _poses(tables: list[CsTable], uids: Array) -> ParticlePoses | None:
    """Poses of the first table that has them, in the order of the latents."""
    for table in tables:
        if "alignments3D/pose" not in table:
            continue
        order = rows_by_key(uids, np.asarray(table["uid"]), "uid", table.path)
        vectors = torch.from_numpy(table.numbers("alignments3D/pose", 3)[order])
        rotation = rotation_vector_to_rotation(vectors).numpy()
        shift = None
        if "alignments3D/shift" in table and "alignments3D/psize_A" in table:
            scale = table.numbers("alignments3D/psize_A")[order, None]
            shift = table.numbers("alignments3D/shift", 2)[order] * scale
        return ParticlePoses(rotation, shift, "angstrom", table.path)
    return None


def _volumes(folder: Path, count: int) -> LinearVolumes | None:
    """Map and components of 3D variability analysis."""
    means = sorted(folder.glob("*_map.mrc"))
    components = [sorted(folder.glob(f"*_component_{k}.mrc")) for k in range(count)]
    if len(means) == 1 and all(len(found) == 1 for found in components):
        return LinearVolumes(means[0], tuple(found[0] for found in components))
    return None

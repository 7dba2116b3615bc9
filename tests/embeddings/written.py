"""Minimal runs as other programs write them, made of one set of latents and poses."""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import starfile
import torch
from scipy.spatial.transform import Rotation

COUNT, WIDTH, BOX, PIXEL = 40, 3, 64, 1.5
Array = npt.NDArray[Any]


class Truth(NamedTuple):
    """What every run below was written from."""

    latents: Array
    rotation: Array
    fraction: Array
    euler: Array
    names: list[str]
    used: Array
    uids: Array


def truth() -> Truth:
    """Latents, poses and the particles that RECOVAR used, the same each time."""
    generator = np.random.default_rng(0)
    turned = Rotation.random(COUNT, random_state=1)
    return Truth(
        generator.normal(size=(COUNT, WIDTH)).astype(np.float32),
        turned.as_matrix().astype(np.float32),
        generator.normal(0, 0.02, (COUNT, 2)).astype(np.float32),
        turned.inv().as_euler("ZYZ", degrees=True),
        [f"{row + 1:06d}@stack.mrcs" for row in range(COUNT)],
        np.sort(generator.choice(COUNT - 1, 30, replace=False)),
        generator.integers(1, 2**63, COUNT, dtype=np.uint64),
    )


def pickled(path: Path, *objects: object) -> None:
    """Pickles one after the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for value in objects:
            pickle.dump(value, file)


def cryodrgn(folder: Path, t: Truth) -> None:
    pickled(folder / "z.19.pkl", t.latents, np.full_like(t.latents, -2))
    pickled(folder / "pose.19.pkl", (t.rotation, t.fraction))


def cryodrgn_table(folder: Path, t: Truth) -> None:
    pickled(folder / "z.pkl", t.latents)


def drgnai(folder: Path, t: Truth) -> None:
    pickled(folder / "out/conf.30.pkl", t.latents)
    pickled(folder / "out/conf.4.pkl", 0 * t.latents)
    pickled(folder / "out/pose.30.pkl", (t.rotation, t.fraction * BOX))
    (folder / "out/drgnai-configs.yaml").write_text("z_dim: 3\n")


def opus(folder: Path, t: Truth) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [np.array([], dtype=np.int64) for _ in t.names]
    means = torch.from_numpy(t.latents)
    torch.save({"mu": means, "nn": rows, "multi_mu": 2 * means[:, :2]}, folder / "z.19.pkl")
    pickled(folder / "pose.19.pkl", (t.rotation, t.fraction, t.euler))
    pickled(folder / "config.pkl", {"model_args": {"zdim": WIDTH}})


def _padded(values: Array, used: Array) -> Array:
    """Rows of the particle file up to the last used one, NaN where a particle was not used."""
    table = np.full((used.max() + 1, *values.shape[1:]), np.nan, values.dtype)
    table[used] = values[used]
    return table


def _recovar_tables(t: Truth) -> dict[str, Array]:
    precision = np.tile(4 * np.eye(WIDTH, dtype=np.float32), (COUNT, 1, 1))
    contrast = np.linspace(0.8, 1.2, COUNT, dtype=np.float32)
    tables = {"latent_coords": t.latents, "latent_precision": precision, "contrasts": contrast}
    return {name: _padded(values, t.used) for name, values in tables.items()}


def _recovar_parameters(model: Path, t: Truth, version: str) -> None:
    arguments = argparse.Namespace(particles="particles.star", poses=None, ind=None)
    pickled(model / "params.pkl", {"version": version, "input_args": arguments})
    pickled(model / "particles_halfsets.pkl", [t.used[::2], t.used[1::2]])


def recovar(folder: Path, t: Truth) -> None:
    coordinates = folder / "model" / f"zdim_{WIDTH}"
    coordinates.mkdir(parents=True)
    for name, values in _recovar_tables(t).items():
        np.save(coordinates / f"{name}.npy", values)
        np.save(coordinates / f"{name}_noreg.npy", 1.3 * values)
    _recovar_parameters(folder / "model", t, "0.7")
    # Names a file that these versions do not write.
    metadata = {"files": {"embeddings": "model/embeddings.pkl"}}
    (folder / "model/metadata.json").write_text(json.dumps(metadata))
    volumes = folder / "output/volumes"
    volumes.mkdir(parents=True)
    for name in ("mean", *(f"eigen_pos{k:04d}" for k in range(WIDTH))):
        (volumes / f"{name}.mrc").touch()


def recovar_old(folder: Path, t: Truth) -> None:
    tables = _recovar_tables(t)
    names = ("zs", "cov_zs", "contrasts")
    stored: dict[str, dict[Any, Array]] = {
        name: {WIDTH: table, f"{WIDTH}_noreg": 1.3 * table}
        for name, table in zip(names, tables.values(), strict=True)
    }
    pickled(folder / "model/embeddings.pkl", {**stored, "zs_cont": {}})
    _recovar_parameters(folder / "model", t, "0.4")


def recovar_first(folder: Path, t: Truth) -> None:
    """Version 0: rows in the order of the half sets."""
    order = np.concatenate([t.used[::2], t.used[1::2]])
    pickled(folder / "model/embeddings.pkl", {"zs": {WIDTH: t.latents[order]}})
    _recovar_parameters(folder / "model", t, "0")


def cryosparc(folder: Path, t: Truth, kind: str = "var_3D") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    modes = range(WIDTH)
    values = [(f"components_mode_{k}/value", "<f4") for k in modes]
    numbers = [(f"components_mode_{k}/component", "<u4") for k in modes]
    table = np.zeros(COUNT, [("uid", "<u8"), *values, *numbers])
    table["uid"] = t.uids
    for k in modes:
        table[f"components_mode_{k}/value"] = t.latents[:, k]
    save_cs(folder / "J11_particles.cs", table)
    save_cs(folder / "J11_passthrough_particles.cs", passthrough(t)[::-1])
    (folder / "job.json").write_text(json.dumps({"type": kind}))
    for name in ("J11_map.mrc", *(f"J11_component_{k}.mrc" for k in modes)):
        (folder / name).touch()


def cryosparc_classes(folder: Path, t: Truth) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = np.zeros(
        COUNT, [("uid", "<u8"), ("alignments3D_multi/class_posterior", "<f4", (WIDTH,))]
    )
    table["uid"], table["alignments3D_multi/class_posterior"] = t.uids, t.latents
    save_cs(folder / "J12_particles.cs", table)


def passthrough(t: Truth) -> Array:
    """Poses, in a table of their own."""
    fields: list[Any] = [
        ("uid", "<u8"),
        ("alignments3D/pose", "<f4", (3,)),
        ("alignments3D/shift", "<f4", (2,)),
        ("alignments3D/psize_A", "<f4"),
    ]
    table = np.zeros(COUNT, fields)
    table["uid"], table["alignments3D/psize_A"] = t.uids, 2 * PIXEL
    table["alignments3D/pose"] = Rotation.from_matrix(t.rotation).inv().as_rotvec()
    table["alignments3D/shift"] = t.fraction * BOX / 2
    return table


def save_cs(path: Path, table: Array) -> None:
    """A ``.cs`` file."""
    with path.open("wb") as file:
        np.save(file, table)


def multi_body(folder: Path, t: Truth) -> None:
    folder.mkdir(parents=True, exist_ok=True)

    def body(vectors: Array) -> pd.DataFrame:
        rest = Rotation.from_euler("ZYZ", [0, 90, 0], degrees=True)
        # Turned so that the rotation from (0, 90, 0) has this vector, in degrees.
        angles = (Rotation.from_rotvec(vectors, degrees=True) * rest).as_euler("ZYZ", degrees=True)
        columns = {f"rlnAngle{n}": angles[:, k] for k, n in enumerate(("Rot", "Tilt", "Psi"))}
        origins = {f"rlnOrigin{n}Angst": vectors[:, k] for k, n in enumerate("XY")}
        return pd.DataFrame({**columns, **origins, "rlnNormCorrection": 1.0})

    tables = {
        "particles": particles(t),
        "images_body_1": body(5 * t.latents),
        "images_body_2": body(-5 * t.latents),
    }
    starfile.write(tables, folder / "run_data.star")
    lines = (
        f"{name} {''.join(f'{value:15.6g}' for value in row)} \n"
        for name, row in zip(t.names, t.latents, strict=True)
    )
    name = "analyse_projections_along_eigenvectors_all_particles.txt"
    (folder / name).write_text("".join(lines))


def particles(t: Truth) -> pd.DataFrame:
    """RELION's particle table."""
    angles = {f"rlnAngle{n}": t.euler[:, k] for k, n in enumerate(("Rot", "Tilt", "Psi"))}
    origins = {f"rlnOrigin{n}Angst": t.fraction[:, k] * BOX * PIXEL for k, n in enumerate("XY")}
    return pd.DataFrame({"rlnImageName": t.names, **angles, **origins})


def _xmd(t: Truth, label: str) -> pd.DataFrame:
    angles = {f"angle{n}": t.euler[:, k] for k, n in enumerate(("Rot", "Tilt", "Psi"))}
    shifts = {f"shift{n}": t.fraction[:, k] * BOX for k, n in enumerate("XY")}
    joined = [",".join(f"{value:f}" for value in row) for row in t.latents]
    return pd.DataFrame({"image": t.names, **angles, **shifts, label: joined})


def hetsiren(folder: Path, t: Truth) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    starfile.write(_xmd(t, "latent_space"), folder / "predicted_latents.xmd")


def zernike(folder: Path, t: Truth) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    starfile.write(_xmd(t, "zernikeCoefficients"), folder / "particles.xmd")


def cryostar(folder: Path, t: Truth) -> None:
    for epoch, latents in (("0002_0008000", 0 * t.latents), ("0003_0012000", t.latents)):
        (folder / epoch).mkdir(parents=True)
        np.save(folder / epoch / "z.npy", latents)


def cryosphere(folder: Path, t: Truth) -> None:
    folder.mkdir(parents=True)
    np.save(folder / "z.npy", t.latents)


def eman2(folder: Path, t: Truth) -> None:
    folder.mkdir(parents=True)
    np.savetxt(folder / "mid_00_even.txt", np.c_[np.arange(COUNT), t.latents])


WRITERS: dict[str, tuple[str, Callable[[Path, Truth], None]]] = {
    "cryodrgn": ("cryoDRGN", cryodrgn),
    "cryodrgn_table": ("cryoDRGN", cryodrgn_table),
    "drgnai": ("DRGN-AI", drgnai),
    "opus": ("OPUS-DSD", opus),
    "recovar": ("RECOVAR", recovar),
    "recovar_old": ("RECOVAR", recovar_old),
    "recovar_first": ("RECOVAR", recovar_first),
    "cryosparc": ("cryoSPARC 3DVA", cryosparc),
    "cryosparc_classes": ("cryoSPARC 3D classification", cryosparc_classes),
    "multi_body": ("RELION multi-body", multi_body),
    "hetsiren": ("HetSIREN", hetsiren),
    "zernike": ("Zernike3Deep", zernike),
    "cryostar": ("latents", cryostar),
    "cryosphere": ("latents", cryosphere),
    "eman2": ("EMAN2 e2gmm", eman2),
}

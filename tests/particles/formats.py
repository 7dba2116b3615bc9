"""One small set of particles, written as RELION, cryoSPARC and cryoDRGN have it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.transform import Rotation

from cryo_disentangle.files.star import write_star
from cryo_disentangle.particles.pickles import write_ctf, write_indices, write_poses
from cryo_disentangle.simulation.transfer import apply_contrast_transfer

COUNT, BOX, PIXEL = 7, 16, 2.0


@dataclass(frozen=True)
class Truth:
    """Particles without noise: projections, what was done to them, and how they were seen."""

    projections: npt.NDArray[np.float32]
    rotation: npt.NDArray[np.float64]
    shift_angstrom: npt.NDArray[np.float64]
    ctf: npt.NDArray[np.float32]

    def images(
        self, sign: int = -1, terms: dict[str, torch.Tensor] | None = None
    ) -> npt.NDArray[np.float32]:
        """As stacks are: with RELION's CTF, cryoDRGN's negative, protein is white."""
        seen = torch.from_numpy(self.projections)
        made = apply_contrast_transfer(seen, torch.from_numpy(self.ctf), **(terms or {}))
        return made.numpy() * np.float32(sign)


def truth() -> Truth:
    rng = np.random.default_rng(3)
    ctf = np.tile(np.array([BOX, PIXEL, 0, 0, 0, 300, 2.7, 0.1, 0], np.float32), (COUNT, 1))
    ctf[:, 2] = rng.uniform(8000, 20000, COUNT)
    ctf[:, 3] = ctf[:, 2] - rng.uniform(0, 500, COUNT).astype(np.float32)
    ctf[:, 4] = rng.uniform(-90, 90, COUNT)
    return Truth(
        rng.normal(size=(COUNT, BOX, BOX)).astype(np.float32),
        Rotation.random(COUNT, random_state=5).as_matrix(),
        rng.uniform(-6, 6, (COUNT, 2)),
        ctf,
    )


def write_stack(path: Path, images: npt.NDArray[np.float32], pixel_size: float = PIXEL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(images)
        file.set_image_stack()
        file.voxel_size = pixel_size
    return path


def optics(**changes: object) -> dict[str, Any]:
    """The optics table; None leaves a column out."""
    columns: dict[str, Any] = {
        "_rlnOpticsGroup": [1],
        "_rlnVoltage": [300.0],
        "_rlnSphericalAberration": [2.7],
        "_rlnAmplitudeContrast": [0.1],
        "_rlnImagePixelSize": [PIXEL],
        "_rlnImageSize": [BOX],
    }
    columns |= {f"_rln{name}": value for name, value in changes.items()}
    return {name: value for name, value in columns.items() if value is not None}


def particles(made: Truth, **changes: object) -> dict[str, Any]:
    """The particle table; None leaves a column out."""
    euler = Rotation.from_matrix(made.rotation.transpose(0, 2, 1)).as_euler("ZYZ", degrees=True)
    columns: dict[str, Any] = {
        "_rlnImageName": [f"{i + 1:06d}@stack.mrcs" for i in range(COUNT)],
        "_rlnAngleRot": euler[:, 0],
        "_rlnAngleTilt": euler[:, 1],
        "_rlnAnglePsi": euler[:, 2],
        "_rlnOriginXAngst": made.shift_angstrom[:, 0],
        "_rlnOriginYAngst": made.shift_angstrom[:, 1],
        "_rlnDefocusU": made.ctf[:, 2],
        "_rlnDefocusV": made.ctf[:, 3],
        "_rlnDefocusAngle": made.ctf[:, 4],
        "_rlnOpticsGroup": [1] * COUNT,
    }
    columns |= {f"_rln{name}": value for name, value in changes.items()}
    return {name: value for name, value in columns.items() if value is not None}


def star(
    folder: Path, made: Truth, of_optics: dict[str, Any] | None = None, **changes: object
) -> Path:
    path = folder / "p.star"
    tables = {"optics": optics(**(of_optics or {})), "particles": particles(made, **changes)}
    write_star(path, tables)
    return path


def old_star(folder: Path, made: Truth) -> Path:
    """RELION 3.0: one table, shifts in pixels, the pixel size as detector over magnification."""
    columns = particles(
        made,
        OriginXAngst=None,
        OriginYAngst=None,
        OpticsGroup=None,
        OriginX=made.shift_angstrom[:, 0] / PIXEL,
        OriginY=made.shift_angstrom[:, 1] / PIXEL,
        Voltage=[300.0] * COUNT,
        SphericalAberration=[2.7] * COUNT,
        AmplitudeContrast=[0.1] * COUNT,
        DetectorPixelSize=[5.0] * COUNT,
        Magnification=[25000.0] * COUNT,
    )
    write_star(folder / "p.star", {"": columns})
    return folder / "p.star"


def cs_table(made: Truth, aligned_psize: float = PIXEL, sign: float = -1.0) -> npt.NDArray[Any]:
    """All fields of a refinement; shifts are in pixels of ``alignments3D/psize_A``."""
    fields: dict[str, npt.NDArray[Any]] = {
        "uid": np.arange(COUNT, dtype="<u8") * 7 + 11,
        "blob/path": np.array([b">J1/extract/stack.mrcs"] * COUNT),
        "blob/idx": np.arange(COUNT, dtype="<u4"),
        "blob/shape": np.full((COUNT, 2), BOX, "<u4"),
        "blob/psize_A": np.full(COUNT, PIXEL, "<f4"),
        "blob/sign": np.full(COUNT, sign, "<f4"),
        "ctf/accel_kv": made.ctf[:, 5],
        "ctf/cs_mm": made.ctf[:, 6],
        "ctf/amp_contrast": made.ctf[:, 7],
        "ctf/df1_A": made.ctf[:, 2],
        "ctf/df2_A": made.ctf[:, 3],
        "ctf/df_angle_rad": np.radians(made.ctf[:, 4]).astype("<f4"),
        "ctf/phase_shift_rad": np.zeros(COUNT, "<f4"),
        "alignments3D/pose": Rotation.from_matrix(made.rotation.transpose(0, 2, 1))
        .as_rotvec()
        .astype("<f4"),
        "alignments3D/shift": (made.shift_angstrom / aligned_psize).astype("<f4"),
        "alignments3D/psize_A": np.full(COUNT, aligned_psize, "<f4"),
    }
    table = np.zeros(COUNT, [(name, v.dtype, v.shape[1:]) for name, v in fields.items()])
    for name, values in fields.items():
        table[name] = values
    return table


def save_cs(path: Path, table: npt.NDArray[Any], keep: Callable[[str], bool] = bool) -> Path:
    """Writes some fields of a table."""
    names = [name for name in table.dtype.names or () if keep(name)]
    part = np.zeros(len(table), [(name, table.dtype[name]) for name in names])
    for name in names:
        part[name] = table[name]
    with path.open("wb") as file:
        np.save(file, part)
    return path


def pickles(folder: Path, made: Truth) -> dict[str, Path]:
    files = {"poses": folder / "poses.pkl", "ctf": folder / "ctf.pkl"}
    write_poses(files["poses"], made.rotation, made.shift_angstrom / PIXEL, BOX)
    write_ctf(files["ctf"], made.ctf)
    return files


def selection(folder: Path, rows: list[int]) -> Path:
    write_indices(folder / "ind.pkl", rows)
    return folder / "ind.pkl"

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.particles.labels import read_labels
from tests.particles.conftest import N_IMAGES, Files

ROWS = np.arange(N_IMAGES)
LABELS: dict[str, Any] = {
    "time": ROWS * 0.5,
    "trajectory": ROWS // 4,
    "temperature": 280.0 + ROWS,
    "factors": np.stack([ROWS, -ROWS], axis=1) / 10,
}


def write(folder: Path, **arrays: object) -> Path:
    path = folder / "labels.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]  # objects are what is refused
    return path


def test_labels_are_read_and_other_arrays_left_alone(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path, **LABELS, seed=np.int64(3), names=np.array([{}])))
    known = labels.known()
    assert {name: rows.dtype.name for name, rows in known.items()} == {
        "time": "float32",
        "trajectory": "int64",
        "temperature": "float32",
        "factors": "float32",
    }
    for name, rows in known.items():
        np.testing.assert_allclose(rows, LABELS[name], rtol=1e-7)
    assert len(labels) == N_IMAGES
    some = read_labels(write(tmp_path, temperature=LABELS["temperature"].astype(">f8")))
    assert set(some.known()) == {"temperature"}
    assert some.time is None
    assert some.temperature is not None
    assert some.temperature.dtype == np.dtype("=f4")


def test_batches_carry_labels(files: Files) -> None:
    stack = ParticleStack.open(files.stack, labels=write(files.folder, **LABELS))
    batch = ParticleDataset(stack).__getitems__([7, 2])
    assert batch["time"].tolist() == [3.5, 1.0]
    assert batch["trajectory"].tolist() == [1, 0]
    assert batch["temperature"].tolist() == [287.0, 282.0]
    assert batch["factors"].shape == (2, 2)
    assert not ParticleStack.open(files.stack).labels.known()


def test_labels_follow_the_selection(files: Files) -> None:
    chosen = [7, 2, 11]
    few = write(files.folder, trajectory=LABELS["trajectory"][chosen])
    for labels in (few, write(files.folder, trajectory=LABELS["trajectory"])):
        stack = ParticleStack.open(files.stack, labels=labels, indices=chosen)
        assert stack.labels.trajectory is not None
        assert stack.labels.trajectory.tolist() == [1, 0, 2]
    five = write(files.folder, time=ROWS[:5])
    with pytest.raises(ValueError, match=r"labels\.npz: 5 rows, expected one for each image: 12"):
        ParticleStack.open(files.stack, labels=five)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"seed": 3, "ctf": ROWS}, r"one or more of time, trajectory, temperature, factors expe"),
        ({"seed": 3, "ctf": ROWS}, r"found \['ctf', 'seed'\]"),
        (LABELS | {"time": ROWS[:5]}, r"a row for each particle, found time 5, trajectory 12"),
        ({"time": LABELS["factors"]}, r"time must have shape \(N,\), found \(12, 2\)"),
        ({"factors": ROWS}, r"factors must have shape \(N, F\), found \(12,\)"),
        ({"factors": np.zeros((12, 0))}, r"factors must have shape \(N, F\), found \(12, 0\)"),
        ({"trajectory": ROWS / 2}, r"trajectory must be integers, found float64"),
        ({"time": ROWS.astype(str)}, r"time must be real numbers, found <U"),
        ({"time": ROWS * 1j}, r"time must be real numbers, found complex128"),
        ({"time": np.where(ROWS == 4, np.nan, 1)}, r"row 5: time is not finite, found nan"),
        ({"time": np.where(ROWS == 4, 1e300, 1)}, r"row 5: time is not finite, found 1e\+300"),
        ({"factors": LABELS["factors"] + [0, np.inf]}, r"row 1: factors is not finite"),
        (
            {"temperature": np.where(ROWS == 2, -4.0, 300)},
            r"labels\.npz, row 3: temperature must be in kelvin, 1 to 1,000 K, found -4",
        ),
        ({"temperature": np.where(ROWS == 2, 1001, 300)}, r"row 3: .* in kelvin, .* found 1001"),
        ({"time": np.array([{}] * 12)}, r"labels\.npz: .*time: it holds Python objects"),
    ],
)
def test_bad_labels_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_labels(write(tmp_path, **arrays))


def test_odd_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.npz: no such file"):
        read_labels(tmp_path / "none.npz")
    path = tmp_path / "x.npz"
    whole = write(tmp_path, **LABELS).read_bytes()
    np.save(tmp_path / "x.npy", ROWS)
    lone = (tmp_path / "x.npy").read_bytes()
    for content in (b"no archive", whole[:300], lone, pickle.dumps(ROWS)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.npz: labels must be an \.npz archive, and the"):
            read_labels(path)
    damaged = bytearray(whole)
    damaged[200] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"x\.npz: labels cannot be read: Bad CRC-32 for file"):
        read_labels(path)

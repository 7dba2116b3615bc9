from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryo_disentangle.files.pickles import load_pickles
from cryo_disentangle.particles.pickles import (
    read_ctf,
    read_indices,
    read_latents,
    read_poses,
    write_ctf,
    write_indices,
    write_latents,
    write_poses,
)
from tests.helpers import shared
from tests.particles.conftest import Files


class _Command:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


class _Evaluation:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return eval, (f"open({str(self.marker)!r}, 'w')",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("harm", [_Command, _Evaluation])
@pytest.mark.parametrize("reader", [read_poses, read_ctf, read_indices, read_latents, load_pickles])
def test_harmful_pickles_are_refused_and_not_run(
    tmp_path: Path, protocol: int, harm: type, reader: Callable[[Path], object]
) -> None:
    marker, path = tmp_path / "ran", tmp_path / "poses.pkl"
    payload = (np.eye(3)[None], np.array([harm(marker)], dtype=object))
    path.write_bytes(pickle.dumps(payload, protocol=protocol))
    with pytest.raises(ValueError, match=r"poses\.pkl: refused as a pickle: it wants to import "):
        reader(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cos\nsystem\n(S'touch x'\ntR.",
        b"cnumpy.testing._private.utils\nrunstring\n(tR.",
        b"cnumpy\nload\n(tR.",
        b"cnumpy.core.multiarray\nload\n(tR.",
        b"cbuiltins\ngetattr\n(tR.",
        b"c_codecs\nencode\n(tR.",
    ],
)
def test_nothing_but_three_names_of_numpy_is_imported(tmp_path: Path, opcodes: bytes) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(opcodes)
    with pytest.raises(ValueError, match=r"only numpy arrays are read from pickles"):
        load_pickles(path)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_arrays_of_any_protocol_are_read(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "x.pkl"
    value = {"a": [np.arange(3), np.float32(2.5)], "b": (1, "text", None)}
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    (read,) = load_pickles(path)
    np.testing.assert_array_equal(read["a"][0], np.arange(3))
    assert read["a"][1] == 2.5
    assert read["b"] == (1, "text", None)


def test_names_of_either_numpy_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    raw = pickle.dumps(np.arange(3), protocol=3)
    for old, new in ((b"numpy._core", b"numpy.core"), (b"numpy.core", b"numpy._core")):
        path.write_bytes(raw.replace(old, new))
        np.testing.assert_array_equal(load_pickles(path)[0], np.arange(3))


@pytest.mark.parametrize("content", [b"garbage", b"\x80\x04\x95", pickle.dumps([1])[:-2]])
def test_damaged_pickles_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.pkl: refused as a pickle: "):
        load_pickles(path)


def test_all_real_pickles_are_read() -> None:
    folder = shared("data/cryodrgn_tests")
    rotation, translation = read_poses(folder / "hand_rot_trans.pkl")
    assert rotation.shape == (100, 3, 3)
    assert translation is not None
    assert translation.shape == (100, 2)
    assert read_poses(folder / "hand_rot.pkl")[1] is None
    assert read_poses(folder / "toy_angles.pkl")[0].shape == (1000, 3, 3)
    assert read_poses(folder / "toy_rot_trans.pkl")[0].shape == (1000, 3, 3)
    assert read_poses(folder / "sta_pose.pkl")[0].dtype == np.float64
    assert read_ctf(folder / "sta_ctf.pkl").shape == (219, 9)
    assert read_ctf(folder / "test_ctf.pkl").shape == (1000, 9)
    assert read_indices(folder / "ind100.pkl").shape == (100,)
    mean, log_variance = read_latents(shared("golden/cryodrgn/model_fourier/z.pkl"))
    assert log_variance is not None
    assert mean.shape == log_variance.shape == (24, 3)


def test_poses_survive(tmp_path: Path, files: Files) -> None:
    rotation, fraction = read_poses(files.poses)
    np.testing.assert_array_equal(rotation, files.rotation)
    assert fraction is not None
    np.testing.assert_allclose(fraction * 9, files.translation_px, rtol=1e-6)
    write_poses(tmp_path / "bare.pkl", files.rotation, None, 8)
    assert read_poses(tmp_path / "bare.pkl")[1] is None
    with (tmp_path / "bare.pkl").open("rb") as file:
        assert isinstance(pickle.load(file), np.ndarray)


def test_ctf_indices_and_latents_survive(tmp_path: Path, files: Files) -> None:
    np.testing.assert_array_equal(read_ctf(files.ctf_file), files.ctf)
    write_indices(tmp_path / "i.pkl", [3, 1, 2])
    np.testing.assert_array_equal(read_indices(tmp_path / "i.pkl"), [3, 1, 2])
    np.save(tmp_path / "i.npy", np.array([3, 1, 2]))
    np.testing.assert_array_equal(read_indices(tmp_path / "i.npy"), [3, 1, 2])
    (tmp_path / "i.txt").write_text("3\n1\n2\n")
    np.testing.assert_array_equal(read_indices(tmp_path / "i.txt"), [3, 1, 2])
    mean, log_variance = np.ones((4, 2)), np.zeros((4, 2))
    write_latents(tmp_path / "z.pkl", mean, log_variance)
    assert [value.dtype for value in load_pickles(tmp_path / "z.pkl")] == [np.float32] * 2
    write_latents(tmp_path / "one.pkl", mean)
    np.testing.assert_array_equal(read_latents(tmp_path / "one.pkl")[0], mean)
    assert read_latents(tmp_path / "one.pkl")[1] is None


def _dump(path: Path, value: object) -> Path:
    path.write_bytes(pickle.dumps(value))
    return path


R, T = np.tile(np.eye(3), (4, 1, 1)), np.zeros((4, 2))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((R, T, T), r"expected \(rotations, translations\), found 3 objects"),
        ([R, T], r"rotation must be a numpy array of numbers, found list"),
        ((R.astype(object), T), r"rotation must be a numpy array of numbers, found dtype object"),
        ((R[:, 0], T), r"rotations must have shape \(N, 3, 3\), found \(4, 3\)"),
        ((R, T[:3]), r"translations must have shape \(4, 2\).*found \(3, 2\)"),
        ((R, np.array([[0, 0], [0, 3.0], [0, 0], [0, 0]])), r"row 2: translation \[0.0, 3.0\] exc"),
        ((R, np.array([[0, 0], [0, 0], [np.nan, 0], [0, 0]])), r"row 3: translation is not finite"),
    ],
)
def test_bad_poses_are_refused(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_poses(_dump(tmp_path / "poses.pkl", value))


def test_bad_ctf_indices_and_latents_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    with pytest.raises(ValueError, match=r"CTF must have shape \(N, 9\), found \(4, 8\)"):
        read_ctf(_dump(path, np.zeros((4, 8))))
    with pytest.raises(ValueError, match=r"x\.pkl, row 2: CTF is not finite"):
        read_ctf(_dump(path, np.array([[1.0] * 9, [np.inf] * 9])))
    with pytest.raises(ValueError, match=r"integers in one dimension.*float64"):
        read_indices(_dump(path, np.zeros(3)))
    with pytest.raises(ValueError, match=r"latents must have one shape"):
        read_latents(_dump(path, np.zeros(3)))
    (tmp_path / "x.txt").write_text("1 two")
    with pytest.raises(ValueError, match=r"x\.txt: indices cannot be read"):
        read_indices(tmp_path / "x.txt")
    for reader in (read_indices, load_pickles):
        with pytest.raises(FileNotFoundError, match=r"none\.pkl: no such file"):
            reader(tmp_path / "none.pkl")


def test_writers_refuse_and_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    with pytest.raises(ValueError, match=r"rotations must have shape \(N, 3, 3\)"):
        write_poses(path, np.zeros((3, 3)), None, 8)
    with pytest.raises(ValueError, match=r"translations must have shape \(4, 2\), found \(4, 3\)"):
        write_poses(path, R, np.zeros((4, 3)), 8)
    with pytest.raises(ValueError, match=r"row 1: translation \[20.0, 20.0\] px exceeds the box"):
        write_poses(path, R, np.full((4, 2), 20), 8)
    with pytest.raises(ValueError, match=r"CTF must have shape"):
        write_ctf(path, np.zeros((4, 3)))
    with pytest.raises(FileNotFoundError, match=r"folder .*none does not exist"):
        write_ctf(tmp_path / "none" / "x.pkl", np.zeros((4, 9)))
    assert list(tmp_path.iterdir()) == []


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pkl"
    write_indices(path, [1])

    def broken(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pickle, "dump", broken)
    with pytest.raises(OSError, match="disk full"):
        write_indices(path, [2])
    np.testing.assert_array_equal(read_indices(path), [1])
    assert [file.name for file in tmp_path.iterdir()] == ["x.pkl"]


def test_translations_in_pixels(tmp_path: Path) -> None:
    """As DRGN-AI saves them."""
    shifts = np.array([[7.5, -20.0]])
    with (tmp_path / "pose.pkl").open("wb") as file:
        pickle.dump((np.eye(3)[None], shifts), file)
    assert np.array_equal(read_poses(tmp_path / "pose.pkl", in_pixels=True)[1], shifts)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected fractions of the box, not pixels"):
        read_poses(tmp_path / "pose.pkl")

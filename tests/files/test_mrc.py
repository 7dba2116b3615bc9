from __future__ import annotations

from itertools import permutations
from pathlib import Path

import mrcfile
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mrcfile.dtypes import HEADER_DTYPE

from cryo_disentangle.files import read_volume, write_volume
from cryo_disentangle.files.mrc import read_mrc_header
from cryo_disentangle.files.stacks import MrcsWriter
from tests.helpers import shared


def _swap_bytes(path: Path, values: npt.NDArray[np.generic]) -> None:
    """Rewrites a file as a big-endian machine would have written it."""
    with mrcfile.open(path) as file:
        header = file.header.astype(HEADER_DTYPE.newbyteorder(">"))
    header["machst"] = (0x11, 0x11, 0, 0)
    path.write_bytes(header.tobytes() + values.astype(values.dtype.newbyteorder(">")).tobytes())


@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "u2", "f2"])
@pytest.mark.parametrize("big", [False, True])
def test_modes_and_byte_orders(tmp_path: Path, dtype: str, big: bool) -> None:
    values = np.arange(2 * 4 * 4).reshape(2, 4, 4).astype(dtype)
    path = tmp_path / "x.mrcs"
    with mrcfile.new(path) as file:
        file.set_data(values)
        file.voxel_size = 1.5
    if big:
        _swap_bytes(path, values)
    read, pixel_size = read_volume(path)
    np.testing.assert_array_equal(read, values.astype(np.float32))
    assert read.dtype == np.float32
    assert pixel_size == 1.5


def test_extended_header_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "x.mrc"
    values = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    with mrcfile.new(path) as file:
        file.set_data(values)
        file.set_extended_header(np.zeros(3, dtype="V80"))
    np.testing.assert_array_equal(read_volume(path)[0], values)
    assert read_mrc_header(path).offset == 1024 + 240


def test_real_files_without_a_valid_stamp_open() -> None:
    header = read_mrc_header(shared("data/cryodrgn_tests/toy_projections.mrcs"))
    assert header.shape == (1000, 30, 30)
    assert read_mrc_header(shared("data/cryodrgn_tests/hand.mrcs")).shape == (100, 64, 64)


def test_truncated_stack_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mrcs"
    with MrcsWriter(path, 4, 1.0) as writer:
        writer.write(np.zeros((3, 4, 4)))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"x\.mrcs: truncated: 1215 bytes.*announces 1216"):
        read_mrc_header(path)
    path.write_bytes(b"abc")
    with pytest.raises(ValueError, match=r"truncated: 3 bytes, an MRC header has 1024"):
        read_mrc_header(path)


def test_what_is_no_mrc_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mrcs"
    with pytest.raises(FileNotFoundError, match=r"x\.mrcs: no such file"):
        read_mrc_header(path)
    path.write_bytes(b"\xff" * 2000)
    with pytest.raises(ValueError, match=r"x\.mrcs: not an MRC file: .*mode -1"):
        read_mrc_header(path)
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.zeros((1, 4, 4), dtype=np.complex64))
    with pytest.raises(ValueError, match=r"MRC mode 4 is not supported"):
        read_mrc_header(path)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.sampled_from([2, 6, 10]))
def test_chunks_make_one_stack(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[int], box_size: int
) -> None:
    path = tmp_path_factory.mktemp("stack") / "x.mrcs"
    images = np.random.default_rng(0).standard_normal(
        (sum(chunks), box_size, box_size), dtype=np.float32
    )
    with MrcsWriter(path, box_size, 1.25) as writer:
        for part in np.split(images, np.cumsum(chunks)[:-1]):
            writer.write(part)
        assert not path.exists()
    with mrcfile.open(path) as file:
        assert file.header.ispg == 0
        assert file.voxel_size.x == pytest.approx(1.25)
        np.testing.assert_array_equal(file.data.reshape(images.shape), images)
    assert mrcfile.validate(path)


def _interrupted(writer: MrcsWriter, images: npt.ArrayLike) -> None:
    with writer:
        writer.write(images)
        writer.flush()
        raise KeyboardInterrupt


def test_interrupted_stack_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _interrupted(MrcsWriter(tmp_path / "x.mrcs", 4, 1.0), np.zeros((3, 4, 4)))
    assert list(tmp_path.iterdir()) == []


def test_resumed_stack_continues_after_the_last_whole_image(tmp_path: Path) -> None:
    path = tmp_path / "x.mrcs"
    images = np.random.default_rng(0).standard_normal((5, 4, 4), dtype=np.float32)
    with pytest.raises(KeyboardInterrupt):
        _interrupted(MrcsWriter(path, 4, 1.0, resume=True), images[:3])
    partial = tmp_path / "x.mrcs.partial"
    partial.write_bytes(partial.read_bytes()[:-5])
    with MrcsWriter(path, 4, 1.0, resume=True) as writer:
        assert writer.n_written == 2
        writer.write(images[2:])
    np.testing.assert_array_equal(read_volume(path)[0], images)
    assert not partial.exists()


def test_writer_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"must have shape \(B, 4, 4\), found \(2, 6, 6\)"),
        MrcsWriter(tmp_path / "x.mrcs", 4, 1.0) as writer,
    ):
        writer.write(np.zeros((2, 6, 6)))
    with pytest.raises(RuntimeError, match=r"writer is not open"):
        writer.write(np.zeros((1, 4, 4)))
    with pytest.raises(RuntimeError, match=r"writer is not open"):
        writer.flush()
    with pytest.raises(ValueError, match=r"a volume has axes"):
        write_volume(tmp_path / "x.mrc", np.zeros((4, 4)), 1.0)


def test_unwritable_folders_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = np.zeros((4, 4, 4))
    with pytest.raises(FileNotFoundError, match=r"cannot write x\.mrc: folder .*none does not"):
        write_volume(tmp_path / "none" / "x.mrc", volume, 1.0)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"file is a file, not a folder"):
        write_volume(tmp_path / "file" / "x.mrc", volume, 1.0)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(PermissionError, match=r"no permission to write in"):
        write_volume(tmp_path / "x.mrc", volume, 1.0)
    with (
        pytest.raises(PermissionError, match=r"no permission to write in"),
        MrcsWriter(tmp_path / "x.mrcs", 4, 1.0),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_volume_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "x.mrc"
    volume = np.random.default_rng(0).standard_normal((6, 6, 6), dtype=np.float32)
    write_volume(path, volume, 2.5)
    read, pixel_size = read_volume(path)
    np.testing.assert_array_equal(read, volume)
    assert pixel_size == 2.5
    with mrcfile.open(path) as file:
        assert file.is_volume()
        assert file.header.mode == 2
        assert file.header.ispg == 1
        assert file.header.origin.tolist() == (0, 0, 0)
        assert file.voxel_size.tolist() == pytest.approx((2.5, 2.5, 2.5))
        assert file.header.rms == pytest.approx(volume.std(), rel=1e-5)
    assert mrcfile.validate(path)


def _edited(path: Path, changes: dict[str, object]) -> Path:
    """A stack of 3 images of 4 x 4 px whose header has other values."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.arange(48, dtype=np.float32).reshape(3, 4, 4))
        for name, value in changes.items():
            file.header[name] = value
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nz": 2}, r"longer than its header: 1216 bytes, .* 1152 .*1 more sections"),
        ({"nz": 4}, r"truncated: 1216 bytes, the header announces 1280"),
        ({"nz": 0}, r"announces no section \(nz = 0\), .*stopped.* room for 3 sections of 4 x 4"),
        ({"nz": -1}, r"announces no section \(nz = -1\)"),
        ({"nx": 0}, "not an MRC file: the header has mode 2 and size 0 x 4 x 3"),
        ({"nsymbt": 80}, "truncated: 1216 bytes, the header announces 1296"),
        ({"mode": 101}, "MRC mode 101 is not supported, expected 0, 1, 2, 6 or 12"),
        ({"mode": 16}, "MRC mode 16 is not supported"),
        ({"mode": 77}, "not an MRC file: the header has mode 77"),
    ],
)
def test_headers_that_disagree_with_the_file_are_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = _edited(tmp_path / "x.mrcs", changes)
    with pytest.raises(ValueError, match=rf"x\.mrcs: (the header )?{message}") as caught:
        read_mrc_header(path)
    assert len(str(caught.value)) < 400


def test_killed_writers_and_bytes_at_the_end_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.mrcs"
    path.write_bytes(bytes(5000))
    with pytest.raises(ValueError, match=r"x\.mrcs: the header is all zeros, .* stopped"):
        read_mrc_header(path)
    _edited(path, {}).write_bytes(path.read_bytes() + b"end")
    with pytest.warns(UserWarning, match=r"x\.mrcs: 3 bytes after the last section are not read"):
        assert read_mrc_header(path).shape == (3, 4, 4)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(("flags", "kind"), [(0, "u1"), (1, "i1"), (16, "u1"), (17, "i1")])
def test_bytes_are_signed_as_the_stamp_of_imod_says(
    tmp_path: Path, flags: int, kind: str, big: bool
) -> None:
    path = tmp_path / "x.mrcs"
    stored = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    with mrcfile.new(path) as file:
        file.set_data(stored.view(np.int8))
    if big:
        _swap_bytes(path, stored)
    content = bytearray(path.read_bytes())
    content[152:160] = np.array([1146047817, flags], dtype=">i4" if big else "<i4").tobytes()
    path.write_bytes(content)
    np.testing.assert_array_equal(read_volume(path)[0], stored.view(kind).astype(np.float32))


def test_bytes_without_a_stamp_are_signed_unless_the_header_contradicts(tmp_path: Path) -> None:
    path = tmp_path / "x.mrcs"
    with mrcfile.new(path) as file:
        file.set_data(np.full((2, 4, 4), -3, dtype=np.int8))
    assert (read_volume(path)[0] == -3).all()
    with mrcfile.open(path, "r+") as file:
        file.header.dmin, file.header.dmax = 0, 253
    with pytest.raises(ValueError, match=r"bytes .* are signed, .* values from 0 to 253; convert"):
        read_mrc_header(path)


@pytest.mark.parametrize("cell", [0, -4, np.nan, np.inf])
def test_pixel_sizes_that_make_no_sense_are_not_known(tmp_path: Path, cell: float) -> None:
    path = _edited(tmp_path / "x.mrcs", {"cella": (cell, cell, cell)})
    assert read_mrc_header(path).pixel_size is None


@pytest.mark.parametrize("axes", list(permutations((1, 2, 3))))
def test_any_order_of_axes_gives_the_same_map(tmp_path: Path, axes: tuple[int, ...]) -> None:
    volume = np.random.default_rng(0).standard_normal((4, 6, 8), dtype=np.float32)
    with mrcfile.new(tmp_path / "x.mrc") as file:
        # Sections, rows and columns run along MAPS, MAPR and MAPC.
        file.set_data(np.ascontiguousarray(volume.transpose([3 - axis for axis in axes[::-1]])))
        file.header.mapc, file.header.mapr, file.header.maps = axes
    np.testing.assert_array_equal(read_volume(tmp_path / "x.mrc")[0], volume)


def test_damaged_axes_are_refused_and_those_of_old_writers_read(tmp_path: Path) -> None:
    path = tmp_path / "x.mrc"
    write_volume(path, np.zeros((4, 4, 4)), 1.0)
    raw = bytearray(path.read_bytes())
    raw[64:76] = np.array([1, 2, 2], dtype="<i4").tobytes()
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"x\.mrc: .*axes .* are \(1, 2, 2\), expected 1, 2 and 3"):
        read_volume(path)
    raw[64:76] = bytes(12)
    path.write_bytes(raw)
    assert read_volume(path)[0].shape == (4, 4, 4)


def test_real_volume_survives(tmp_path: Path) -> None:
    volume, pixel_size = read_volume(shared("data/cryodrgn_tests/hand-vol.mrc"))
    assert volume.shape == (64, 64, 64)
    assert pixel_size == 1.0
    write_volume(tmp_path / "hand.mrc", volume, pixel_size)
    np.testing.assert_array_equal(read_volume(tmp_path / "hand.mrc")[0], volume)

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cryo_disentangle.files import read_volume
from cryo_disentangle.files.arrays import map_array, read_archive
from cryo_disentangle.files.checkpoints import read_tensors
from cryo_disentangle.files.cs import CsTable
from cryo_disentangle.files.mrc import read_mrc_header
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.files.pickles import load_pickles
from cryo_disentangle.files.star import read_star

Reader = Callable[[Path], object]
READERS: dict[str, Reader] = {
    ".mrcs": read_mrc_header,
    ".mrc": read_volume,
    ".star": read_star,
    ".cs": CsTable,
    ".pkl": load_pickles,
    ".npy": lambda path: map_array(path, "an array"),
    ".npz": lambda path: read_archive(path, ["z"], "latents"),
    ".ckpt": lambda path: read_tensors(path, "a checkpoint"),
}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
ZSTANDARD = bytes.fromhex("28b52ffd04580900") + bytes(9)


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty, expected "),
        (POINTER, "a Git LFS pointer instead of .*git lfs pull"),
        (gzip.compress(b"data_\n" * 99), r"compressed with gzip, .* decompress it first \(gunzip"),
        (bz2.compress(b"data_\n" * 99), r"compressed with bzip2, .*\(bunzip2\)"),
        (lzma.compress(b"data_\n" * 99), r"compressed with xz, .*\(unxz\)"),
        (ZSTANDARD, r"compressed with Zstandard, .*\(unzstd\)"),
    ],
    # Processes that share the tests must call them alike, and gzip writes the time.
    ids=["empty", "pointer", "gzip", "bzip2", "xz", "zstandard"],
)
def test_every_reader_names_what_stands_in_for_the_file(
    tmp_path: Path, suffix: str, content: bytes, message: str
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"x\{suffix}: {message}") as caught:
        READERS[suffix](path)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("suffix", READERS)
def test_every_reader_names_what_is_no_file(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read = tmp_path / f"x{suffix}", READERS[suffix]
    with pytest.raises(FileNotFoundError, match=rf"x\{suffix}: no such file"):
        read(path)
    (tmp_path / f"x{suffix}.gz").touch()
    with pytest.raises(FileNotFoundError, match=rf"there is x\{suffix}\.gz; decompress it"):
        read(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read(tmp_path / f"x{suffix}.gz" / path.name)
    path.symlink_to("gone")
    with pytest.raises(FileNotFoundError, match="a link to gone, which does not exist"):
        read(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError, match=rf"x\{suffix}: a folder, expected "):
        read(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(ValueError, match=rf"x\{suffix}: a pipe or a device"):
        read(path)
    path.unlink()
    path.write_bytes(b"x")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(PermissionError, match=rf"x\{suffix}: no permission to read it"):
        read(path)


def test_impossible_names_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="cannot be opened: File name too long"):
        read_star(tmp_path / ("x" * 300))
    with pytest.raises(ValueError, match="cannot be opened: embedded null byte"):
        read_star("x\0y")

    def refuse(_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(PermissionError, match=r"x\.star: no permission to enter its folder"):
        read_star("x.star")


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(IsADirectoryError, match=r"cannot write .*: there is a folder of that name"),
        replacing(tmp_path),
    ):
        pass

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from cryo_disentangle.files.arrays import map_array, read_archive
from cryo_disentangle.files.cs import CsTable


def _saved(path: Path, array: np.ndarray) -> Path:
    with path.open("wb") as file:
        np.save(file, array)
    return path


def test_headers_of_many_classes_are_read(tmp_path: Path) -> None:
    names = [(f"alignments_class3D_{c}/weight", "<f4") for c in range(1000)]
    path = _saved(tmp_path / "x.cs", np.full(3, 2, dtype=[("uid", "<u8"), *names]))
    assert CsTable(path).numbers("alignments_class3D_999/weight").tolist() == [2, 2, 2]


def test_texts_of_any_alphabet_are_read(tmp_path: Path) -> None:
    table = np.zeros(2, dtype=[("raw", "S40"), ("text", "U20")])
    table["raw"] = ["Jürgen/плёнка.mrc".encode(), "caf\xe9.mrc".encode("latin-1")]
    table["text"] = ["Jürgen/плёнка.mrc", "a"]
    read = CsTable(_saved(tmp_path / "x.cs", table))
    assert list(read.strings("raw")) == ["Jürgen/плёнка.mrc", "caf\udce9.mrc"]
    assert list(read.strings("text")) == ["Jürgen/плёнка.mrc", "a"]
    with pytest.raises(ValueError, match="field raw must hold numbers"):
        read.numbers("raw")


@pytest.mark.parametrize("order", ["<", ">"])
def test_byte_orders_and_empty_arrays_are_mapped(tmp_path: Path, order: str) -> None:
    values = np.arange(6, dtype=f"{order}f8").reshape(2, 3)
    np.testing.assert_array_equal(map_array(_saved(tmp_path / "c.npy", values), "x"), values)
    fortran = np.asfortranarray(values)
    np.testing.assert_array_equal(map_array(_saved(tmp_path / "f.npy", fortran), "x"), values)
    assert map_array(_saved(tmp_path / "e.npy", values[:0]), "x").shape == (0, 3)


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(3))
    return stream.getvalue()


WHOLE = _npy(np.zeros(4, dtype=[("a", "f4")]))
OBJECTS = np.zeros(2, dtype=[("a", "f4"), ("blob/path", object)])
LONG = b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + bytes(100)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not numpy at all", r"not a \.cs file: it begins with b'not nump'"),
        (
            b"\x95CSDAT" + bytes(9),
            r"a CSDAT stream .*Dataset\.load\(\"old\.cs\"\)\.save",
        ),
        (_npz(), r"not a \.cs file: an archive"),
        (OBJECTS.dumps(), r"not a \.cs file: a pickle, which is not opened"),
        (_npy(OBJECTS), r"fields blob/path hold Python objects.*save them as numbers or text"),
        (_npy(np.array([{}])), "it holds Python objects"),
        (WHOLE[:-1], r"truncated: 143 bytes, the header announces 144 \(shape \(4,\)\)"),
        (WHOLE[:40], "its header is damaged or truncated"),
        (WHOLE[:9], "its header is damaged or truncated"),
        (WHOLE.replace(b"'descr'", b"(descr'"), "its header is damaged or truncated"),
        (LONG, "its header has 2147483648 bytes, expected at most 1048576"),
        (WHOLE.replace(b"(4,)", b"(9**9,)"), "its header is damaged or truncated"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "x.cs"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"x\.cs: .*{message}") as caught:
        CsTable(path)
    told = str(caught.value)
    assert len(told) < 400
    assert "allow_pickle" not in told
    assert "\n" not in told


def test_archives_with_objects_are_refused_without_advice(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, z=np.array([{}]), other=np.zeros(2))
    with pytest.raises(ValueError, match=r"x\.npz: latents cannot be read: z: it holds Python obj"):
        read_archive(path, ["z"], "latents")
    assert list(read_archive(path, ["other", "more"], "latents")) == ["other"]
    with pytest.raises(ValueError, match=r"an array named y expected, found \['other', 'z'\]"):
        read_archive(path, ["y"], "latents")

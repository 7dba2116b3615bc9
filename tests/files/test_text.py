from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.files.star import read_star
from cryo_disentangle.files.star_rows import copy_star_rows
from cryo_disentangle.files.text import _Translated, read_text

TEXT = (
    "# version\ndata_optics\n_rlnOpticsGroup 1\n\ndata_particles\nloop_\n_rlnImageName #1\n"
    "_rlnAngleRot #2\n" + "".join(f"{i}@Jürgen/плёнки.mrcs {i / 7:.6f}\n" for i in range(1, 900))
)
WRITTEN = {
    "BOM": TEXT.encode("utf-8-sig"),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16, big endian": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "CR LF": TEXT.replace("\n", "\r\n").encode(),
    "CR": TEXT.replace("\n", "\r").encode(),
    "UTF-16 with CR": TEXT.replace("\n", "\r").encode("utf-16"),
}


@pytest.mark.parametrize("content", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("kept", [(), ("_rlnImageName", "_rlnAngleRot")])
def test_tables_in_any_encoding_are_one(
    tmp_path: Path, content: bytes, kept: tuple[str, ...]
) -> None:
    path = tmp_path / "x.star"
    path.write_bytes(content)
    table = read_star(path, kept)["particles"]
    assert list(table.strings("_rlnImageName")) == [
        f"{i}@Jürgen/плёнки.mrcs" for i in range(1, 900)
    ]
    assert table.numbers("_rlnAngleRot").tolist() == [round(i / 7, 6) for i in range(1, 900)]


@given(st.text("aé\r\n😀", max_size=30), st.integers(0, 80), st.integers(1, 9))
@settings(max_examples=60)
def test_offsets_are_those_of_the_translation(
    tmp_path_factory: pytest.TempPathFactory, text: str, offset: int, size: int
) -> None:
    path = tmp_path_factory.mktemp("text") / "x.star"
    path.write_bytes(text.encode("utf-16"))
    with path.open("rb") as file:
        translated = _Translated(file, "utf-16", returns=False)
        translated.seek(offset)
        found = b"".join(iter(lambda: translated.read(size), b""))
    assert found == text.encode()[offset:]


def test_damaged_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.star"
    path.write_bytes("data_a\n_x 1\n".encode("utf-16")[:-1])
    with pytest.raises(ValueError, match=r"x\.star: not a readable STAR file: damaged utf-16"):
        read_star(path)
    path.write_bytes(b"\xef\xbb\xbfdata_a\n_x 1 2\n")
    with pytest.raises(ValueError, match=r"x\.star: .*line 2: a value without a label"):
        read_star(path)
    path.write_bytes(b"data_a\r_x 1 2\r")
    with pytest.raises(ValueError, match=r"x\.star: .*line 2: a value without a label"):
        read_star(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_whole_texts_are_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.txt"
    path.write_text("a\nплёнки\n", encoding=encoding)
    assert read_text(path, "a list").split() == ["a", "плёнки"]
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match=r"x\.txt: not a list: byte 3 is no text in utf-8"):
        read_text(path, "a list")


@pytest.mark.parametrize("name", ["BOM", "UTF-16", "CR"])
def test_rows_of_translated_files_are_not_copied(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.star"
    path.write_bytes(WRITTEN[name])
    table = read_star(path)["particles"]
    with pytest.raises(ValueError, match=r"x\.star: rows are copied byte for byte, .* convert it"):
        copy_star_rows(table, tmp_path / "y.star", np.ones(899, dtype=bool))
    assert not (tmp_path / "y.star").exists()


def test_text_is_read_and_written_as_utf_8_wherever_it_runs() -> None:
    """Under ``LANG=C`` what the system prefers is ASCII."""
    missing = []
    for path in sorted((Path(__file__).parents[2] / "cryo_disentangle").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            given = {keyword.arg for keyword in node.keywords}
            if node.func.attr == "write_text" and "encoding" not in given:
                missing.append(f"{path}:{node.lineno}")
            if node.func.attr == "read_text" and not node.args and "encoding" not in given:
                missing.append(f"{path}:{node.lineno}")
    assert not missing

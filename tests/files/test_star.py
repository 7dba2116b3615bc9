from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import starfile
from gemmi import cif
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cryo_disentangle.files import star_pieces, star_syntax
from cryo_disentangle.files.star import Column, StarTable, read_star, write_star
from tests.helpers import shared

_REAL = {
    "FinalRefinement-OriginalParticles-PfCRT.star": {"images": 5},
    "empiar_10076_7.star": {"": 7},
    "relion31.6opticsgroups.star": {"optics": 6, "particles": 139},
    "relion31.star": {"optics": 1, "particles": 5},
    "relion5.star": {"optics": 1, "particles": 17},
    "sta_testing_bin8.star": {"": 219},
    "toy_projections.star": {"images": 1000},
}


@pytest.mark.parametrize("name", _REAL)
def test_real_tables_agree_with_starfile(name: str) -> None:
    path = shared(f"data/cryodrgn_tests/{name}")
    tables = read_star(path)
    assert {key: len(table) for key, table in tables.items()} == _REAL[name]
    theirs = starfile.read(path, always_dict=True)
    for table, other in zip(tables.values(), theirs.values(), strict=True):
        assert table.labels == [f"_{label}" for label in other.columns]
        for label in other.columns:
            if other[label].dtype.kind in "fi":
                np.testing.assert_array_equal(table.numbers(f"_{label}"), other[label].to_numpy())
            else:
                assert list(table.strings(f"_{label}")) == other[label].astype(str).to_list()


_texts = st.text(
    st.characters(codec="ascii", exclude_characters="\n\r\0", exclude_categories=["Cc"]),
    min_size=1,
    max_size=12,
)
_rows = st.lists(
    st.tuples(
        _texts.filter(lambda text: not ("'" in text and '"' in text)),
        st.floats(allow_nan=False, allow_infinity=False),
        st.floats(width=32, allow_nan=False, allow_infinity=False),
        st.integers(-(2**53), 2**53),
    ),
    min_size=1,
    max_size=6,
)


@given(_rows)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float, float, int]]
) -> None:
    path = tmp_path_factory.mktemp("star") / "x.star"
    texts, doubles, singles, integers = (list(column) for column in zip(*rows, strict=True))
    write_star(
        path,
        {
            "optics": {"_rlnOpticsGroup": np.array([1])},
            "particles": {
                "_rlnImageName": texts,
                "_rlnAngleRot": np.array(doubles),
                "_rlnDefocusU": np.array(singles, dtype=np.float32),
                "_rlnNumber": np.array(integers),
            },
        },
    )
    table = read_star(path)["particles"]
    assert list(table.strings("_rlnImageName")) == texts
    np.testing.assert_array_equal(table.numbers("_rlnAngleRot"), doubles)
    np.testing.assert_array_equal(table.numbers("_rlnDefocusU").astype(np.float32), singles)
    np.testing.assert_array_equal(table.numbers("_rlnNumber"), integers)


def test_written_tables_are_what_starfile_reads(tmp_path: Path) -> None:
    path = tmp_path / "x.star"
    count = 25_000
    rng = np.random.default_rng(0)
    columns: dict[str, Column] = {
        "_rlnImageName": [f"{i:06d}@stacks/a b.mrcs" for i in range(1, count + 1)],
        "_rlnAngleRot": rng.uniform(-180, 180, count),
        "_rlnDefocusU": rng.uniform(5e3, 3e4, count).astype(np.float32),
        "_rlnOpticsGroup": np.ones(count, dtype=np.int64),
    }
    write_star(path, {"optics": {"_rlnOpticsGroup": np.array([1])}, "particles": columns})
    theirs = starfile.read(path, always_dict=True)["particles"]
    ours = read_star(path)["particles"]
    assert list(theirs["rlnImageName"]) == list(ours.strings("_rlnImageName"))
    assert list(theirs["rlnImageName"]) == columns["_rlnImageName"]
    for label in ("_rlnAngleRot", "_rlnDefocusU", "_rlnOpticsGroup"):
        np.testing.assert_array_equal(ours.numbers(label), theirs[label[1:]].to_numpy())
        np.testing.assert_array_equal(
            ours.numbers(label).astype(np.asarray(columns[label]).dtype), columns[label]
        )


def _star(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_table_without_a_loop_has_one_row(tmp_path: Path) -> None:
    path = _star(tmp_path / "x.star", "data_optics\n_rlnOpticsGroup 1\n_rlnVoltage 300\n")
    table = read_star(path)["optics"]
    assert len(table) == 1
    assert table.numbers("_rlnVoltage") == [300]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data_a\nloop_\n_x\n_y\n1 2 3\n", r"x\.star: not a readable STAR file: "),
        ("data_a\n_x 1\ndata_a\n_x 2\n", r"x\.star: not a readable STAR file: .*duplicate"),
        ("", r"x\.star: the file is empty, expected a STAR file"),
        ("data_a\n", r"x\.star: no table with rows"),
        ("data_a\nloop_\n_x\n", r"x\.star: no table with rows"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_star(_star(tmp_path / "x.star", text))


def test_missing_columns_and_odd_values_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.star: no such file"):
        read_star(tmp_path / "none.star")
    path = _star(tmp_path / "x.star", "data_p\nloop_\n_a\n1\n2\nthree\n")
    table = read_star(path)["p"]
    with pytest.raises(ValueError, match=r"x\.star: no column _b in table data_p"):
        table.numbers("_b")
    with pytest.raises(ValueError, match=r"x\.star, row 3 of data_p: _a is 'three', expected a n"):
        table.numbers("_a")


def test_writer_refuses_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.star"
    with pytest.raises(ValueError, match=r"x\.star: columns of data_p differ in length"):
        write_star(path, {"p": {"_a": np.zeros(3), "_b": np.zeros(2)}})
    with pytest.raises(ValueError, match=r"neither line breaks nor both quotes"):
        write_star(path, {"p": {"_a": ["fine", 'it\'s "not"']}})
    with pytest.raises(FileNotFoundError, match=r"folder .*none does not exist"):
        write_star(tmp_path / "none" / "x.star", {"p": {"_a": np.zeros(3)}})
    assert list(tmp_path.iterdir()) == []


def test_a_written_file_is_valid_for_gemmi(tmp_path: Path) -> None:
    write_star(tmp_path / "x.star", {"a": {"_x": [1, "two words", "_tag"]}})
    assert cif.read_file(str(tmp_path / "x.star"))[0].name == "a"


_PLAIN = st.text("abz019.-+@/\\[]()%*?_#;'\"$", min_size=1, max_size=8).filter(
    lambda text: text[0] not in "_#;'\"$"
)
_QUOTED = st.builds(
    lambda text, quote: f"{quote}{text.replace(quote, '')}{quote}",
    st.text("ab _#;'\" data_loop_", max_size=8),
    st.sampled_from("'\""),
)
_FIELD = st.text("ab \n#'\"_", max_size=8).map(lambda text: f"\n;{text}\n;")
_VALUE = st.one_of(_PLAIN, _PLAIN, _QUOTED, _FIELD)
_GAP = st.sampled_from([" ", "  ", "\t", "\n", " # it's a comment\n", "\n\n#\n", "\n "])


@st.composite
def _documents(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(["", "# version 30001\n\n", "\n"]))
    labels = (f"_l{number}" for number in range(1000))
    for name in draw(st.lists(st.sampled_from(["", "a", "Optics", "data_"]), unique=True)):
        text += draw(st.sampled_from(["data_", "DATA_"])) + name + draw(_GAP)
        for width in draw(st.lists(st.integers(0, 3), max_size=3)):
            if width == 0:
                text += next(labels) + draw(_GAP) + draw(_VALUE) + draw(_GAP)
                continue
            text += draw(st.sampled_from(["loop_", "Loop_"])) + draw(_GAP)
            text += "".join(next(labels) + draw(_GAP) for _ in range(width))
            for _ in range(width * draw(st.integers(1, 4))):
                text += draw(_VALUE) + draw(_GAP)
            text += draw(st.sampled_from(["", "stop_\n"]))
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


@settings(max_examples=40)
@given(_documents(), st.integers(1, 40))
def test_tables_are_what_gemmi_reads(
    tmp_path_factory: pytest.TempPathFactory, text: str, piece: int
) -> None:
    path = tmp_path_factory.mktemp("star") / "x.star"
    path.write_bytes(text.encode())
    theirs = cif.read_file(str(path))
    # Pieces of a few bytes have every kind of seam that large ones have.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(star_pieces, "_PIECE", piece)
        ours = star_syntax.scan(path)
        kept = star_syntax.scan(path, [f"_l{number}" for number in range(1000)])
        assert [block.name for block in ours] == [block.name.strip() for block in theirs]
        for block, other, again in zip(ours, theirs, kept, strict=True):
            table, remembered = StarTable(block, path), StarTable(again, path)
            assert table.labels == [
                label
                for item in other
                for label in (item.loop.tags if item.loop is not None else [item.pair[0]])
            ]
            for label in table.labels:
                expected = [
                    cif.as_string(value) if value[0] in "'\";" else value
                    for value in other.find_values(label)
                ]
                assert list(table.strings(label)) == expected
                assert list(remembered.strings(label)) == expected


@example("data_\n_l0   \n;ab\n;\n", 580540532, "\n;")
@given(_documents(), st.integers(0), st.sampled_from(["'", "data_a ", " _l0 ", " loop_ ", "\n;"]))
@settings(max_examples=40)
def test_what_gemmi_refuses_is_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str, place: int, added: str
) -> None:
    place %= len(text) + 1
    path = tmp_path_factory.mktemp("star") / "x.star"
    path.write_bytes((text[:place] + added + text[place:]).encode())
    try:
        cif.read_file(str(path))
    except (ValueError, RuntimeError):
        with pytest.raises(ValueError, match=r"x\.star: (not a readable STAR|no table with rows)"):
            read_star(path)


def test_columns_are_read_at_once(tmp_path: Path) -> None:
    path = _star(tmp_path / "x.star", "data_p\n_c 9\nloop_\n_a\n_b\n1 2\n3 4\nloop_\n_d\n5\n6\n")
    table = read_star(path)["p"]
    np.testing.assert_array_equal(table.columns(["_b", "_a"]), [[2, 1], [4, 3]])
    np.testing.assert_array_equal(table.columns(["_d", "_a"]), [[5, 1], [6, 3]])
    path.write_text("data_p\n_c 9\nloop_\n_a\n_b\n1 2\n")
    with pytest.raises(ValueError, match=r"x\.star: has changed while it was read"):
        table.numbers("_b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\0\0", r"line 1: expected block header \(data_\)"),
        ("data_a\nloop_\n_x\n_y\n1 2\n3\n", r"line 7: wrong number of values .*: 3, .* its 2 l"),
        ("data_a\n_x\n_y 1\n", "line 3: _x has no value"),
        ("data_a\n_x 1 2\n", "line 2: a value without a label"),
        ("data_a\n_x 'open\n", "line 2: unterminated '"),
        ("data_a\n_x 1\nloop_\n_X\n2\n", "line 4: duplicate label _X"),
        ("data_a\nloop_\n1\n", "line 3: a value without a label"),
        ("data_a\n_ 1\n", "line 2: a label without a name: '_'"),
        ("data_a\nsave_frame\n", "line 2: 'save_frame' is not supported"),
        ("data_a\n_x\n;\n;text\n;\n", "line 4: no space between a text field and 'text'"),
    ],
)
def test_the_line_of_broken_syntax_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"x\.star: not a readable STAR file: {message}"):
        read_star(_star(tmp_path / "x.star", text))


def test_kept_columns_are_what_is_read_from_the_file(tmp_path: Path) -> None:
    rows = "".join(f"{i}@a.mrcs {i / 7:.6f} {i} {'x' if i == 90 else i} 1e9\n" for i in range(100))
    path = _star(tmp_path / "x.star", f"data_p\nloop_\n_a\n_b\n_c\n_d\n_e\n{rows}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(star_syntax, "_VALUES_AT_ONCE", 33)
        kept = read_star(path, ["_a", "_b", "_d", "_e", "_none"])["p"]
    table = read_star(path)["p"]
    expected = table.columns(["_b", "_c", "_e"])
    for _ in range(2):
        np.testing.assert_array_equal(kept.columns(["_b", "_c", "_e"]), expected)
        assert list(kept.strings("_a")) == list(table.strings("_a"))
        with pytest.raises(ValueError, match=r"row 91 of data_p: _d is 'x', expected a number"):
            kept.numbers("_d")


def test_what_is_kept_is_not_read_again(tmp_path: Path) -> None:
    path = _star(tmp_path / "x.star", "data_p\nloop_\n_a\n_b\nx 1\n'y z' 2\n")
    table = read_star(path, ["_a", "_b"])["p"]
    path.write_text("data_p\n")
    assert list(table.strings("_a")) == ["x", "y z"]
    assert table.numbers("_b").tolist() == [1, 2]
    with pytest.raises(ValueError, match="has changed while it was read"):
        table.numbers("_b")

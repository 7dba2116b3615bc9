"""YAML that can be read in two ways, or never ends, is refused."""

from __future__ import annotations

from pathlib import Path

import jsonargparse
import pytest

from cryo_disentangle.options.yaml_files import check_configurations, read_mapping


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("methods:\n  one: {}\n  two: {}\n  one: {}\n")
    with pytest.raises(ValueError, match=r"a\.yaml, line 4: 'one' is there twice"):
        read_mapping(path)


def test_on_is_a_word_and_true_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("on: [yes, no]\nsees: true\n")
    assert read_mapping(path) == {"on": ["yes", "no"], "sees": True}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[1, 2]", "a mapping expected, found list"),
        ("a: [1", r"a\.yaml, line \d"),
        ("a: \x00", "not YAML"),
    ],
)
def test_other_files_are_refused(text: str, match: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=match):
        read_mapping(path)
    with pytest.raises(FileNotFoundError, match=r"b\.yaml: no such file"):
        read_mapping(tmp_path / "b.yaml")


@pytest.mark.parametrize(
    "text", ["a: &x\n  b: *x\n", "a: &x [1, *x]\n", "&x a: {b: &y {c: [*y]}}\n"]
)
def test_a_document_that_contains_itself_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"line 1: an anchor \(&name\) contains its own"):
        read_mapping(path)


def test_an_alias_beside_its_anchor_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &x {b: 1}\nc: *x\nd: {<<: *x, b: 2}\n")
    assert read_mapping(path) == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 2}}


@pytest.mark.parametrize("value", [False, True])
def test_options_of_earlier_runs_are_known_by_their_names_of_now(
    value: bool, tmp_path: Path
) -> None:
    text = f"model:\n  init_args:\n    compile_decoder: {str(value).lower()}\n    seed: 1\n"
    path = tmp_path / "config.yaml"
    path.write_text(text)
    expected = {"model": {"init_args": {"compile": value, "seed": 1}}}
    assert read_mapping(path) == expected
    # And so jsonargparse reads files that `fit` is given.
    check_configurations()
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_argument("--model", type=dict)
    assert parser.parse_args([f"--config={path}"]).as_dict()["model"] == expected["model"]

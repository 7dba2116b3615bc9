from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryo_disentangle.benchmark.merging import fill_in, merge, set_key

_plain = st.recursive(
    st.integers() | st.text("ab"),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
_mappings = st.dictionaries(st.sampled_from("abc"), _plain, max_size=3)


@given(_mappings, _mappings, _mappings)
def test_what_is_laid_over_is_there_and_no_key_is_lost(
    a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]
) -> None:
    assert merge(a, {}) == merge({}, a) == merge(a, a) == a
    both = merge(a, b)
    assert all(merge(both, {key: value}) == both for key, value in b.items())
    assert set(merge(both, c)) == set(a) | set(b) | set(c)


def test_another_class_takes_the_place_of_a_whole_mapping() -> None:
    base = {"decoder": {"class_path": "A", "init_args": {"width": 1}}}
    same = merge(base, {"decoder": {"class_path": "A", "init_args": {"layers": 2}}})
    assert same["decoder"]["init_args"] == {"width": 1, "layers": 2}
    unnamed = merge(base, {"decoder": {"init_args": {"layers": 2}}})
    assert unnamed == same
    other = merge(base, {"decoder": {"class_path": "B"}})
    assert other == {"decoder": {"class_path": "B"}}
    assert base == {"decoder": {"class_path": "A", "init_args": {"width": 1}}}


def test_keys_are_set_on_the_way_down() -> None:
    found: dict[str, Any] = {"a": {"b": 1, "c": 2}, "d": None}
    for word in ("a.b=[3, 4]", "d.e.f=5.0e-3", "g=true", "a.c=x=y"):
        set_key(found, word)
    assert found == {"a": {"b": [3, 4], "c": "x=y"}, "d": {"e": {"f": 0.005}}, "g": True}


@pytest.mark.parametrize(
    ("word", "match"),
    [("a.b", "KEY=VALUE expected"), ("a.b.c=1", "a.b is no mapping"), ("a=[1", "not YAML")],
)
def test_keys_that_make_no_sense_are_refused(word: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        set_key({"a": {"b": 1}}, word)


def test_places_are_filled_in_everywhere() -> None:
    given = {"a": ["{data}/x", 1], "b": {"c": "{data}{data}"}, "d": "{other}"}
    filled = {"a": ["D/x", 1], "b": {"c": "DD"}, "d": "{other}"}
    assert fill_in(given, {"data": "D"}) == filled

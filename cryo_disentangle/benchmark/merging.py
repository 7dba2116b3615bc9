"""Configurations as plain data: changed by dotted keys, laid over one another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import yaml

from cryo_disentangle.options.yaml_files import parse_yaml

__all__ = ["fill_in", "merge", "set_key"]

_Value = TypeVar("_Value")


def set_key(settings: dict[str, Any], word: str) -> None:
    """Changes one key.

    Args:
        settings: Plain data, changed in place; mappings that are missing on the way are made.
        word: ``a.b.c=value``, the value in YAML.

    Raises:
        ValueError: If the word has no ``=``, the value is no YAML, or the way leads through
            something that is no mapping.
    """
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise ValueError(f"--set: KEY=VALUE expected, found {word!r}")
    *way, last = key.split(".")
    place = settings
    for number, name in enumerate(way):
        if place.get(name) is None:
            place[name] = {}
        place = place[name]
        if not isinstance(place, dict):
            raise ValueError(
                f"--set {word}: {'.'.join(way[: number + 1])} is no mapping, it is {place!r}"
            )
    try:
        place[last] = parse_yaml(text)
    except yaml.YAMLError as error:
        raise ValueError(f"--set {word}: the value is not YAML") from error


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lays one configuration over another.

    Mappings are merged key by key, but one that names another class by ``class_path`` takes the
    other's place as a whole, whose ``init_args`` it would not understand.

    Args:
        base: Plain data.
        over: Plain data that is preferred.

    Returns:
        Both together; neither is changed.
    """
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping) and _same_class(below, value):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def _same_class(below: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Whether a mapping adds to another one."""
    return "class_path" not in value or value["class_path"] == below.get("class_path")


def fill_in(value: _Value, places: Mapping[str, str]) -> _Value:
    """Replaces ``{data}`` and the like in all texts of a configuration.

    Args:
        value: Plain data.
        places: What to put, by name.

    Returns:
        The same with texts filled in.
    """
    found: Any = value
    if isinstance(value, str):
        for name, text in places.items():
            found = found.replace(f"{{{name}}}", text)
    elif isinstance(value, Mapping):
        found = {key: fill_in(item, places) for key, item in value.items()}
    elif isinstance(value, list):
        found = [fill_in(item, places) for item in value]
    return found

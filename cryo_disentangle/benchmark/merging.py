"""Configurations as plain data: read strictly, changed by dotted keys, laid over one another."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

__all__ = ["fill_in", "merge", "read_mapping", "set_key"]

_Value = TypeVar("_Value")


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Makes a mapping whose keys are there once."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# Of YAML 1.1 "on", a key of ours, would be true; YAML 1.2 and `fit --config` have these two alone.
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:bool"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def read_mapping(path: Path) -> dict[str, Any]:
    """Reads a mapping of a YAML file.

    Args:
        path: The file.

    Returns:
        Plain data.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no YAML, no mapping, or has a key twice.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise ValueError(f"{path}{line}: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: a mapping expected, found {type(found).__name__}")
    return found


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
        place[last] = yaml.load(text, _StrictLoader)
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
    """Puts names in the place of ``{data}`` and the like in all texts of a configuration.

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

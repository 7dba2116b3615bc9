"""YAML read strictly: a key is there once, and nothing contains itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

__all__ = ["check_configurations", "check_document", "check_files", "parse_yaml", "read_mapping"]

_CONFIG = ("--config", "-c")
# Options of models that were called otherwise: every run keeps a file with all of them.
_RENAMED = {"compile_decoder": "compile"}


class _StrictLoader(yaml.SafeLoader):
    """Reads true and false alone as such."""


# Of YAML 1.1 "on", a key of ours, would be true; YAML 1.2 and `fit --config` have these two alone.
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:bool"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def parse_yaml(text: str) -> Any:  # noqa: ANN401 - any plain data
    """Parses YAML.

    Args:
        text: The document.

    Returns:
        Plain data.

    Raises:
        yaml.YAMLError: If it is no YAML, has a key twice, or contains itself.
    """
    check_document(text)
    return yaml.load(text, _StrictLoader)


def read_mapping(path: Path) -> dict[str, Any]:
    """Reads a mapping of a YAML file.

    Args:
        path: The file.

    Returns:
        Plain data.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no YAML, no mapping, has a key twice, or contains itself.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        found = parse_yaml(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise ValueError(f"{path}{line}: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: a mapping expected, found {type(found).__name__}")
    _rename(found)
    return found


def check_files(words: Sequence[str]) -> None:
    """Refuses configuration files of a command line that jsonargparse would refuse without a name.

    Args:
        words: Command line; files follow ``--config`` or ``-c``.

    Raises:
        ValueError: If one is no YAML, no mapping, has a key twice, or contains itself.
    """
    for word, following in pairwise([*words, ""]):
        option, equals, value = word.partition("=")
        path = Path(value if equals else following)
        if option in _CONFIG and path.is_file():
            read_mapping(path)


@lru_cache(maxsize=1)
def check_configurations() -> None:
    """Lets jsonargparse refuse what `check_document` refuses."""
    load = jsonargparse.get_loader("yaml")

    def checked(text: str) -> Any:  # noqa: ANN401 - any plain data
        # Most texts are values of options, of which there are many.
        if "\n" in text or "{" in text or "[" in text:
            check_document(text)
        found = load(text)
        if isinstance(found, dict):
            _rename(found)
        return found

    jsonargparse.set_loader("yaml", checked, (yaml.YAMLError,))


def _rename(configuration: dict[str, Any]) -> None:
    """Gives options of the model the names that they have now."""
    model = configuration.get("model")
    options = model.get("init_args") if isinstance(model, dict) else None
    for old, new in _RENAMED.items():
        if isinstance(options, dict) and old in options:
            options.setdefault(new, options.pop(old))


def check_document(text: str) -> None:
    """Refuses a document that has a key twice, or a mapping or list that contains itself.

    Args:
        text: The document.

    Raises:
        yaml.YAMLError: If it does, or is no YAML.
    """
    node = yaml.compose(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if node is not None:
        _descend(node, (), set())


def _descend(node: yaml.Node, way: tuple[int, ...], finished: set[int]) -> None:
    """Searches for a node among the nodes that lead to it, and for keys that are there twice."""
    if isinstance(node, yaml.ScalarNode) or id(node) in finished:
        return
    if id(node) in way:
        raise yaml.constructor.ConstructorError(
            None, None, "an anchor (&name) contains its own alias (*name)", node.start_mark
        )
    if isinstance(node, yaml.MappingNode):
        _refuse_twice(node)
    for item in node.value:
        for part in item if isinstance(item, tuple) else (item,):
            _descend(part, (*way, id(node)), finished)
    finished.add(id(node))


def _refuse_twice(node: yaml.MappingNode) -> None:
    """Refuses a key that is there twice, of which YAML would keep the last."""
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        if key.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"{key.value!r} is there twice", key.start_mark
            )
        seen.add(key.value)

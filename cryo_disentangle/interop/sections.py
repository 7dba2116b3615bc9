"""Mappings from other programs' files, with messages for missing and unexpected values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["Section"]

_T = TypeVar("_T")
_REQUIRED: Any = object()


class Section:
    """A mapping of a file, with the place it came from.

    Args:
        path: The file.
        name: The section's name there.
        values: What it holds.

    Raises:
        ValueError: If it is no mapping.
    """

    def __init__(self, path: Path, name: str, values: object) -> None:
        if not isinstance(values, Mapping):
            found = "none" if values is None else type(values).__name__
            raise ValueError(f"{path}: expected a section {name} of keys and values, found {found}")
        self.path, self.name, self.values = path, name, values

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def get(self, key: str, kind: type[_T], default: _T = _REQUIRED) -> _T:
        """Returns a value.

        Args:
            key: Its key.
            kind: Its type; whole numbers do for float.
            default: What is taken where there is no such key; by default there must be one.

        Returns:
            The value.

        Raises:
            ValueError: If the key is missing or the value is of another type.
        """
        value = self.values.get(key, default)
        if value is _REQUIRED:
            raise ValueError(f"{self.path}: {self.name} has no {key}, and there is no default")
        if kind is float and isinstance(value, int):
            value = float(value)
        if not isinstance(value, kind):
            raise ValueError(
                f"{self.path}: {self.name}.{key} must be of type {kind.__name__}, found {value!r}"
            )
        return value

    def get_or_none(self, key: str, kind: type[_T]) -> _T | None:
        """Returns a value that may be null or missing.

        Args:
            key: Its key.
            kind: Its type.

        Returns:
            The value, or None.

        Raises:
            ValueError: If the value is of another type.
        """
        return None if self.values.get(key) is None else self.get(key, kind)

    def choose(self, key: str, choices: Mapping[str, _T], default: str = _REQUIRED) -> _T:
        """Returns a value by its name.

        Args:
            key: The key of the name.
            choices: What the names stand for.
            default: The name that is taken where there is no such key.

        Returns:
            What the name stands for.

        Raises:
            ValueError: If the key is missing or the name is another.
        """
        name = self.get(key, str, default)
        if name not in choices:
            raise ValueError(
                f"{self.path}: {self.name}.{key} {name} is not supported, only {', '.join(choices)}"
            )
        return choices[name]

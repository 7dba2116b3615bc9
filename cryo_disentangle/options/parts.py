"""Parts of anybody's in configuration files: what counts is which methods a class has."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, TypeVar

__all__ = ["part", "shortcoming"]

_Protocol = TypeVar("_Protocol", bound=type)
_PARTS: dict[str, type] = {}


def part(protocol: _Protocol) -> _Protocol:
    """Lets configuration files name any class that can be called as a protocol says.

    jsonargparse would ask for its argument names and annotations letter by letter. To type checkers
    the class stays a protocol; at run time it is an abstract class, of which every class with its
    methods is a subclass.

    Args:
        protocol: The protocol; its methods are called with positional arguments.

    Returns:
        The same class.
    """
    kind: Any = protocol
    kind._is_protocol = False
    kind.__abstractmethods__ = frozenset(_methods(protocol))
    kind.__subclasshook__ = classmethod(_is_such)
    _PARTS[protocol.__name__] = protocol
    return protocol


def shortcoming(kind: type, name: str) -> str | None:
    """Returns why a class is no such part.

    Args:
        kind: The class.
        name: Name of a class that `part` has seen.

    Returns:
        The reason, or None if the class serves or there is no such part.
    """
    wanted = _PARTS.get(name)
    if wanted is None or issubclass(kind, wanted):
        return None
    for method, takes in _methods(wanted).items():
        called = f"{method}({', '.join(takes)})"
        found = _own(kind, method)
        if found is None:
            return f"{kind.__name__} has no {called}, which a {name} needs"
        if not _can_be_called(kind, method, len(takes)):
            own = [p for p in inspect.signature(found).parameters if p != "self"]
            return (
                f"{kind.__name__}.{method} takes ({', '.join(own)}), but that of a {name} is "
                f"called as {called}"
            )
    return f"{kind.__name__} is a {_declared(kind)[0].__name__}, and a {name} was expected"


def _is_such(wanted: type, kind: type) -> Any:  # noqa: ANN401 - NotImplemented has no type
    """Whether a class has the methods of a part; asked of subclasses of the part in vain."""
    if wanted not in _PARTS.values():
        return NotImplemented
    declared = _declared(kind)
    if declared:
        # A class that says what it is, is nothing else that is called alike.
        return wanted in declared
    found = _methods(wanted).items()
    return all(_can_be_called(kind, method, len(takes)) for method, takes in found)


def _declared(kind: type) -> list[type]:
    """Parts that a class inherits from."""
    return [base for base in kind.__mro__ if base in _PARTS.values()]


def _methods(protocol: type) -> dict[str, list[str]]:
    """The methods of a protocol and the arguments that they are called with."""
    return dict(_arguments(protocol))


def _arguments(protocol: type) -> Iterator[tuple[str, list[str]]]:
    for name, value in vars(protocol).items():
        if inspect.isfunction(value) and not name.startswith("_"):
            yield name, [p for p in inspect.signature(value).parameters if p != "self"]


def _own(kind: type, method: str) -> Any:  # noqa: ANN401 - any callable
    """A method that a class really has."""
    found = getattr(kind, method, None)
    # Every module has a forward, which says that there is none.
    missing = getattr(found, "__name__", "") == "_forward_unimplemented"
    return found if callable(found) and not missing else None


def _can_be_called(kind: type, method: str, count: int) -> bool:
    """Whether a method takes a number of positional arguments."""
    found = _own(kind, method)
    if found is None:
        return False
    bound = isinstance(inspect.getattr_static(kind, method), staticmethod | classmethod)
    try:
        inspect.signature(found).bind(*[None] * (count + (not bound)))
    except (TypeError, ValueError):
        return False
    return True

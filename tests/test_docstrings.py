"""Docstrings of what is public name parameters, shapes, results and errors."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Any

import pytest
from torch import Tensor, nn

import cryo_disentangle
from cryo_disentangle.options import parts

_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):\n((?:(?: {4}.*)?\n)+)", re.M)
_ENTRY = re.compile(r"^ {4}\*{0,2}([\w`*, ]+?):", re.M)
_ARRAY = re.compile(r"\b(?:Tensor|NDArray|\w*Array)\b")
_NESTED = re.compile(r"\b(?:Callable|Mapping|dict)\b")
_ALL_SHAPES = re.compile(r"\ball\b[^.]*\bscalars\b", re.I)
# A shape such as (N, 3) or (...), or a word for one.
_SHAPE = re.compile(r"\([^()]*(?:,|\.\.\.)[^()]*\)|\(\w\)|\bshapes?\b|\bscalar|\bas [`\w]", re.I)


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(cryo_disentangle.__path__, "cryo_disentangle."):
        if not any(part.startswith("_") for part in found.name.split(".")):
            yield importlib.import_module(found.name)


def public(owner: Any) -> Iterator[tuple[str, Any]]:
    """What a module or class defines itself."""
    for name, value in vars(owner).items():
        if isinstance(value, classmethod | staticmethod):
            value = value.__func__
        home = owner.__module__ if inspect.isclass(owner) else owner.__name__
        if not name.startswith("_") and getattr(value, "__module__", None) == home:
            yield name, inspect.unwrap(value) if callable(value) else value


def sections(doc: str) -> dict[str, str]:
    return dict(_SECTION.findall(inspect.cleandoc(doc) + "\n"))


def entries(body: str) -> dict[str, str]:
    """Text of each entry of a section, by name; names that share an entry have the same."""
    found: dict[str, str] = {}
    starts = [*_ENTRY.finditer(body)]
    ends = [*(match.start() for match in starts), len(body)][1:]
    for match, end in zip(starts, ends, strict=True):
        for name in re.split(r"[, ]+", match[1]):
            found[name.strip("`*")] = body[match.end() : end]
    return found


def body_of(function: Callable[..., Any]) -> ast.FunctionDef:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(node, ast.FunctionDef)
    return node


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a function without those of functions inside it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            yield from own_nodes(child)


def raised(function: Callable[..., Any]) -> set[str]:
    """Names of the errors that a function raises itself; of none that dataclasses wrote."""
    if function.__code__.co_filename == "<string>":
        return set()
    found = (node.exc for node in own_nodes(body_of(function)) if isinstance(node, ast.Raise))
    calls = (exc.func if isinstance(exc, ast.Call) else exc for exc in found if exc is not None)
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    return {name for name in names if name[0].isupper() and name != "NotImplementedError"}


def parameters(function: Callable[..., Any]) -> Mapping[str, str]:
    """Annotation of each parameter."""
    found = inspect.signature(function).parameters.values()
    return {
        one.name: str(one.annotation)
        for one in found
        if one.name not in ("self", "cls") and not one.name.startswith("_")
    }


def check_call(function: Callable[..., Any], doc: str) -> Iterator[str]:
    """Complaints about what a call takes and raises."""
    there = sections(doc)
    told = entries(there.get("Args", "")) or entries(there.get("Attributes", ""))
    for name, annotation in parameters(function).items():
        array = _ARRAY.search(annotation) and not _NESTED.search(annotation)
        if name not in told:
            yield f"Args lacks {name}"
        elif array and not _SHAPE.search(told[name]) and not _ALL_SHAPES.search(doc):
            yield f"Args tells no shape of {name}"
    for name in raised(function) - set(entries(there.get("Raises", ""))):
        yield f"Raises lacks {name}"


def is_contract(found: Any) -> bool:
    """Whether a class says what others must have: a protocol, or a part of configuration files."""
    return getattr(found, "_is_protocol", False) or found in parts._PARTS.values()


def check_class(found: type, doc: str) -> Iterator[str]:
    if not doc:
        yield "no docstring"
    if is_contract(found):
        return
    making = {"_fields": "__new__", "__post_init__": "__post_init__", "__init__": "__init__"}
    for name, method in making.items():
        if name in vars(found):
            yield from check_call(getattr(found, method), doc)


def check_result(function: Callable[..., Any], doc: str) -> Iterator[str]:
    there = sections(doc)
    returned = str(inspect.signature(function).return_annotation)
    if returned in ("None", "NoReturn", "Self") or "Returns" in there or "Yields" in there:
        return
    if parameters(function):
        yield "Returns is missing"


@cache
def protocol_methods() -> set[tuple[str, ...]]:
    """Name and parameters of what protocols ask for: told there, not at each class that has it."""
    protocols = (value for module in modules() for _, value in public(module) if is_contract(value))
    return {
        (name, *parameters(method))
        for protocol in protocols
        for name, method in public(protocol)
        if inspect.isfunction(method)
    }


def told_elsewhere(owner: Any, name: str, method: Callable[..., Any]) -> bool:
    """Whether a base class or a protocol tells what a method is."""
    if not inspect.isclass(owner) or is_contract(owner):
        return False
    bases = [base for base in owner.__mro__[1:] if name in vars(base)]
    told = bool(bases) and not (name == "forward" and bases == [nn.Module])
    return told or (name, *parameters(method)) in protocol_methods()


def complaints(owner: Any) -> Iterator[str]:
    for name, value in public(owner):
        place = f"{owner.__name__}.{name}"
        doc = getattr(value, "__doc__", None)
        if inspect.isclass(value):
            found = [*check_class(value, doc or "")]
            yield from (f"{place}: {one}" for one in found)
            yield from complaints(value)
        elif inspect.isfunction(value) and not told_elsewhere(owner, name, value):
            found = [*check_call(value, doc or ""), *check_result(value, doc or "")]
            yield from (f"{place}: {one}" for one in found)


@pytest.mark.parametrize("module", [*modules()], ids=lambda module: module.__name__)
def test_docstrings_tell_arguments_results_and_errors(module: ModuleType) -> None:
    assert [*complaints(module)] == []


class _Bad:
    """Holds numbers.

    Args:
        values: What it holds.
    """

    def __init__(self, values: Tensor, spare: int) -> None:
        self.values, self.spare = values, spare

    def shift(self, by: float) -> Tensor:
        """Adds a number."""
        if not by:
            raise ValueError("by must not be 0")
        return self.values + by


def test_the_lint_bites() -> None:
    module = ModuleType(__name__)
    module.Bad = _Bad  # type: ignore[attr-defined]
    assert {complaint.rpartition(".")[2] for complaint in complaints(module)} == {
        "Bad: Args tells no shape of values",
        "Bad: Args lacks spare",
        "shift: Args lacks by",
        "shift: Raises lacks ValueError",
        "shift: Returns is missing",
    }

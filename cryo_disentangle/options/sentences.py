"""Errors in one sentence, whatever library has wrapped them."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from cryo_disentangle.options.parts import shortcoming

__all__ = ["LONGEST", "one_sentence", "reason"]

# Characters of a sentence, with the name of the program before it.
LONGEST = 400

_UNION = "Does not validate against any of the Union subtypes"
_WORKER = re.compile(r"Caught (\w+) in .+\.\n(?:Original )?Traceback", re.DOTALL)
_SPAWNED = re.compile(r"-- Process \d+ terminated with the following error:\nTraceback")
_KEY = re.compile(r'Parser key "([^"]*)":(.*)')
_CLASS = re.compile(r"Problem with given class_path '([^']*)':(.*)")
_TYPE = re.compile(r"Expected a (?:<class '([^']*)'>|(\S.*?))(?:\. Got value: (.*))?$")
_VALUE = re.compile(r"Given value: (?:NestedArg\(key='[^']*', val=(.*)\)|(.*))$")
_OPTION = re.compile(r"Option '([^']*)' is not accepted")
_PART = re.compile(r"Import path (\S+) does not correspond to a subclass of (\w+)")
_CALLED = re.compile(r"Type typing\.Callable\[.*\] expects a function or a callable class: (.*)")
_GIVEN_CLASS = re.compile(r"\.? ?Got value: Namespace\(class_path='([^']*)'.*")
_SUBCLASS = re.compile(r"Expected '(\S+)' to be a subclass of <class '(?:\w+\.)*(\w+)'>\.*")
_NAME = re.compile(r"Expected a (?:dot import path string|path but|valid import path)")


def one_sentence(error: BaseException, room: int = LONGEST) -> str:
    """Returns the message of an error in one line.

    Args:
        error: The error.
        room: Number of characters that the sentence may have.

    Returns:
        The sentence.
    """
    text = " ".join(reason(error).split()) or type(error).__name__
    if len(text) <= room:
        return text
    # What was found and what was expected mostly stand at the two ends.
    tail = room // 3
    return f"{text[: room - tail - 3].rstrip()} … {text[-tail:].lstrip()}"


def reason(error: BaseException) -> str:
    """Unwraps the message of an error.

    jsonargparse lists, for a part that may be of several types, why it is none of them; workers of
    a DataLoader and spawned processes put their traceback round it.

    Args:
        error: The error.

    Returns:
        The message of what went wrong first.
    """
    text = _outside_worker(str(error))
    if _UNION in text or "Parser key" in text or "Problem with given class_path" in text:
        found = _read(text.splitlines())
        return str(found)
    return text


def _outside_worker(text: str) -> str:
    """The message of an error that was caught in another process with its traceback."""
    match = _WORKER.search(text)
    kind = match[1] if match else r"[\w.]+"
    if match is None and _SPAWNED.search(text) is None:
        return text
    raised = list(re.finditer(rf"^(?:[\w.]+\.)?{kind}: ", text, re.MULTILINE))
    return text[raised[-1].end() :] if raised else text.strip().splitlines()[-1]


class _Refusal(NamedTuple):
    """Why a value was refused.

    Attributes:
        weight: How informative it is; the most informative refusal is shown.
        text: In words.
        key: Option, by dots.
        owner: Class whose option it is.
        value: What was given, where that is known and short.
    """

    weight: int
    text: str
    key: str = ""
    owner: str = ""
    value: str = ""

    def __str__(self) -> str:
        text = _with_value(self)
        if self.owner:
            text = f"{self.owner}: {text}"
        return f"{self.key}: {text}" if self.key else text


def _with_value(refusal: _Refusal) -> str:
    """The words, and what was given where the words do not say it."""
    if refusal.value and refusal.weight <= _A_NAME:
        return f"{refusal.text}, found {refusal.value}"
    return refusal.text


# Weights: the value is not null or none of a simple type; it names no class; anything in words.
_NOTHING, _A_TYPE, _A_NAME, _WORDS = range(4)


def _read(lines: Sequence[str]) -> _Refusal:
    """Reads a message of jsonargparse, whose parts are indented below what they are parts of."""
    lines = [line for line in lines if line.strip()]
    if not lines:
        return _Refusal(_NOTHING, "")
    first = lines[0].strip()
    if match := _KEY.fullmatch(first):
        inner = _read([match[2], *lines[1:]])
        return inner._replace(key=".".join(part for part in (match[1], inner.key) if part))
    if match := _CLASS.fullmatch(first):
        return _of_class(match[1], _read([match[2], *lines[1:]]))
    if match := _CALLED.fullmatch(first):
        return _called([match[1], *lines[1:]])
    if any(line.lstrip().startswith(("- ", _UNION)) for line in lines):
        return _best(lines)
    return _simple(" ".join(line.strip() for line in lines))


def _of_class(path: str, inner: _Refusal) -> _Refusal:
    """A refusal of an argument of a class; the innermost class is the one to name."""
    if inner.owner or inner.key:
        return inner
    module, _, name = path.rpartition(".")
    if match := _OPTION.fullmatch(inner.text):
        made = getattr(sys.modules.get(module), name, None)
        known = inspect.signature(made).parameters if callable(made) else ()
        inner = inner._replace(text=f"there is no option {match[1]!r}{_near(match[1], known)}")
    return inner._replace(owner=name)


def _near(word: str, known: Iterable[str]) -> str:
    """What a word may have been meant to be."""
    near = difflib.get_close_matches(word, [other for other in known if other != word], 1)
    return f", did you mean {near[0]!r}?" if near else ""


def _classes() -> Iterator[str]:
    """Names of classes that need no path."""
    for name, module in list(sys.modules.items()):
        if name.startswith("cryo_disentangle."):
            yield from (word for word in getattr(module, "__all__", ()) if word[:1].isupper())


def _best(lines: Sequence[str]) -> _Refusal:
    """Of several refusals the most informative one; of simple types all."""
    refusals = [_read(item) for item in _items(lines)] or [_Refusal(_NOTHING, lines[0].strip())]
    chosen = max(refusals, key=lambda refusal: refusal.weight)
    if chosen.weight == _A_TYPE:
        text = _all_types(refusals)
        if not chosen.key and any(refusal.weight == _NOTHING for refusal in refusals):
            text += " or null"
        chosen = chosen._replace(text=text)
    matches = [match for line in lines if (match := _VALUE.match(line.strip()))]
    value = (matches[-1][1] or matches[-1][2]) if matches else ""
    if chosen.value or len(value) > _SHORT:
        return chosen
    return chosen._replace(value=value)


def _all_types(refusals: Iterable[_Refusal]) -> str:
    """The simple types that refusals expected."""
    kinds = dict.fromkeys(refusal.text for refusal in refusals if refusal.weight == _A_TYPE)
    return " or ".join(kinds).replace(" or expected", " or")


_SHORT = 80


def _items(lines: Sequence[str]) -> Iterator[list[str]]:
    """The list's items, each with what is indented below it."""
    depth: int | None = None
    item: list[str] = []
    for line in lines:
        indent = len(line) - len(line.lstrip())
        is_item = line.lstrip().startswith("- ")
        if is_item and (depth is None or indent <= depth):
            depth = indent
            if item:
                yield item
            item = [" " * (indent + 2) + line.lstrip()[2:]]
        elif depth is not None and (indent > depth or _goes_on(item, line)):
            item.append(line)
    if item:
        yield item


def _goes_on(item: Sequence[str], line: str) -> bool:
    """Whether a line belongs to a union that an item begins without indenting the rest."""
    return item[0].strip() == _UNION and not line.strip().startswith("- Expected a path but")


def _called(lines: Sequence[str]) -> _Refusal:
    """Why a function or class that makes a part, such as an optimiser, was refused."""
    *others, last = lines
    match = _GIVEN_CLASS.search(last)
    if match is None:
        inner = _read([*others, last.partition(". Got value: ")[0]])
    else:
        inner = _of_class(match[1], _read([*others, last[: match.start()]]))
    return inner._replace(weight=_WORDS, value="", text=_with_value(inner))


def _simple(text: str) -> _Refusal:
    """A refusal without parts."""
    if match := _SUBCLASS.fullmatch(text):
        return _Refusal(_WORDS, f"expected a class of kind {match[2]}, found {match[1]}")
    if _NAME.match(text):
        value = text.split(": ", 1)[-1].removeprefix("Expected a path but ").split(" either")[0]
        told = "expected a class that is imported, or its path package.module.Class"
        near = _near(value.strip(), _classes())
        # A missing path is less informative than an unknown name.
        weight = _NOTHING if text.startswith("Expected a path but") else _A_NAME
        return _Refusal(weight, told, value=repr(value.strip()) + near)
    if match := _PART.fullmatch(text):
        module, _, name = match[1].rpartition(".")
        kind = getattr(sys.modules.get(module), name, None)
        found = shortcoming(kind, match[2]) if inspect.isclass(kind) else None
        return _Refusal(_WORDS, found or text)
    if match := _TYPE.fullmatch(text):
        kind = (match[1] or match[2]).rsplit(".", 1)[-1]
        if kind == "NoneType":
            return _Refusal(_NOTHING, "expected null")
        return _Refusal(_A_TYPE, f"expected {kind}", value=repr(match[3]) if match[3] else "")
    return _Refusal(_WORDS, text)

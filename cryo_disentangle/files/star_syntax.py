"""Syntax of STAR files, read a piece at a time: where tables lie, and the values in them.

References:
    Hall 1991, The STAR file; Hall, Allen and Brown 1991, CIF, whose quoting RELION follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

__all__ = ["Block", "Loop", "StarSyntaxError", "read_rows", "scan"]

_PIECE = 2**20
_LONGEST = 2**24
_TOKEN = re.compile(
    rb"""(?P<comment>\#[^\n]*)
    |(?P<quoted>(?<=\n);(?s:.*?)\n;|'(?:[^'\n]|'(?=\S))*'(?=\s|\Z)|"(?:[^"\n]|"(?=\S))*"(?=\s|\Z))
    |(?P<open>['"]|(?<=\n);)
    |(?P<bare>\S+)""",
    re.VERBOSE,
)
_NO_BLOCK = "expected block header (data_)"
_MARKS = (b"'", b'"', b"#", b";")
_WORDS = (b" _", b" $", b" data_", b" loop_", b" save_", b" stop_", b" global_")
_SPACED_LOWER = bytes(
    0x20 if chr(i).isspace() else ord(chr(i).lower()) for i in range(128)
) + bytes(range(128, 256))


class StarSyntaxError(ValueError):
    """A STAR file that breaks the rules.

    Args:
        position: Where, in bytes.
        what: What is wrong there.
    """

    def __init__(self, position: int, what: str) -> None:
        super().__init__(what)
        self.position = position


@dataclass
class Loop:
    """Where the values of some labels lie.

    Attributes:
        labels: One a column, for example ``_rlnImageName``.
        is_loop: False for a label with one value and no ``loop_``.
        start: First byte of the first value.
        n_values: Number of values, over all columns.
    """

    labels: list[str] = field(default_factory=list)
    is_loop: bool = True
    start: int = 0
    n_values: int = 0

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.n_values // len(self.labels)


@dataclass
class Block:
    """A block, ``data_`` and its name.

    Attributes:
        name: What follows ``data_``.
        loops: Its contents in order.
    """

    name: str
    loops: list[Loop] = field(default_factory=list)


def scan(path: Path) -> list[Block]:
    """Finds all tables of a file and checks its syntax; keeps no value.

    Args:
        path: The file.

    Returns:
        Blocks in order.

    Raises:
        StarSyntaxError: If the syntax is broken, or a block or label is repeated.
    """
    scanner = _Scanner()
    with path.open("rb") as file:
        for offset, piece in _pieces(file, 0):
            if _holds_values_only(piece):
                scanner.take_values(offset + len(piece) - len(piece.lstrip()), len(piece.split()))
                continue
            for match in _TOKEN.finditer(piece):
                if match.lastgroup != "comment":
                    scanner.take(offset + match.start(), match.group(), match.lastgroup or "")
        scanner.close(file.tell())
    return scanner.blocks


def read_rows(path: Path, loop: Loop, columns: Sequence[int]) -> Iterator[list[list[bytes]]]:
    """Reads some columns of a table that `scan` has found.

    Args:
        path: The file.
        loop: The table.
        columns: 0-based columns.

    Yields:
        For each of them the values of the next rows as they are written, quotes included.

    Raises:
        ValueError: If the file has become shorter meanwhile.
    """
    width, left = len(loop.labels), loop.n_values
    if not left:
        return
    tokens: list[bytes] = []
    with path.open("rb") as file:
        # The byte before a value tells whether it begins a line, which matters to text fields.
        for _, piece in _pieces(file, loop.start - 1):
            tokens = (tokens + values_of(piece))[:left]
            end = len(tokens) // width * width
            yield [tokens[column:end:width] for column in columns]
            tokens, left = tokens[end:], left - end
            if left == 0:
                return
    raise ValueError(f"{path}: has changed while it was read")


def _pieces(file: IO[bytes], offset: int) -> Iterator[tuple[int, bytes]]:
    """Yields offset and bytes of pieces that split no token; all but the first begin a line.

    They begin with the line break itself.
    """
    file.seek(offset)
    rest = b""
    while block := file.read(_PIECE):
        rest += block
        cut = rest.rfind(b"\n")
        # A semicolon that begins a line opens a text field or ends it.
        if cut > 0 and rest.count(b"\n;", 0, cut) % 2 == 0:
            yield offset, rest[:cut]
            offset, rest = offset + cut, rest[cut:]
        elif len(rest) > _LONGEST:
            raise StarSyntaxError(offset, f"a line or text field of more than {_LONGEST} bytes")
    yield offset, rest


def _holds_values_only(piece: bytes) -> bool:
    """Whether there are only values that need no unquoting, as in all but the first piece."""
    if any(mark in piece for mark in _MARKS):
        return False
    # The number of tokens that are looked at one by one decides how long a scan takes.
    words = b" " + piece.translate(_SPACED_LOWER)
    return not any(word in words for word in _WORDS)


def values_of(piece: bytes) -> list[bytes]:
    """Splits lines that hold nothing but values and comments.

    Args:
        piece: Whole lines.

    Returns:
        The values as they are written, quotes included.
    """
    if not any(mark in piece for mark in _MARKS):
        return piece.split()
    return [match.group() for match in _TOKEN.finditer(piece) if match.lastgroup != "comment"]


class _Scanner:
    """Puts tokens together to blocks.

    Attributes:
        blocks: Blocks so far.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._loop: Loop | None = None
        self._labels: set[str] = set()

    def take(self, position: int, token: bytes, kind: str) -> None:
        """Takes the next token."""
        if kind == "open":
            raise StarSyntaxError(position, f"unterminated {token.decode()}")
        lower = token.lower() if kind == "bare" else b""
        if lower.startswith(b"data_"):
            self._begin_block(position, token)
        elif not self.blocks:
            raise StarSyntaxError(position, _NO_BLOCK)
        elif lower.startswith(b"_"):
            self._take_label(position, token)
        elif lower == b"loop_":
            self.close(position)
            self._loop = Loop()
            self.blocks[-1].loops.append(self._loop)
        elif lower == b"stop_":
            self.close(position)
        elif lower.startswith((b"save_", b"$")) or lower == b"global_":
            what = token[:40].decode(errors="replace")
            raise StarSyntaxError(position, f"{what!r} is not supported")
        else:
            self.take_values(position, 1)

    def take_values(self, position: int, count: int) -> None:
        """Takes some values, the first of which is at a position."""
        if not count:
            return
        if not self.blocks:
            raise StarSyntaxError(position, _NO_BLOCK)
        loop = self._loop
        if loop is None or not loop.labels or (not loop.is_loop and loop.n_values + count > 1):
            raise StarSyntaxError(position, "a value without a label")
        if not loop.n_values:
            loop.start = position
        loop.n_values += count

    def close(self, position: int) -> None:
        """Ends the table at hand."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        if not loop.labels:
            raise StarSyntaxError(position, "loop_ without labels")
        if not loop.is_loop and not loop.n_values:
            raise StarSyntaxError(position, f"{loop.labels[0]} has no value")
        if loop.n_values % len(loop.labels):
            raise StarSyntaxError(
                position,
                f"wrong number of values in the loop that ends here: {loop.n_values}, expected "
                f"a multiple of its {len(loop.labels)} labels",
            )

    def _begin_block(self, position: int, token: bytes) -> None:
        self.close(position)
        name = token[len(b"data_") :].decode(errors="surrogateescape")
        if any(block.name.lower() == name.lower() for block in self.blocks):
            raise StarSyntaxError(position, f"duplicate block name: {name}")
        self.blocks.append(Block(name))
        self._labels = set()

    def _take_label(self, position: int, token: bytes) -> None:
        label = token.decode(errors="surrogateescape")
        if label.lower() in self._labels:
            raise StarSyntaxError(position, f"duplicate label {label}")
        self._labels.add(label.lower())
        if self._loop is None or not self._loop.is_loop or self._loop.n_values:
            self.close(position)
            self._loop = Loop(is_loop=False)
            self.blocks[-1].loops.append(self._loop)
        self._loop.labels.append(label)

"""Syntax of STAR files, read a piece at a time: where tables lie, and the values in them.

References:
    Hall 1991, The STAR file; Hall, Allen and Brown 1991, CIF, whose quoting RELION follows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryo_disentangle.files.kept_column import KeptColumn
from cryo_disentangle.files.star_pieces import (
    TOKEN,
    StarSyntaxError,
    holds_values_only,
    pieces,
    values_of,
)
from cryo_disentangle.files.text import open_text

__all__ = ["Block", "Loop", "StarSyntaxError", "read_rows", "scan"]

_VALUES_AT_ONCE = 2**17
_NO_BLOCK = "expected block header (data_)"


@dataclass
class Loop:
    """Where the values of some labels lie.

    Attributes:
        labels: One a column, for example ``_rlnImageName``.
        is_loop: False for a label with one value and no ``loop_``.
        start: First byte of the first value.
        end: First byte after the last value, or after white space behind it.
        n_values: Number of values, over all columns.
        kept: Values of some columns by label.
    """

    labels: list[str] = field(default_factory=list)
    is_loop: bool = True
    start: int = 0
    end: int = 0
    n_values: int = 0
    kept: dict[str, KeptColumn] = field(default_factory=dict)

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


def scan(path: Path, kept: Collection[str] = ()) -> list[Block]:
    """Finds all tables of a file and checks its syntax.

    Args:
        path: The file.
        kept: Labels whose values are kept, in `Loop.kept`; of others only their place is.

    Returns:
        Blocks in order.

    Raises:
        StarSyntaxError: If the syntax is broken, or a block or label is repeated.
    """
    scanner = _Scanner(frozenset(kept))
    with path.open("rb") as raw:
        end = 0
        for offset, piece in pieces(open_text(raw), 0):
            end = offset + len(piece)
            if holds_values_only(piece):
                scanner.take_values(end - len(piece.lstrip()), end, piece.split())
            else:
                _take_tokens(scanner, offset, piece)
        scanner.close(end)
    return scanner.blocks


def _take_tokens(scanner: _Scanner, offset: int, piece: bytes) -> None:
    """Hands a piece to the scanner token by token."""
    field_end = -1
    for match in TOKEN.finditer(piece):
        kind, token = match.lastgroup or "", match.group()
        if match.start() == field_end and kind != "comment":
            what = token[:40].decode(errors="replace")
            raise StarSyntaxError(offset + field_end, f"no space between a text field and {what!r}")
        if kind == "quoted" and token.startswith(b";"):
            field_end = match.end()
        if kind != "comment":
            scanner.take(offset + match.start(), token, kind)


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
    with path.open("rb") as raw:
        file = open_text(raw)
        # The byte before a value tells whether it begins a line, which matters to text fields.
        for _, piece in pieces(file, loop.start - 1, loop.end):
            tokens = (tokens + values_of(piece))[:left]
            end = len(tokens) // width * width
            yield [tokens[column:end:width] for column in columns]
            tokens, left = tokens[end:], left - end
            if left == 0:
                return
    raise ValueError(f"{path}: has changed while it was read")


class _Scanner:
    """Puts tokens together to blocks.

    Args:
        kept: Labels whose values are kept.

    Attributes:
        blocks: Blocks so far.
    """

    def __init__(self, kept: frozenset[str]) -> None:
        self.blocks: list[Block] = []
        self._kept = kept
        self._loop: Loop | None = None
        self._labels: set[str] = set()
        self._row: list[bytes] = []

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
            self.take_values(position, position + len(token), [token])

    def take_values(self, position: int, end: int, values: list[bytes]) -> None:
        """Takes values that lie from the first byte of the first to the end of the last."""
        count = len(values)
        if not count:
            return
        if not self.blocks:
            raise StarSyntaxError(position, _NO_BLOCK)
        loop = self._loop
        if loop is None or not loop.labels or (not loop.is_loop and loop.n_values + count > 1):
            raise StarSyntaxError(position, "a value without a label")
        if not loop.n_values:
            loop.start = position
            loop.kept = {label: KeptColumn() for label in loop.labels if label in self._kept}
        loop.n_values += count
        loop.end = end
        if loop.kept:
            self._row += values
            if len(self._row) >= _VALUES_AT_ONCE:
                self._keep(loop)

    def _keep(self, loop: Loop) -> None:
        """Keeps what is to be kept of the whole rows at hand."""
        width = len(loop.labels)
        end = len(self._row) // width * width
        for label, column in loop.kept.items():
            column.extend(self._row[loop.labels.index(label) : end : width])
        del self._row[:end]

    def close(self, position: int) -> None:
        """Ends the table at hand."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        if not loop.labels:
            raise StarSyntaxError(position, "loop_ without labels")
        if not loop.is_loop and not loop.n_values:
            raise StarSyntaxError(position, f"{loop.labels[0]} has no value")
        self._keep(loop)
        if loop.n_values % len(loop.labels):
            raise StarSyntaxError(
                position,
                f"wrong number of values in the loop that ends here: {loop.n_values}, expected "
                f"a multiple of its {len(loop.labels)} labels",
            )
        self._row = []

    def _begin_block(self, position: int, token: bytes) -> None:
        self.close(position)
        name = token[len(b"data_") :].decode(errors="surrogateescape")
        if any(block.name.lower() == name.lower() for block in self.blocks):
            raise StarSyntaxError(position, f"duplicate block name: {name}")
        self.blocks.append(Block(name))
        self._labels = set()

    def _take_label(self, position: int, token: bytes) -> None:
        label = token.decode(errors="surrogateescape")
        if label == "_":
            raise StarSyntaxError(position, "a label without a name: '_'")
        if label.lower() in self._labels:
            raise StarSyntaxError(position, f"duplicate label {label}")
        self._labels.add(label.lower())
        if self._loop is None or not self._loop.is_loop or self._loop.n_values:
            self.close(position)
            self._loop = Loop(is_loop=False)
            self.blocks[-1].loops.append(self._loop)
        self._loop.labels.append(label)

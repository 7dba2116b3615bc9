"""Bytes of STAR files in pieces that split no token.

References:
    Hall 1991, The STAR file; Hall, Allen and Brown 1991, CIF, whose quoting RELION follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import inf

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.text import ByteStream

__all__ = ["TOKEN", "StarSyntaxError", "holds_values_only", "pieces", "values_of"]

# Bytes at a time: 1 MiB, so memory does not grow with the file.
_PIECE = 2**20
# Labels and comments lie in the first lines, and are gone through token by token.
_FIRST_PIECE = 2**13
_LONGEST = 2**24
TOKEN = re.compile(
    rb"""(?P<comment>\#[^\n]*)
    |(?P<quoted>(?<=\n);(?s:.*?)\n;|'(?:[^'\n]|'(?=\S))*'(?=\s|\Z)|"(?:[^"\n]|"(?=\S))*"(?=\s|\Z))
    |(?P<open>['"]|(?<=\n);)
    |(?P<bare>\S+)""",
    re.VERBOSE,
)
_MARKS = (b"'", b'"', b"#", b";", b"$")
# What stands before the underscore of a label (nothing) and of words with a meaning.
_WORDS = (b"", b"data", b"loop", b"save", b"stop", b"global")
_LONGEST_WORD = 8


class StarSyntaxError(ValueError):
    """A STAR file that breaks the rules.

    Args:
        position: Where, in bytes.
        what: What is wrong there.
    """

    def __init__(self, position: int, what: str) -> None:
        super().__init__(what)
        self.position = position


def pieces(file: ByteStream, offset: int, end: float = inf) -> Iterator[tuple[int, bytes]]:
    """Reads pieces that split no token; all but the first begin with the break before a line.

    Args:
        file: Open file.
        offset: First byte.
        end: Byte to stop before.

    Yields:
        Offset and bytes of each.

    Raises:
        StarSyntaxError: If a line or a text field is too long to be one.
    """
    file.seek(offset)
    rest, place, size = b"", offset, min(_PIECE, _FIRST_PIECE)
    while place < end and (block := file.read(int(min(size, end - place)))):
        place, size = place + len(block), min(_PIECE, 8 * size)
        rest += block
        cut = rest.rfind(b"\n")
        # A semicolon that begins a line opens a text field or ends it.
        if cut > 0 and (b";" not in rest or rest.count(b"\n;", 0, cut) % 2 == 0):
            yield offset, rest[:cut]
            offset, rest = offset + cut, rest[cut:]
        elif len(rest) > _LONGEST:
            raise StarSyntaxError(offset, f"a line or text field of more than {_LONGEST} bytes")
    yield offset, rest


def holds_values_only(piece: bytes) -> bool:
    """Returns whether there are only values that need no unquoting, as in all but the first piece.

    Args:
        piece: Whole lines.

    Returns:
        True only where there is no label, comment, quote or word with a meaning.
    """
    if any(mark in piece for mark in _MARKS):
        return False
    # The number of tokens that are looked at one by one decides how long a scan takes. All words
    # with a meaning have an underscore, which few bytes are.
    letters = np.frombuffer(b" " * _LONGEST_WORD + piece, dtype=np.uint8)
    place = np.flatnonzero(letters == ord("_"))
    return not any(_begins(letters, place, word) for word in _WORDS)


def _begins(letters: npt.NDArray[np.uint8], place: npt.NDArray[np.intp], word: bytes) -> bool:
    """Whether an underscore at one of some places ends a word that white space comes before."""
    for back, letter in enumerate(reversed(word)):
        place = place[letters[place - back - 1] | 0x20 == letter]
    return bool((letters[place - len(word) - 1] <= ord(" ")).any())


def values_of(piece: bytes) -> list[bytes]:
    """Splits lines that hold nothing but values and comments.

    Args:
        piece: Whole lines.

    Returns:
        The values as they are written, quotes included.
    """
    if not any(mark in piece for mark in _MARKS):
        return piece.split()
    return [match.group() for match in TOKEN.finditer(piece) if match.lastgroup != "comment"]

"""Text files, whatever they were encoded in and however their lines end."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import IO, Protocol

from cryo_disentangle.files.paths import readable

__all__ = ["ByteStream", "open_text", "read_text"]

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# 64 KiB hold what tells texts from binary files.
_SAMPLE = 2**16


class ByteStream(Protocol):
    """Interface of an open binary file."""

    def read(self, size: int, /) -> bytes:
        """Reads some bytes.

        Args:
            size: At most how many.

        Returns:
            The bytes; none at the end.
        """
        ...

    def seek(self, offset: int, /) -> object:
        """Goes to a byte.

        Args:
            offset: Its number, from 0.

        Returns:
            Nothing of interest.
        """
        ...


class _Translated:
    """A file's text as UTF-8 with line feeds; offsets are those of the translation.

    Args:
        file: The file, open for bytes.
        encoding: What its text is encoded in; bytes that are none in UTF-8 stay as they are.
        returns: Whether lines end with carriage returns alone.
    """

    def __init__(self, file: IO[bytes], encoding: str, returns: bool) -> None:
        self._file = file
        self._encoding = encoding
        self._errors = "strict" if encoding == "utf-16" else "surrogateescape"
        self._returns = returns
        self._left = b""
        self.seek(0)

    def read(self, size: int, /) -> bytes:
        """Reads about so many bytes; none at the end."""
        while True:
            block = self._file.read(size)
            letters = self._decoder.decode(block, final=not block)
            text = self._left + letters.encode(errors=self._errors)
            self._left = b""
            if text or not block:
                return text.replace(b"\r", b"\n") if self._returns else text

    def seek(self, offset: int, /) -> None:
        """Goes to a byte of the translation, through all before it."""
        self._file.seek(0)
        self._decoder = codecs.getincrementaldecoder(self._encoding)(self._errors)
        self._left = b""
        while offset > 0:
            text = self.read(_SAMPLE)
            if not text:
                return
            self._left, offset = text[offset:], offset - len(text)


def open_text(file: IO[bytes]) -> ByteStream:
    """Gives the bytes of a text file as UTF-8 with line feeds or CR LF.

    A file that is so already is returned as it is, so that its offsets stay those of the disk.

    Args:
        file: The file, open for bytes.

    Returns:
        What reads it, at its beginning.
    """
    sample = file.read(_SAMPLE)
    file.seek(0)
    if sample.startswith(_UTF_16):
        letters = sample.decode("utf-16", errors="replace")
        return _Translated(file, "utf-16", "\r" in letters and "\n" not in letters)
    returns = b"\r" in sample[:-1] and b"\n" not in sample
    if returns or sample.startswith(codecs.BOM_UTF8):
        return _Translated(file, "utf-8-sig", returns)
    return file


def read_text(path: str | Path, what: str) -> str:
    """Reads a whole text file.

    Args:
        path: The file, in UTF-8 or, with a byte order mark, UTF-16.
        what: What is expected there, for the message.

    Returns:
        The text.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no text.
    """
    content = readable(path, what).read_bytes()
    try:
        return content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not {what}: byte {error.start} is no text in {error.encoding}"
        ) from error

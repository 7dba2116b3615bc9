"""A column's values, kept in little memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["KeptColumn"]


class KeptColumn:
    """Values of a table's column: 8 bytes for a number, the bytes of a text and one more.

    What is neither all numbers nor all texts without line breaks is not kept.
    """

    def __init__(self) -> None:
        self._numbers: list[npt.NDArray[np.float64]] = []
        self._texts: list[bytes] = []
        self._given_up = False

    def extend(self, values: list[bytes]) -> None:
        """Keeps more values.

        Args:
            values: As they are written in the file, quotes included.
        """
        if self._given_up or not values:
            return
        if not self._texts:
            try:
                numbers = np.fromiter(map(float, values), np.float64, count=len(values))
            except ValueError:
                self._given_up = bool(self._numbers)
            else:
                self._numbers.append(numbers)
                return
        text = b"\n".join(values)
        if self._given_up or text.count(b"\n") >= len(values):
            self._given_up, self._numbers, self._texts = True, [], []
            return
        self._texts.append(text)

    def numbers(self) -> npt.NDArray[np.float64] | None:
        """Returns all values as numbers, shape (N,); None where they are texts or not kept."""
        return np.concatenate(self._numbers) if self._numbers else None

    def texts(self) -> list[bytes] | None:
        """Returns all values as texts, in pieces; None where they are numbers or not kept."""
        return self._texts or None

"""Memory that reading has freed."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["return_freed_memory"]


def return_freed_memory() -> None:
    """Returns freed memory to the system, where the C library would keep it (glibc).

    The text of a table of a million particles, gone once it is read, would count as the process's
    own for as long as it runs.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)

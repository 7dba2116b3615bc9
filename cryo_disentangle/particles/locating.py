"""Data files that a table names, found where people keep them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["locate"]


def locate(name: str, folder: Path, mentioned: str) -> Path:
    """Finds a data file named by a table, by cryoDRGN's rules.

    Args:
        name: Path as the table has it.
        folder: Where to look if it is not found as it is.
        mentioned: Table and row, for the message.

    Returns:
        ``name`` itself if it exists, else ``folder / name``, else ``folder`` / its last part.

    Raises:
        FileNotFoundError: If none of them exists.
    """
    candidates = [Path(name), folder / name, folder / Path(name).name]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"{mentioned} names {name}, found neither as it is nor in {folder} (datadir), "
        f"with or without its folders"
    )

"""Images that RELION's tables name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryo_disentangle.particles.layout import Images, Layout
from cryo_disentangle.particles.star import StarParticles

__all__ = ["parse_image_name", "star_images"]

_LARGEST = 2**31 - 1
_BARE = 0


def parse_image_name(text: str, table: Path, row: int) -> tuple[int, str]:
    """Splits an image name of RELION, ``000017@stack.mrcs``.

    Args:
        text: The name.
        table: Where it is, for the message.
        row: Its row there, from 1.

    Returns:
        The number, from 1, or 0 of a name without one, and the stack.

    Raises:
        ValueError: If it is no such name.
    """
    number, at, name = text.partition("@")
    if not at:
        return _BARE, text
    if not (number.isascii() and number.isdigit() and name) or not 1 <= int(number) <= _LARGEST:
        raise ValueError(
            f"{table}, row {row}: _rlnImageName is {text!r}, expected for example 000017@stack.mrcs"
        )
    return int(number), name


def star_images(table: StarParticles, layout: Layout) -> Images:
    """Finds the images of a RELION table.

    Args:
        table: Particles.
        layout: Where to look for the stacks.

    Returns:
        The images.

    Raises:
        FileNotFoundError: If a stack is missing.
        ValueError: If a name is none of an image, or an image is not there.
    """
    file = np.empty(len(table), dtype=np.int32)
    number = np.empty(len(table), dtype=np.int32)
    for row, text in enumerate(table.particles.strings("_rlnImageName")):
        number[row], name = parse_image_name(text, table.path, row + 1)
        file[row] = layout.file(name, row + 1)
    headers = layout.headers()
    # Volumes by their headers are refused, and called so, when they are mapped.
    counts = [1 if header.is_volume else header.shape[0] for header in headers]
    sections = np.array(counts)[file]
    several = np.flatnonzero((number == _BARE) & (sections > 1))
    if several.size:
        row = several[0]
        raise ValueError(
            f"{table.path}, row {row + 1}: _rlnImageName {list(layout.names)[file[row]]} has no "
            f"image number, and the file has {sections[row]} sections: a stack of tilts or a "
            "volume, which are not supported; an image of a stack is named for example "
            "000001@stack.mrcs"
        )
    return layout.images(headers, file, np.where(number == _BARE, 0, number - 1))

"""Which side a volume is evaluated on."""

from __future__ import annotations

__all__ = ["volume_side"]


def volume_side(wanted: int | None, box_size: int) -> int:
    """The side of a grid: the model's, or a smaller even one.

    Args:
        wanted: Side that was asked for; None is the model's.
        box_size: The model's.

    Returns:
        The side.

    Raises:
        ValueError: If the side is odd or larger than the model's.
    """
    side = box_size if wanted is None else wanted
    if side % 2 or not 2 <= side <= box_size:
        raise ValueError(f"a volume's box size must be even and at most {box_size}, found {side}")
    return side

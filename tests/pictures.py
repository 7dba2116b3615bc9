"""Pictures saved coarsely and without layout: both are half of the time of many commands."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

save_whole = Figure.savefig


def save_coarsely(figure: Figure, *words: Any, **options: Any) -> None:
    """Takes the place of ``Figure.savefig``."""
    figure.set_layout_engine("none")
    save_whole(figure, *words, **options | {"dpi": 20})

"""Names of what callbacks log."""

from __future__ import annotations

import re

__all__ = ["snake_case"]


def snake_case(name: str) -> str:
    """Makes the name of a logged value of that of a class.

    Args:
        name: Such as ``PoseIntervention``.

    Returns:
        Such as ``pose_intervention``.
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()

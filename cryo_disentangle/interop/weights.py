"""``weights.pkl`` of cryoDRGN, read without running anybody's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryo_disentangle.files.checkpoints import read_tensors

__all__ = ["read_weights"]


def read_weights(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint of cryoDRGN.

    Args:
        path: ``weights.pkl`` or ``weights.N.pkl``.

    Returns:
        What it holds, tensors on the host: ``epoch``, ``model_state_dict``,
        ``optimizer_state_dict`` and whatever else its program has written.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, holds more than tensors, arrays and numbers, or no weights.
    """
    content = read_tensors(path, "weights")
    if "model_state_dict" not in content:
        raise ValueError(f"{path}: refused as weights: it has no model_state_dict")
    return content

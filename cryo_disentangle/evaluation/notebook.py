"""A notebook beside a report, that goes on from what was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cryo_disentangle.files.paths import replacing

__all__ = ["write_notebook"]

_LOAD = """\
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cryo_disentangle.embeddings import open_embedding

folder = Path({folder!r})
found = json.loads((folder / "metrics.json").read_text())
print(found["verdict"])
embedding = open_embedding(Path({latents!r}))
z = embedding.latents
rows = np.arange(len(z)) if embedding.rows is None else embedding.rows  # in the particle file
print(z.shape)"""

_STATES = """\
state = np.load(folder / "states/labels.npz")["state"]
principal = np.linalg.svd(z - z.mean(0), full_matrices=False)[2]
x, y = ((z - z.mean(0)) @ principal.T)[:, :2].T if z.shape[1] > 1 else (z[:, 0], state)
plt.scatter(x, y, c=state, cmap="tab10", s=3)
plt.xlabel("PC1")
plt.ylabel("PC2")"""

_CHOOSE = """\
chosen = rows[state == 0]  # any condition on z
np.savetxt(folder / "chosen.txt", chosen, fmt="%d")
print(len(chosen))"""

_VOLUMES = """\
from cryo_disentangle.files import read_volume

volumes = [read_volume(path)[0] for path in sorted((folder / "states").glob("state_*.mrc"))]
figure, panels = plt.subplots(1, len(volumes))
for axes, volume in zip(panels, volumes):
    axes.imshow(volume.sum(0), cmap="gray", origin="lower")
    axes.set_axis_off()"""


def write_notebook(folder: Path, latents: Path, *, states: bool, volumes: bool) -> Path:
    """Writes ``analysis.ipynb``, which loads latents, states and volumes.

    Args:
        folder: Of the evaluation.
        latents: File or run that the latents are read from.
        states: Whether there are states.
        volumes: Whether states have volumes.

    Returns:
        The notebook.

    Raises:
        OSError: If the folder can't be written to.
    """
    places = {"folder": str(folder.resolve()), "latents": str(latents.resolve())}
    cells = [
        _text(
            "# Going on from an evaluation\n\nLatents, scores and states as `cryo-disentangle "
            "evaluate` left them. All numbers are in `metrics.json`."
        ),
        _code(_LOAD.format(**places)),
    ]
    if states:
        cells += [
            _text("States are k-means clusters, 0 the largest."),
            _code(_STATES),
            _text(
                "Particles of a state. `cryo-disentangle select RUN --particles FILE --rows "
                "chosen.txt --out chosen.star` writes them for RELION or cryoSPARC."
            ),
            _code(_CHOOSE),
        ]
    if volumes:
        cells += [_text("Volumes of the states, projected."), _code(_VOLUMES)]
    content = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    path = folder / "analysis.ipynb"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def _code(source: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }

"""States of a finished run: labels, counts, pictures, files and the notebook."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch

from cryo_disentangle.drawing.states import draw_state_labels
from cryo_disentangle.evaluation.notebook import write_notebook
from cryo_disentangle.evaluation.states import find_states, state_drawings
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.selection.choices import cluster_labels


class Blobs:
    """A model whose volumes are z."""

    box_size, pixel_size = 8, 2.0

    def volume(self, conformation: torch.Tensor, box_size: int | None = None) -> torch.Tensor:
        return conformation[0] + torch.arange(float((box_size or 8) ** 3)).reshape(8, 8, 8)


def particles(width: int = 3, count: int = 300, *, known: bool = True) -> InferredParticles:
    """Two clusters, of two thirds and one third of the particles."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(count, width, generator=generator)
    latents[: count // 3] += 20
    labels: dict[str, Any] = {}
    if known:
        ctf = torch.ones(count, 9)
        ctf[:, 2:4] = 1e4 * (1 + torch.rand(count, 1, generator=generator))
        rotation = random_rotations(count, generator=generator)
        labels = {"rotation": rotation, "ctf": ctf}
    return InferredParticles.of(latents, **labels)


def test_states_are_those_of_select_and_are_written(tmp_path: Path) -> None:
    rows = particles()
    states = find_states(rows, 2, Blobs())
    assert states is not None
    assert states.counts == [200, 100]
    assert np.array_equal(states.labels, cluster_labels(rows.mean.numpy(), 2))
    for state, centre in enumerate(states.centres):
        mine = rows.mean.numpy()[states.labels == state]
        assert (mine == centre).all(1).sum() == 1
    states.write(tmp_path / "states")
    with np.load(tmp_path / "states/labels.npz") as saved:
        assert np.array_equal(saved["state"], states.labels)
    with (tmp_path / "states/states.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(row["state"], row["particles"]) for row in table] == [("0", "200"), ("1", "100")]
    assert float(table[1]["z1"]) == pytest.approx(states.centres[1, 0], rel=1e-5)
    share, low, high = (float(table[0][name]) for name in ("population", "low", "high"))
    # Of 200 of 300 drawn (Wilson).
    assert (share, low, high) == pytest.approx((0.6667, 0.6115, 0.7175), abs=1e-3)
    assert (tmp_path / "states/state_1.mrc").is_file()
    assert "open state_0.mrc state_1.mrc vseries" in (tmp_path / "states/states.cxc").read_text()


@pytest.mark.parametrize("width", [1, 2, 3])
def test_each_picture_shows_what_is_known(width: int) -> None:
    rows = particles(width)
    states = find_states(rows, 2, Blobs())
    figures = {name: draw() for name, draw in state_drawings(states, rows).items()}
    assert [name for name, figure in figures.items() if figure is None] == ["umap"]
    (legend,) = figures["states"].legends  # type: ignore[union-attr]
    assert [text.get_text() for text in legend.get_texts()] == ["0: 200 (67 %)", "1: 100 (33 %)"]
    titles = [axes.get_title() for axes in figures["state_views"].axes]  # type: ignore[union-attr]
    assert titles[:2] == ["views of state 0", "views of state 1"]
    bare = particles(width, known=False)
    found = find_states(bare, 2)
    assert found is not None
    assert found.densities is None
    drawn = {name for name, draw in state_drawings(found, bare).items() if draw() is not None}
    assert drawn == {"states"}


def test_particles_of_one_defocus_are_drawn() -> None:
    labels, defocus = np.arange(30) % 3, np.full(30, 1.5)
    figure = draw_state_labels(labels, None, defocus)
    assert figure is not None
    assert len(figure.axes[0].patches) == 3


def test_a_umap_is_drawn_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Umap:
        def __init__(self, **options: object) -> None:
            assert options == {"n_components": 2, "random_state": 0}

        def fit_transform(self, z: Any) -> Any:
            return z[:, :2]

    module = ModuleType("umap")
    module.UMAP = Umap  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    rows = particles()
    figure = state_drawings(find_states(rows, 2), rows)["umap"]()
    assert figure is not None
    assert figure.axes[0].get_xlabel() == "UMAP 1"


def test_there_are_no_states_of_nothing() -> None:
    same = InferredParticles.of(torch.zeros(50, 2))
    assert find_states(same, 6) is None
    assert find_states(particles(), 0) is None
    assert state_drawings(None, same) == {}
    with pytest.raises(ValueError, match="states must not be negative, found -1"):
        find_states(same, -1)


def test_the_notebook_runs(tmp_path: Path) -> None:
    rows = particles()
    states = find_states(rows, 2, Blobs())
    assert states is not None
    states.write(tmp_path / "states")
    np.savez(tmp_path / "latents.npz", latents=rows.mean.numpy(), row=np.arange(300)[::-1])
    (tmp_path / "metrics.json").write_text('{"verdict": "conformation"}')
    path = write_notebook(tmp_path, tmp_path / "latents.npz", states=True, volumes=True)
    notebook = json.loads(path.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    mpl.use("Agg")
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "analysis", "exec"), names)
    chosen = np.loadtxt(tmp_path / "chosen.txt", dtype=int)
    assert np.array_equal(chosen, 299 - np.flatnonzero(states.labels == 0))

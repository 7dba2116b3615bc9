"""What a benchmark's file may say; all else is told before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryo_disentangle.benchmark.configuration import read_benchmark
from cryo_disentangle.benchmark.planning import make_plan
from tests.benchmark.conftest import write

Change = Callable[[dict[str, Any]], object]


def _latents(settings: dict[str, Any], **arrays: Any) -> None:
    settings["methods"]["mine"] = {"kind": "latents", "folder": "mine"}
    folder = Path("mine/arms/seed_0")
    folder.mkdir(parents=True)
    np.savez(folder / "z.npz", **arrays)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s.update(method={}), "keys are seeds, .* found 'method'"),
        (lambda s: s.update(seeds=[0, 0]), "seeds: a list of different numbers"),
        (lambda s: s.update(held_out=160), "below the 160 particles of arms, found 160"),
        (lambda s: s.update(datasets={}), "datasets: at least one expected"),
        (lambda s: s["methods"].update({"a/b": {}}), "names have letters.* found 'a/b'"),
        (lambda s: s["methods"].update(x={"kind": "magic"}), "kind must be one of .* 'magic'"),
        (lambda s: s["methods"].update(x={"on": ["legs"]}), "on names 'legs', the data sets are"),
        (lambda s: s["methods"].update(x={"modle": {}}), "methods.x: keys are .* found 'modle'"),
        (lambda s: s["methods"].update(x={"restarts": 0}), "restarts: a whole number above 0"),
        (lambda s: s["methods"].update(x={"sees_held_out": 1}), "must be true or false"),
        (lambda s: s["methods"].update(x={"kind": "pca", "of": "PCA"}), "of must be one of van"),
        (lambda s: s["methods"].update(x={"kind": "latents"}), "folder expected, found None"),
        (
            lambda s: s["methods"].update(
                vanilla={"on": {}}, x={"kind": "ica", "of": "vanilla", "on": ["arms"]}
            ),
            "vanilla is not on the data set arms",
        ),
        (
            lambda s: s["methods"].update(x={"kind": "subspace"}),
            "x on arms: the method reads statistics, and the data set has none",
        ),
        (
            lambda s: s["methods"].update(x={"data": {"class_path": "StatisticsData"}}),
            "x on arms: the method reads statistics, and the data set has none",
        ),
        (
            lambda s: s["datasets"]["arms"].update(statistics=3),
            "datasets.arms.statistics: a mapping expected, found 3",
        ),
        (
            lambda s: s["datasets"].update(x={"config": "absent.yaml"}),
            r"absent\.yaml: no such file",
        ),
        (
            lambda s: s["datasets"]["arms"].update(simulate={"n_images": 160}),
            "datasets.arms: .*molecule",
        ),
        (
            lambda s: s["methods"].update(x={"model": {"init_args": {"width": 3}}}),
            "(?s)x on arms: .*width",
        ),
        (
            lambda s: s["methods"].update(x={"kind": "latents", "folder": "mine"}),
            "arms/seed_0: no such folder; x needs one for each data set and seed",
        ),
        (lambda s: _latents(s, z=np.zeros((159, 2))), "each of 160 particles expected, found 159"),
        (lambda s: _latents(s, z=np.zeros(160)), r"z must be numbers of shape \(N, Z\)"),
        (lambda s: _latents(s, z=np.full((160, 1), np.nan)), "z must be finite, row 0 is not"),
        (
            lambda s: _latents(s, y=np.zeros((160, 2))),
            "one or more of z, log_variance, covariance expec",
        ),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(
    change: Change,
    match: str,
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    change(settings)
    file = write(Path(), settings)
    with pytest.raises((ValueError, FileNotFoundError), match=match):
        make_plan(read_benchmark(file), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_layers_lie_over_each_other(settings: dict[str, Any], tmp_path: Path) -> None:
    settings["datasets"]["arms"]["training"] = {"model": {"init_args": {"kl_weight": 0.1}}}
    settings["methods"]["x"] = {
        "model": {"init_args": {"kl_weight": 0.2, "seed": 1}},
        "on": {"arms": {"model": {"init_args": {"kl_weight": 0.3}}}},
    }
    settings["defaults"]["simulate"] = {"n_images": 120}
    del settings["datasets"]["arms"]["simulate"]["n_images"]
    benchmark = read_benchmark(
        write(tmp_path, settings), ["seeds=[2]", "methods.x.data.init_args.batch_size=7"]
    )
    plan = make_plan(benchmark, tmp_path / "out")
    cells = {cell.method: cell for cell in plan.cells}
    options = cells["x"].settings["training"]["model"]["init_args"]
    assert (options["kl_weight"], options["seed"], options["conformation_dim"]) == (0.3, 1, 2)
    assert cells["vanilla"].settings["training"]["model"]["init_args"]["kl_weight"] == 0.1
    assert cells["x"].settings["training"]["data"]["init_args"]["batch_size"] == 7
    assert plan.stacks[0].settings["n_images"] == 120
    assert (plan.stacks[0].settings["seed"], cells["x"].seed) == (2000, 2)


def test_cells_are_named_by_all_they_depend_on(settings: dict[str, Any], tmp_path: Path) -> None:
    def digests(*changes: str) -> dict[str, str]:
        benchmark = read_benchmark(write(tmp_path, settings), changes)
        return {cell.method: cell.digest for cell in make_plan(benchmark, tmp_path).cells}

    before = digests()
    assert digests() == before
    for change in ("defaults.trainer.max_steps=5", "held_out=90", "datasets.arms.simulate.seed=1"):
        after = digests(change)
        assert all(after[method] != before[method] for method in ("vanilla", "PCA"))

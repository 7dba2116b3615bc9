"""The commands, the Python and the method of docs/benchmark.md run."""

from __future__ import annotations

import pickle
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cryo_disentangle import cli
from cryo_disentangle.benchmark.configuration import read_benchmark
from cryo_disentangle.benchmark.ground_truths import read_cryobench, read_flatiron
from cryo_disentangle.benchmark.planning import make_plan
from cryo_disentangle.options.shipped import find_config
from cryo_disentangle.simulation.command import make_simulation

_ROOT = Path(__file__).resolve().parents[2]
_PAGE = (_ROOT / "docs" / "benchmark.md").read_text()
_TINY = [
    "held_out=50",
    "defaults.simulate={n_images: 60, box_size: 16, pixel_size: 8.5}",
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", _PAGE, re.M | re.S)


def test_every_block_is_tested() -> None:
    assert (_PAGE.count("```"), [len(blocks(kind)) for kind in ("sh", "python", "yaml")]) == (
        10,
        [2, 2, 1],
    )


def test_a_method_is_added_without_our_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(_ROOT / "configs")
    for command in map(shlex.split, blocks("sh")):
        with pytest.raises(SystemExit, match="0"):
            cli.main([*command[1:], "--help"])
    assert "--data-only" in capsys.readouterr().out
    file = Path(find_config(shlex.split(blocks("sh")[0])[3], "benchmark"))
    benchmark = read_benchmark(file, _TINY)
    for stack in make_plan(benchmark, Path("runs/small")).stacks:
        make_simulation(stack.settings).write(stack.folder)
    python, _ = blocks("python")
    exec(compile(python, "benchmark.md", "exec"), {})
    own = {"held_out": 50, "seeds": [0, 1], "defaults": {}}
    own["datasets"] = {"pairs": {"simulate": dict(benchmark.datasets["pairs"].settings)}}
    Path("mine.yaml").write_text(yaml.safe_dump(own | yaml.safe_load(blocks("yaml")[0])))
    plan = make_plan(read_benchmark(Path("mine.yaml")), Path("runs/mine"))
    assert [(cell.method, cell.seed) for cell in plan.cells] == [("mine", 0), ("mine", 1)]


def test_public_ground_truths_are_scored(cryobench: Path, flatiron: Path) -> None:
    found: dict[str, Any] = {}
    exec(compile(blocks("python")[1], "benchmark.md", "exec"), found)
    truth = read_cryobench(cryobench)
    assert truth.state is not None
    state = np.repeat(truth.state, 5)
    (cryobench / "gt_latents.pkl").write_bytes(pickle.dumps(state))
    area = found["score_igg"](cryobench, lambda row: truth.volume(int(state[row])))
    assert area == pytest.approx(0.375)
    volumes = [read_flatiron(flatiron).volume(number) for number in range(11)]
    assert found["score_challenge"](flatiron, volumes, range(1, 12)) == pytest.approx(0, abs=1e-6)

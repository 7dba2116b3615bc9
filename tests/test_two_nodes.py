"""Two nodes, as torchrun sees them, on one machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.run

from tests import guarded_processes, tiny
from tests.forked import environment, forked, together
from tests.guarded_processes import BATCHES, SIGNALLED, SPOILT
from tests.small_model import COUNT

_ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def words_of(*words: str | Path, **settings: str) -> list[str]:
    """Words that the script for nodes without a scheduler gives to Python."""
    script = _ROOT / "configs/cluster/torchrun.sh"
    done = subprocess.run(
        [str(word) for word in (script, *words)],
        env=environment() | settings,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def launch(words: list[str]) -> None:
    """What ``python -m torch.distributed.run`` does on a node."""
    os.chdir(_ROOT)
    torch.distributed.run.main(words)


def test_a_run_with_a_penalty_that_learns(tmp_path: Path) -> None:
    # 2 x 21 training particles: a batch of 5 would be followed by a lone one.
    data = tiny.write_stack(tmp_path / "data", count=52)
    config = tiny.write_config(
        tmp_path, data | {"validation_fraction": 0.19, "batch_size": 5}, max_epochs=2
    )
    penalty = {"class_path": "FactorVAE", "init_args": {"conformation_dim": 2, "width": 8}}
    words = (
        "--config",
        config,
        "--trainer.enable_progress_bar=false",
        f"--model.init_args.penalties={json.dumps({'tc': penalty})}",
    )
    # Launchers are forked: the script tells what it would start.
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    python.chmod(0o755)
    shared = {"NODES": "2", "PORT": str(free_port()), "PYTHON": str(python)}
    with contextlib.ExitStack() as ending:
        nodes = []
        for rank in ("0", "1"):
            started = words_of(*words, **shared, NODE_RANK=rank)
            assert started[:2] == ["-m", "torch.distributed.run"]
            more = {"GLOO_SOCKET_IFNAME": "lo"}
            nodes.append(ending.enter_context(forked(launch, started[2:], more=more)))
        for node in nodes:
            assert node.wait() == 0, node.said()[1][-4000:]
    assert len(tiny.read_metrics(tmp_path / "run", "train/tc")) == 2 * 4
    assert len(list((tmp_path / "run/metrics").iterdir())) == 1
    saved = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == 2 * 4


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each process says."""
    folder = tmp_path_factory.mktemp("guarded")
    together(guarded_processes.main, folder, nodes=2)
    last = folder / "signalled/checkpoints/last.ckpt"
    step = torch.load(last, weights_only=True)["global_step"]
    said = [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]
    return [findings | {"saved": step} for findings in said]


def test_processes_do_the_same(found: list[dict[str, Any]]) -> None:
    assert found[0] == found[1]
    assert all(found[0][case]["finite"] for case in ("stopped", "skipped", "signalled"))


def test_all_name_the_particle_of_one(found: list[dict[str, Any]]) -> None:
    row = (2 * SPOILT + 1) * COUNT + 1
    for findings in found:
        assert f"not finite at step {SPOILT}" in findings["stopped"]["error"]
        assert f": particle {row} (images);" in findings["stopped"]["error"]


def test_all_skip_the_particle_of_one(found: list[dict[str, Any]]) -> None:
    skipped = found[0]["skipped"]
    assert (skipped["error"], skipped["step"]) == ("", BATCHES)
    assert (skipped["particles"], skipped["steps"]) == (1, 0)


def test_a_signal_to_one_ends_all(found: list[dict[str, Any]]) -> None:
    ended = found[0]["signalled"]
    assert ended["status"] == 128 + signal.SIGTERM
    # The first agreement after the signal: processes compare notes every three steps.
    assert SIGNALLED < ended["step"] == found[0]["saved"] <= SIGNALLED + 3

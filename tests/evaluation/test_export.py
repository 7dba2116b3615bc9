"""Finished runs become cryoDRGN's, and come back the same."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cryo_disentangle.evaluation import evaluate, open_run
from cryo_disentangle.evaluation.command import export_command
from cryo_disentangle.evaluation.export import export_cryodrgn
from cryo_disentangle.interop import CryoDRGNRun
from tests.evaluation.test_evaluate import stored_run

_SCRIPT = Path(__file__).parents[2] / "benchmarks/interop/accepted.py"


@pytest.fixture(scope="module")
def exported(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "workdir"
    export_command([str(finished / "run"), "--format", "cryodrgn", "--out", str(out)])
    return out


def test_weights_latents_and_log(finished: Path, exported: Path) -> None:
    ours: Any = open_run(finished / "run").module
    theirs = CryoDRGNRun.open(exported, 2)
    assert theirs.encoder is not None
    for mine, other in ((ours.encoder, theirs.encoder), (ours.decoder, theirs.decoder)):
        states = mine.state_dict(), other.state_dict()
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    mean, log_variance = theirs.latents()
    batches = open_run(finished / "run").data.predict_dataloader()
    with torch.no_grad():
        inferred = torch.cat([ours.infer(batch).mean for batch in batches]).numpy()
    assert np.allclose(mean, inferred, atol=1e-5)
    assert log_variance is not None
    assert theirs.optimizer_state is not None
    assert theirs.optimizer_state["state"]
    log = (exported / "run.log").read_text()
    assert [f"Epoch: {epoch} " in log for epoch in (1, 2, 3)] == [True, True, False]


def test_exported_run_is_evaluated_and_exported_again(exported: Path, tmp_path: Path) -> None:
    run = open_run(exported)
    assert run.is_cryodrgn
    found = evaluate(run, batch_size=16, sample=60, resamples=0)
    assert {"pose_leak", "rotation", "interventions"} <= found.measured.scores.keys()
    found.write(tmp_path / "found")
    page = (tmp_path / "found/report.html").read_text()
    assert "cryodrgn_finetune" in page or found.judgement.verdict in (
        "conformation",
        "nothing",
        "unknown",
    )
    export_cryodrgn(open_run(exported), tmp_path / "again")
    first, second = (CryoDRGNRun.open(folder) for folder in (exported, tmp_path / "again"))
    for name, value in first.decoder.state_dict().items():
        assert torch.equal(value, second.decoder.state_dict()[name])
    assert first.config.networks == second.config.networks


def test_refused(finished: Path, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="workdir is not empty, and what it holds is"):
        export_cryodrgn(open_run(finished / "run"), exported)
    with pytest.raises(FileNotFoundError, match=r"no weights\.9\.pkl, found epochs 2"):
        open_run(exported, 9)
    with pytest.raises(ValueError, match="has no encoder"):
        export_cryodrgn(stored_run(tmp_path, lambda r: r[:, 2, :2]), tmp_path / "out")


@pytest.mark.timeout(1800)
def test_cryodrgn_accepts_it(tmp_path: Path) -> None:
    cryodrgn = shutil.which("cryodrgn")
    if cryodrgn is None:
        pytest.skip("cryoDRGN's executable is not on the PATH")
    spec: Any = importlib.util.spec_from_file_location("accepted", _SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["accepted"] = module
    spec.loader.exec_module(module)
    module.train_here(tmp_path)
    module.must(module.ours("export", "run", "--out", "workdir"), tmp_path)
    outcomes = module.try_programs(tmp_path, Path(cryodrgn), "cryo-disentangle", "workdir")
    refused = [outcome.program for outcome in outcomes if not outcome.accepted]
    assert not refused

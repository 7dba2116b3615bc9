"""Every kind of bad input ends a command with one sentence, and leaves nothing half-written.

The kinds are tables in the modules beside this one; each names a part of the sentence.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from cryo_disentangle.cli import main
from tests.bad_input.files import FILES
from tests.bad_input.latents import AXES, COMPARE, SELECT, STATISTICS
from tests.bad_input.options import OPTIONS
from tests.bad_input.others import BENCHMARK, SIMULATE
from tests.bad_input.runs import CHECKPOINTS, RUNS
from tests.bad_input.workspace import Kind, listing, make, words

KINDS = (
    *OPTIONS,
    *FILES,
    *CHECKPOINTS,
    *RUNS,
    *SIMULATE,
    *BENCHMARK,
    *SELECT,
    *COMPARE,
    *AXES,
    *STATISTICS,
)
LONGEST = 400

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_NTASKS", "SLURM_JOB_NAME", "CRYO_DISENTANGLE_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a trained run."""
    folder = tmp_path_factory.mktemp("good")
    make(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", list(sys.argv))
        main(["fit", "--config", "run.yaml"])
    return folder


def ended(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence that a command ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(command)
    error = capsys.readouterr().err
    assert "Traceback" not in error
    if isinstance(stop.value.code, str):
        return stop.value.code
    assert stop.value.code == 2
    return error.splitlines()[-1]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.command}-{kind.name}")
def test_bad_input_ends_in_a_sentence(
    kind: Kind,
    good: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "w"
    shutil.copytree(good, folder)
    monkeypatch.chdir(folder)
    if kind.spoil is not None:
        kind.spoil(folder)
    before = listing(folder)
    sentence = ended([*words(kind)], capsys)
    assert sentence.startswith("cryo-disentangle: error: ")
    assert kind.said in sentence
    assert len(sentence) <= LONGEST
    assert "\n" not in sentence
    after = listing(folder)
    assert {name: after.get(name) for name in before} == before
    new = {Path(name).name for name in after.keys() - before.keys()}
    assert new <= {".lock", "config.yaml"}


def test_the_catalogue_is_as_large_as_it_is_said_to_be() -> None:
    assert len(KINDS) >= 120
    names = Counter((kind.command, kind.name) for kind in KINDS)
    assert max(names.values()) == 1
    assert all(kind.said for kind in KINDS)
    assert {kind.command for kind in KINDS} >= {"fit", "validate", "test", "predict", "evaluate"}

"""The commands and the Python of docs/evaluate.md run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import starfile

from cryo_disentangle.cli import main
from cryo_disentangle.embeddings import open_embedding
from cryo_disentangle.selection.lasso import write_lasso
from cryo_disentangle.selection.particle_table import open_particle_table
from tests import tiny
from tests.embeddings import written

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs/evaluate.md").read_text()


@pytest.fixture
def _there(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/x").symlink_to(finished / "run")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", _PAGE, re.M | re.S)


def test_every_block_is_tested() -> None:
    assert (_PAGE.count("```"), len(blocks("sh")), len(blocks("python"))) == (16, 7, 1)


@pytest.fixture
def _other_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    truth = written.truth()
    for folder, write in (
        ("J11", written.cryosparc),
        ("RECOVAR_OUT", written.recovar),
        ("Refine3D/job042", written.multi_body),
    ):
        write(Path(folder), truth)
    written.save_cs(Path("J11_passthrough_particles.cs"), written.passthrough(truth))
    starfile.write({"particles": written.particles(truth)}, "particles.star")
    np.savez("z.npz", z=truth.latents)
    written.pickled(Path("poses.pkl"), (truth.rotation, truth.fraction))
    row = [written.BOX, written.PIXEL, 12000, 11000, 0, 300, 2.7, 0.1, 0]
    written.pickled(Path("ctf.pkl"), np.tile(np.array(row, np.float32), (written.COUNT, 1)))
    table = open_particle_table("J11_passthrough_particles.cs")
    write_lasso("lasso.json", [0, 1], open_embedding("J11"), table)


@pytest.mark.usefixtures("_other_programs")
def test_commands_on_runs_of_other_programs() -> None:
    for line in "".join(blocks("sh")[1:3]).replace("4_noreg", "3_noreg").splitlines():
        name, *words = shlex.split(line, comments=True)
        assert name == "cryo-disentangle"
        quick = ["--resamples", "0", "--out", "out"] if words[0] == "evaluate" else []
        main([*words, *quick])
        assert Path("drawn.cs" if words[0] == "select" else "out/report.html").is_file()


@pytest.mark.usefixtures("_there")
def test_commands() -> None:
    main(["export", "runs/x", "--out", "WORKDIR"])
    # The fourth needs maps of RECOVAR and is run with them (test_linear_volumes.py).
    for line in "".join(blocks("sh")[:1] + blocks("sh")[4:]).splitlines():
        name, *words = shlex.split(line, comments=True)
        assert name == "cryo-disentangle"
        if words[0] == "fit":
            tiny.succeed(*words, "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu")
        else:
            quick = ["--resamples", "0", "--sample", "20"] if words[0] == "evaluate" else []
            main([*words, *quick, *(["--out", "out"] if words[1:] == ["runs/x"] else [])])
    first, second = (Path(name, "z.pkl").read_bytes() for name in ("WORKDIR", "repaired"))
    assert len(first) == len(second)
    assert first != second
    assert Path("rendered/report.html").is_file()
    assert Path("runs/cryodrgn_finetune/cryodrgn/weights.pkl").is_file()
    assert Path("out/report.html").is_file()
    assert Path("runs/x_cryodrgn/weights.pkl").is_file()


@pytest.mark.usefixtures("_there")
def test_python() -> None:
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, "evaluate.md", "exec"), names)
    assert 0 <= names["leak"] <= 1
    assert Path("evaluation_of_x/metrics.json").is_file()

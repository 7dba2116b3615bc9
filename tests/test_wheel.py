"""The wheel has everything, and the front page's first command works from it in an empty folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked as pip does with pure Python, into a folder of its own."""
    pytest.importorskip("build")
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder)]
    finished = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_a_wheel_holds_callbacks_configurations_and_data(installed: Path) -> None:
    shipped = [*ROOT.glob("callbacks/*.py"), *ROOT.glob("configs/**/*.yaml")]
    shipped += ROOT.glob("configs/**/*.sh")
    templates = [*ROOT.glob("cryo_disentangle/drawing/templates/*")]
    assert len(templates) > 3
    inside = [path.relative_to(ROOT) for path in shipped]
    inside += [path.relative_to(ROOT / "cryo_disentangle") for path in templates]
    assert [name for name in inside if not (installed / "cryo_disentangle" / name).is_file()] == []
    for name in ["py.typed", "simulation/data/adk.npz", "simulation/data/ATTRIBUTION.txt"]:
        assert (installed / "cryo_disentangle" / name).is_file()


_FIRST = ("--n_images=400", "--box_size=16", "--pixel_size=8.5")
_QUICK = ("--trainer.max_steps=20", "--trainer.callbacks=[]", "--trainer.enable_progress_bar=false")


def test_the_first_command_works_from_a_wheel_in_an_empty_folder(
    installed: Path, tmp_path: Path
) -> None:
    """What the front page says after the installation, in one process."""
    text = (ROOT / "README.md").read_text()
    (line,) = re.findall(r"^python3 .*cryo-disentangle simulate .*$", text, re.MULTILINE)
    words = [shlex.split(part) for part in line.split("&&")]
    commands = [part[1:] for part in words if part[0] == "cryo-disentangle"]
    assert [command[0] for command in commands] == ["simulate", "fit"]
    program = "import sys; from cryo_disentangle.cli import main\n"
    for command, quick in zip(commands, (_FIRST, _QUICK), strict=True):
        program += f"main({[*command, *quick]!r})\n"
    program += "main(['configs'])\nimport cryo_disentangle\nprint(cryo_disentangle.__file__)"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "PYTHON"))}
    environment = kept | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(
        arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].startswith(str(installed))
    assert (tmp_path / "runs/adk/checkpoints/last.ckpt").is_file()
    assert "Next: cryo-disentangle evaluate runs/adk" in done.stdout

"""The wheel has everything, and the front page's commands work from it in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cryo_disentangle.cli.command import command_names
from tests import pictures, quick
from tests.embeddings import written
from tests.interop.runs import golden_run

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
    data = [*ROOT.glob("cryo_disentangle/*/data/*"), ROOT / "cryo_disentangle/py.typed"]
    assert len(data) > 5
    for path in data:
        assert (installed / path.relative_to(ROOT)).is_file()


# Runs the steps one after the other, and knows what the front page leaves to its reader. Pictures
# are coarse, as those of other tests, by a file that is not in the wheel.
_PROGRAM = """
import json
import runpy
import sys
from pathlib import Path

from matplotlib.figure import Figure

from cryo_disentangle.cli import main

Figure.savefig = runpy.run_path(sys.argv[1])["save_coarsely"]
names = {
    "my_infer": lambda module, batch: module.infer(batch),
    "my_generate": lambda module, *parts: module.generate(*parts),
}
for step in json.loads(Path("steps.json").read_text()):
    print("step", step, flush=True)
    if isinstance(step, str):
        exec(compile(step, "README.md", "exec"), names)
        continue
    try:
        main(step)
    except SystemExit as ended:
        if ended.code:
            raise
import cryo_disentangle
print(cryo_disentangle.__file__)
"""


def _steps() -> list[str | list[str]]:
    """The front page's Python, and the words of its commands in blocks, tables and sentences."""
    text = (ROOT / "README.md").read_text()
    found: list[str | list[str]] = []
    program = rf"(?:cryo-disentangle |(?=(?:{'|'.join(command_names())}) --))"
    pattern = rf"^```(sh|python)\n(.*?)^```|`{program}([^`\n]+)`"
    for language, block, inline in re.findall(pattern, text, re.M | re.S):
        if language == "python":
            found.append(block)
        lines = [f"cryo-disentangle {inline}"] if inline else block.splitlines()
        for part in (part for line in lines for part in line.split("&&") if language != "python"):
            words = shlex.split(part, comments=True)
            if words and words[0] == "cryo-disentangle":
                found.append([*words[1:], *([] if _asks(words) else quick.words(words[1:]))])
    return [step for place, step in enumerate(found) if step not in found[:place]]


def _asks(words: list[str]) -> bool:
    """Whether these words ask for help."""
    return any("help" in word for word in words)


def test_every_command_of_the_front_page_works_from_a_wheel_in_an_empty_folder(
    installed: Path, tmp_path: Path
) -> None:
    """In the page's order, in one process, on small stand-ins of the reader's files."""
    quick.write_trainer(tmp_path)
    quick.write_relion(tmp_path)
    golden_run(tmp_path).rename(tmp_path / "WORKDIR")
    written.cryosparc(tmp_path / "J11", written.truth())
    steps = _steps()
    commands = [step[0] for step in steps if not isinstance(step, str)]
    assert commands.count("fit") == 6
    assert len(steps) - len(commands) == 1
    assert {"simulate", "inspect", "predict", "report", "export", "benchmark"} < set(commands)
    (tmp_path / "steps.json").write_text(json.dumps(steps))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "PYTHON"))}
    environment = kept | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-W", "ignore", "-c", _PROGRAM, pictures.__file__]
    done = subprocess.run(
        arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].startswith(str(installed))
    assert "Next: cryo-disentangle evaluate runs/adk" in done.stdout
    for name in (
        *("WORKDIR/evaluation/report.html", "J11/evaluation/report.html", "cluster/slurm.sh"),
        *("runs/adk/checkpoints/last.ckpt", "runs/adk/statistics", "runs/mine/prediction"),
        *("runs/mine/evaluation/report.html", "exported/weights.pkl"),
    ):
        assert (tmp_path / name).exists(), name

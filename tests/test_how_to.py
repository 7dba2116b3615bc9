"""The commands and the Python of the how-to pages run, on tiny data."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from cryo_disentangle.cli import main
from tests import quick
from tests.embeddings import written
from tests.interop.runs import golden_run

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.usefixtures("whole_pictures"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*number of training batches.*:UserWarning"),
]


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["cryo-disentangle"])
    monkeypatch.setattr("cryo_disentangle.evaluation.figures._TURNED_BY_RENDERING", 4)
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    for variable in ("SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(variable, raising=False)
    quick.write_trainer(tmp_path)


def read(page: str) -> str:
    return (ROOT / "docs" / page).read_text()


def run_page(page: str, **names: object) -> None:
    """Runs commands and Python in the order of the page; Python knows these names."""
    for language, block in re.findall(r"^```(sh|python)\n(.*?)^```", read(page), re.M | re.S):
        if language == "python":
            exec(compile(block, page, "exec"), names)
            continue
        for line in block.replace("\\\n", "").splitlines():
            for command in line.split("&&"):
                run_command(shlex.split(command, comments=True))


def run_command(words: list[str]) -> None:
    """Runs one of ours, here; what sets up, and what tests/test_two_nodes.py runs, is left out."""
    if words[:2] == ["sbatch", "cluster/slurm.sh"]:
        words[:2] = ["cryo-disentangle", "fit"]
    if not words or words[0] in {"python3", ".", "pip", "python", "NODES=2"}:
        return
    assert words[0] == "cryo-disentangle"
    main([*words[1:], *quick.words(words[1:])])


@pytest.mark.parametrize("page", ["simulation.md", "cluster.md"])
def test_short_pages(page: str, tmp_path: Path) -> None:
    quick.write_relion(tmp_path)
    Path("run.yaml").symlink_to(ROOT / "configs/particles.yaml")
    run_page(page)


def test_particles_of_relion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick.write_relion(tmp_path)
    run_page("particles.md")
    assert "Report: runs/mine/evaluation/report.html" in capsys.readouterr().out
    assert len(list(Path("runs/mine/prediction/volumes").glob("*.mrc"))) == 2
    assert len(Path("chosen.txt").read_text().splitlines()) == 12


def test_further_options_of_particles_fit_the_configuration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", read("particles.md"), re.M | re.S)
    Path("more.yaml").write_text(block)
    files = ["--config", "particles_images.yaml", "--config", "more.yaml"]
    bright = ["--data.preprocessing", "HartleyPreprocessing", "--data.preprocessing.invert=false"]
    with pytest.raises(SystemExit) as ended:
        main(["fit", *files, *bright, "--data.indices=chosen.txt", "--print_config"])
    assert ended.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    penalty = printed["model"]["init_args"]["penalties"]["pose_intervention"]["init_args"]
    assert penalty["noise_std"]["class_path"].endswith("EstimatedNoise")
    assert printed["model"]["init_args"]["conformation_dim"] == 8
    assert not printed["data"]["init_args"]["preprocessing"]["init_args"]["invert"]


def test_a_run_of_cryodrgn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden_run(tmp_path).rename("WORKDIR")
    run_page("cryodrgn.md")
    assert all(Path(name, "weights.pkl").is_file() for name in ("exported", "reread"))
    assert "train_vae" in capsys.readouterr().out


def test_a_cryosparc_job(tmp_path: Path) -> None:
    written.cryosparc(tmp_path / "J11", written.truth())
    shutil.copy("J11/J11_passthrough_particles.cs", ".")
    run_page("cryosparc.md")
    assert Path("J11/evaluation/report.html").is_file()
    assert Path("state.cs").is_file()

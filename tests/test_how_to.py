"""The commands and the Python of the how-to pages run, on tiny data."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from cryo_disentangle.cli import main
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.export import write_particles_star
from tests import tiny
from tests.embeddings import written
from tests.interop.runs import golden_run

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*number of training batches.*:UserWarning"),
]

QUICK = {
    "simulate": ["--n_images", "600", "--box_size", "16", "--pixel_size", "8.5"],
    "fit": ["--config", "quick.yaml"],
    "evaluate": ["--resamples", "0", "--sample", "24", "--states", "0", "--device", "cpu"],
    "predict": ["--prediction.kmeans", "2"],
    "export": ["--device", "cpu"],
    "configs": [],
    "inspect": [],
    "select": [],
    "report": ["--device", "cpu"],
}


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["cryo-disentangle"])
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    for variable in ("SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(variable, raising=False)
    trainer = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "devices": 1,
        # A process group would outlive the test; tests/test_ddp.py runs several processes.
        "strategy": "auto",
        "callbacks": [],
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    Path("quick.yaml").write_text(yaml.safe_dump({"trainer": trainer}))


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
    main([*words[1:], *QUICK[words[1]]])


def write_relion() -> None:
    """Writes a small stack as RELION names it, ``particles.star``."""
    files = tiny.write_stack(Path("stack"))
    stack = ParticleStack.open(files["particles"], poses=files["poses"], ctf=files["ctf"])
    assert stack.rotation is not None
    write_particles_star(
        "particles.star",
        "stack/stack.mrcs",
        box_size=stack.box_size,
        pixel_size=stack.pixel_size,
        rotation=stack.rotation,
        translation_px=stack.translation,
        ctf=stack.ctf,
    )


@pytest.mark.filterwarnings("ignore:.*tensorboard:UserWarning")
def test_the_front_page(tmp_path: Path) -> None:
    write_relion()
    golden_run(tmp_path).rename("WORKDIR")
    factors = np.random.default_rng(0).uniform(-1, 1, (500, 2))
    run_page(
        "../README.md",
        my_infer=lambda module, batch: module.infer(batch),
        my_generate=lambda module, *parts: module.generate(*parts),
        z=factors @ [[1.0, 0.5], [0.0, 1.0]],
        factors=factors,
    )
    assert all(
        Path(name).is_dir() for name in ("runs/adk/statistics", "runs/mine/prediction", "exported")
    )


@pytest.mark.parametrize("page", ["simulation.md", "cluster.md"])
def test_short_pages(page: str) -> None:
    write_relion()
    Path("run.yaml").symlink_to(ROOT / "configs/particles.yaml")
    run_page(page)


def test_particles_of_relion(capsys: pytest.CaptureFixture[str]) -> None:
    write_relion()
    run_page("particles.md")
    assert "z is" in capsys.readouterr().out
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

"""Configuration files that come with the package are found from any folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryo_disentangle.cli import main
from cryo_disentangle.options.shipped import find_config, with_shipped

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CRYO_DISENTANGLE_TRACEBACK", raising=False)


def same(found: object, path: str) -> bool:
    return Path(str(found)).samefile(CONFIGS / path)


def test_each_command_finds_the_files_that_are_meant_for_it() -> None:
    assert same(find_config("two_arm.yaml"), "two_arm.yaml")
    assert same(find_config("two_arm.yaml", "simulate"), "simulate/two_arm.yaml")
    assert same(find_config("small.yaml", "benchmark"), "benchmark/small.yaml")
    for written in ("configs/simulate/adk.yaml", "simulate/adk.yaml", "./simulate/adk.yaml"):
        assert same(find_config(written), "simulate/adk.yaml")
    words = with_shipped(["--config", "particles.yaml", "--config=two_arm.yaml", "--model.x", "1"])
    assert same(words[1], "particles.yaml")
    assert same(words[2].removeprefix("--config="), "two_arm.yaml")
    assert words[3:] == ["--model.x", "1"]


def test_a_file_here_comes_first_and_other_values_are_left_alone() -> None:
    Path("two_arm.yaml").write_text("seed_everything: 1\n")
    assert find_config("two_arm.yaml") == "two_arm.yaml"
    for value in ("null", "{trainer: {max_epochs: 1.yaml}}", "run.json", "--config"):
        assert find_config(value) == value
    assert with_shipped(["--config"]) == ["--config"]


@pytest.mark.parametrize("command", ["fit", "simulate", "benchmark"])
def test_a_missing_file_names_those_that_there_are(command: str) -> None:
    meant = {"fit": "two_arm.yaml", "simulate": "adk.yaml", "benchmark": "small.yaml"}[command]
    wrong = meant.replace(".yaml", "x.yaml")
    with pytest.raises(SystemExit, match=rf"{wrong}: no such file here.*did you mean {meant}\?"):
        main([command, "--config", wrong, *(["--out", "x"] if command == "simulate" else [])])


def test_files_are_listed_with_their_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    main(["configs"])
    printed = capsys.readouterr().out
    shipped = [path for kind in ("yaml", "sh") for path in CONFIGS.glob(f"**/*.{kind}")]
    for path in shipped:
        assert f"{path.relative_to(CONFIGS)} " in printed
    assert len(printed.splitlines()) == len(shipped) + 2
    assert all(len(line.split("  ", 1)[1].strip()) > 10 for line in printed.splitlines()[:-2])


def test_files_are_copied_and_none_is_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    main(["configs", "cluster/slurm.sh", "particles.yaml", "--copy", "mine"])
    assert "2 files in mine" in capsys.readouterr().out
    assert Path("mine/cluster/slurm.sh").read_text() == (CONFIGS / "cluster/slurm.sh").read_text()
    with pytest.raises(SystemExit, match=r"mine/particles\.yaml is there already"):
        main(["configs", "--copy", "mine"])
    with pytest.raises(SystemExit, match=r"no\.yaml: not shipped: there are cryodrgn_finetune"):
        main(["configs", "no.yaml"])

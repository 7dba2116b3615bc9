from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[1]
MAPPED = {"callbacks", "configs"}


def pyproject() -> dict[str, Any]:
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return settings


def test_every_package_of_the_tree_is_listed() -> None:
    inside = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "cryo_disentangle").glob("**/__init__.py")
    }
    listed = set(pyproject()["tool"]["setuptools"]["packages"])
    assert listed == inside | {f"cryo_disentangle.{name}" for name in MAPPED}


def test_links_point_to_the_mapped_folders() -> None:
    mapping = pyproject()["tool"]["setuptools"]["package-dir"]
    assert mapping == {f"cryo_disentangle.{name}": name for name in MAPPED}
    for name in MAPPED:
        link = ROOT / "cryo_disentangle" / name
        assert link.is_symlink()
        assert link.resolve() == ROOT / name


def test_a_wheel_holds_callbacks_configurations_and_data(tmp_path: Path) -> None:
    pytest.importorskip("build")
    pytest.importorskip("setuptools")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(tmp_path)]
    finished = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    for path in [*ROOT.glob("callbacks/*.py"), *ROOT.glob("configs/**/*.yaml")]:
        assert f"cryo_disentangle/{path.relative_to(ROOT)}" in names
    templates = [*ROOT.glob("cryo_disentangle/drawing/templates/*")]
    assert len(templates) > 3
    assert {str(path.relative_to(ROOT)) for path in templates} <= names
    for name in ["py.typed", "simulation/data/adk.npz", "simulation/data/ATTRIBUTION.txt"]:
        assert f"cryo_disentangle/{name}" in names


def test_the_package_works_without_its_metadata(tmp_path: Path) -> None:
    (tmp_path / "cryo_disentangle").symlink_to(ROOT / "cryo_disentangle")
    words = [sys.executable, "-S", "-c", "import cryo_disentangle as c; print(c.__version__)"]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "0+unknown", done.stderr

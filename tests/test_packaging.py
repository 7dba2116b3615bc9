from __future__ import annotations

import re
import subprocess
import sys
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


def test_containers_install_what_the_package_needs() -> None:
    recipe = (ROOT / "containers/conda/recipe.yaml").read_text()
    renamed = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
    for requirement in pyproject()["project"]["dependencies"]:
        name, bound = requirement.replace("[signatures]", "").split(">=")
        assert f"- {renamed.get(name, name)} >={bound}\n" in recipe
    for name, function in pyproject()["project"]["scripts"].items():
        assert f"- {name} = {function}\n" in recipe
    assert recipe.count(f"- python {pyproject()['project']['requires-python']}\n") == 2
    version = pyproject()["project"]["version"]
    assert f"version: {version}\n" in recipe
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {version} - " in (ROOT / "CHANGELOG.md").read_text()
    for name in ("Dockerfile", "cryo-disentangle.def"):
        text = (ROOT / "containers" / name).read_text()
        assert all(f"{folder}" in text for folder in ("cryo_disentangle", *MAPPED))


def test_the_package_works_without_its_metadata(tmp_path: Path) -> None:
    (tmp_path / "cryo_disentangle").symlink_to(ROOT / "cryo_disentangle")
    words = [sys.executable, "-S", "-c", "import cryo_disentangle as c; print(c.__version__)"]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "0+unknown", done.stderr


def test_the_oldest_versions_can_be_read_off() -> None:
    # As .ci/minimum does, which tests them.
    text = (ROOT / "pyproject.toml").read_text()
    found = re.findall(r'^  "([\w\[\]-]+>=[\d.]+)",$', text, re.MULTILINE)
    dependencies = pyproject()["project"]["dependencies"]
    assert [word for word in found if word in dependencies] == dependencies

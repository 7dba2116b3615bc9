"""The Python of the documentation runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser

from cryo_disentangle.losses import ContrastiveDistance, EstimatedNoise
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.priors import LaplaceTransition

_DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["metrics.md", "losses.md"])
def test_code_blocks_run(page: str) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (_DOCS / page).read_text(), re.M | re.S)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


def test_options_of_a_model_are_made() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", (_DOCS / "losses.md").read_text(), re.M | re.S)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=HeterogeneousReconstruction)
    options = {"box_size": 16} | yaml.safe_load(block)
    name = "cryo_disentangle.modules.HeterogeneousReconstruction"
    parsed = parser.parse_object({"model": {"class_path": name, "init_args": options}})
    model = parser.instantiate(parsed).model
    assert isinstance(model.prior, LaplaceTransition)
    penalty = model.penalties["pose_intervention"]
    assert isinstance(penalty.noise_std, EstimatedNoise)
    assert isinstance(penalty.distance.conformation, ContrastiveDistance)


@pytest.mark.parametrize("page", sorted(_DOCS.glob("*.md")), ids=lambda path: path.stem)
def test_files_that_are_linked_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing

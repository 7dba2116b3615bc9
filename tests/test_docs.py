"""The Python of the documentation runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import ArgumentParser

from cryo_disentangle.encoders import RenderedPosterior
from cryo_disentangle.losses import ContrastiveDistance, EstimatedNoise
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.priors import LaplaceTransition

_DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["conventions.md", "decoders.md", "losses.md", "metrics.md"])
def test_code_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (_DOCS / page).read_text(), re.M | re.S)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


def _make(options: dict[str, Any]) -> HeterogeneousReconstruction:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=HeterogeneousReconstruction)
    name = "cryo_disentangle.modules.HeterogeneousReconstruction"
    content = {"class_path": name, "init_args": {"box_size": 16} | options}
    model: HeterogeneousReconstruction = parser.instantiate(
        parser.parse_object({"model": content})
    ).model
    return model


def test_options_of_a_model_are_made() -> None:
    text = (_DOCS / "losses.md").read_text()
    model, rendering = (
        _make(yaml.safe_load(block))
        for block in re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S)
    )
    assert isinstance(rendering.encoder, RenderedPosterior)
    assert isinstance(model.prior, LaplaceTransition)
    penalty: Any = model.penalties["pose_intervention"]
    assert isinstance(penalty.noise_std, EstimatedNoise)
    assert isinstance(penalty.distance.conformation, ContrastiveDistance)


def test_options_of_decoders_are_those_that_are_told() -> None:
    text = (_DOCS / "decoders.md").read_text()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=HeterogeneousReconstruction)
    names = []
    for block in re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S):
        options = {"box_size": 16} | yaml.safe_load(block)
        name = "cryo_disentangle.modules.HeterogeneousReconstruction"
        parsed = parser.parse_object({"model": {"class_path": name, "init_args": options}})
        names.append(parsed.model.init_args.decoder.class_path.rpartition(".")[2])
    assert names == ["AtomicDecoder", "FlowDecoder"]


@pytest.mark.parametrize("page", sorted(_DOCS.glob("*.md")), ids=lambda path: path.stem)
def test_files_that_are_linked_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing

"""Latent spaces of the same particles: which axes come back, and up to what maps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.comparison import compare_latents
from cryo_disentangle.comparison.command import compare_command
from cryo_disentangle.comparison.particles_in_common import common_particles
from cryo_disentangle.embeddings.embedding import Embedding
from tests.embeddings import written

COUNT = 1000


def normal(width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(COUNT, width, generator=torch.Generator().manual_seed(seed)).double()


def rotated(degrees: float) -> torch.Tensor:
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])])


def test_permuted_and_mirrored_axes_are_reproduced() -> None:
    z = normal(3)
    found = compare_latents(z, 2.5 * z[:, [2, 0, 1]] * torch.tensor([1.0, -1.0, 1.0]))
    assert [axis.verdict for axis in found.axes] == ["reproduced"] * 3
    assert [axis.partner for axis in found.axes] == ["z2", "z3", "z1"]
    assert found.axes[0].correlation == pytest.approx(-1)
    assert found.words == "Every axis is reproduced."


@settings(max_examples=4)
@given(degrees=st.floats(8, 45), noise=st.floats(0, 0.7))
def test_a_turn_is_measured_whatever_the_noise(degrees: float, noise: float) -> None:
    z = normal(2)
    found = compare_latents(z, z @ rotated(degrees) + noise * normal(2, 1))
    for axis in found.axes:
        assert axis.verdict == "mixed"
        assert axis.angle_deg == pytest.approx(degrees, abs=6)
        assert axis.low_deg <= axis.angle_deg <= axis.high_deg
    assert "along other axes" in found.words


def test_noise_alone_does_not_make_an_axis_another() -> None:
    z = normal(2)
    found = compare_latents(z, z + 0.5 * normal(2, 1))
    assert [axis.verdict for axis in found.axes] == ["reproduced"] * 2
    assert found.axes[0].attainable == pytest.approx(1 / 1.25**0.5, abs=0.02)


def test_unrelated_spaces_have_nothing_in_common() -> None:
    found = compare_latents(normal(2), normal(3, 1))
    assert [axis.verdict for axis in found.axes] == ["lost"] * 2
    assert "nothing in common" in found.words
    assert found.levels["linear"].p_value > 0.05


def test_an_axis_that_the_other_run_has_not_is_lost() -> None:
    z = normal(3)
    found = compare_latents(z, z[:, :2])
    assert [axis.verdict for axis in found.axes] == ["reproduced", "reproduced", "lost"]
    assert found.axes[2].partner is None
    assert found.words == "2 of 3 axes are reproduced."


def test_a_function_of_each_axis_is_told_from_a_turn() -> None:
    z = normal(2)
    bent = compare_latents(z, torch.stack([z[:, 0].exp(), z[:, 1] ** 3], 1))
    assert bent.levels["functions"].value > 0.98
    assert bent.levels["axes"].value < 0.9


def embedding(keys: npt.NDArray[Any], **names: Any) -> Embedding:
    return Embedding("any", Path("z.npy"), np.zeros((len(keys), 1)) + keys[:, None], **names)


def test_particles_are_matched_by_what_both_runs_name_them_by() -> None:
    order = np.random.default_rng(0).permutation(30)
    first = embedding(np.arange(30), rows=np.arange(30))
    second = embedding(order[:20], rows=order[:20])
    a, b = common_particles(first, second)
    np.testing.assert_array_equal(first.latents[a], second.latents[b])
    assert len(a) == 20


def test_runs_without_particles_in_common_are_refused() -> None:
    first = embedding(np.arange(30), rows=np.arange(30))
    with pytest.raises(ValueError, match="share 5 particles, fewer than 12"):
        common_particles(first, embedding(np.arange(30), rows=np.arange(25, 55)))
    with pytest.raises(ValueError, match="in different ways; give the particle file"):
        common_particles(first, embedding(np.arange(30), uids=np.arange(30)))
    with pytest.raises(ValueError, match="particle 0 has two latents"):
        common_particles(first, embedding(np.arange(30), rows=np.arange(30) // 2))


def test_runs_of_two_programs_are_compared_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    truth = written.truth()
    written.recovar(Path("recovar"), truth)
    written.cryodrgn(Path("cryodrgn"), truth)
    np.save("z.npy", truth.latents)
    compare_command(["recovar", "z.npy", "--out", "found"])
    said = capsys.readouterr().out
    assert "Every axis is reproduced." in said
    (content,) = json.loads(Path("found/comparison.json").read_text())
    assert content["particles"] == len(truth.used)
    assert Path("found/comparison.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="a comparison takes two runs"):
        compare_command(["recovar"])
    with pytest.raises(ValueError, match="the same run is given twice"):
        compare_command(["recovar", "recovar"])
    with pytest.raises(ValueError, match="--z: expected one key or one for each run, found 3"):
        compare_command(["recovar", "z.npy", "--z", "a", "b", "c"])


def test_commands_of_the_documentation_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    truth = written.truth()
    for folder in ("runs/seed0", "runs/seed1"):
        written.cryosphere(Path(folder), truth)
    written.cryosparc(Path("J11"), truth)
    written.save_cs(Path("J11_passthrough_particles.cs"), written.passthrough(truth))
    written.cryosphere(Path("WORKDIR"), truth)
    page = (Path(__file__).parents[2] / "docs/select.md").read_text()
    for line in page.split("```sh\n")[2].split("```")[0].splitlines():
        words = line.split()
        assert words[:2] == ["cryo-disentangle", "compare"]
        compare_command(words[2:])
        assert (Path(words[-1]) / "comparison.json").exists()

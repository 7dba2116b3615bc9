"""Latent spaces of the same particles: which axes come back, and up to what maps."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import starfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.comparison import compare_latents
from cryo_disentangle.comparison.angles import SpacePair, chance_angles
from cryo_disentangle.comparison.command import compare_command
from cryo_disentangle.comparison.page import draw_comparison, touchable_particles
from cryo_disentangle.comparison.pairs import ComparedPair, compare_pairs, verdicts_by_axis
from cryo_disentangle.comparison.particles_in_common import common_particles
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.selection.command import select_command
from tests import browser
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


@settings(max_examples=4, deadline=None)
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


def test_few_particles_leave_it_undecided() -> None:
    z = normal(3)[:20]
    found = compare_latents(z, z + 0.7 * normal(3, 1)[:20])
    assert "undecided" in {axis.verdict for axis in found.axes}
    assert "undecided whether" in found.words


def test_one_axis_alone_cannot_be_turned() -> None:
    z = normal(1)
    (axis,) = compare_latents(z, z + 0.1 * normal(1, 1)).axes
    assert axis.verdict == "reproduced"
    assert axis.p_value is None
    assert axis.chance == ""


def test_two_axes_turned_at_random_are_as_near_at_every_angle_up_to_45_degrees() -> None:
    drawn = chance_angles(SpacePair.of(normal(2), normal(2) @ rotated(30)), 2000, 0)
    assert drawn is not None
    for angle in (2.25, 10, 30):
        assert float((drawn[:, 0] <= angle).double().mean()) == pytest.approx(angle / 45, abs=0.03)


@pytest.mark.parametrize("swapped", [False, True])
def test_an_axis_that_mixes_two_of_the_other_run_is_not_reproduced(swapped: bool) -> None:
    z = normal(2)
    spaces = [z, z.sum(1, keepdim=True)]
    found = compare_latents(*(spaces[::-1] if swapped else spaces))
    assert "reproduced" not in {axis.verdict for axis in found.axes}
    assert max(axis.angle_deg for axis in found.axes) > 40


def test_a_collapsed_axis_is_lost() -> None:
    z = normal(2)
    z[:, 1] = 3
    found = compare_latents(z, normal(2) + 0)
    assert [axis.verdict for axis in found.axes] == ["reproduced", "lost"]


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
    with pytest.raises(ValueError, match="rows 1 and 2 have the same row in the particle"):
        common_particles(first, embedding(np.arange(30), rows=np.arange(30) // 2))


@pytest.mark.usefixtures("whole_pictures")
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
    assert Path("found/pair1.png").stat().st_size > 1000
    page = Path("found/comparison.html").read_text()
    assert "Every axis is reproduced." in page
    assert "data:image/png;base64," in page
    with pytest.raises(ValueError, match="a comparison takes two runs"):
        compare_command(["recovar"])
    with pytest.raises(ValueError, match="the same run is given twice"):
        compare_command(["recovar", "recovar"])
    with pytest.raises(ValueError, match="--z: expected one key or one for each run, found 3"):
        compare_command(["recovar", "z.npy", "--z", "a", "b", "c"])


@pytest.fixture(scope="module")
def three_runs() -> tuple[dict[str, Embedding], list[ComparedPair]]:
    """Two that agree up to signs, and one whose axes are turned and which lacks particles."""
    z = normal(2)[:300].numpy()
    turned = z @ rotated(30).numpy()
    rows = np.arange(len(z))
    runs = {
        "a": Embedding("any", Path("a"), z, rows=rows),
        "b": Embedding("any", Path("b"), -z[::-1], rows=rows[::-1]),
        "c": Embedding("any", Path("c"), turned[100:], rows=rows[100:]),
    }
    return runs, compare_pairs(runs)


def test_each_axis_is_told_from_all_other_runs(
    three_runs: tuple[dict[str, Embedding], list[ComparedPair]],
) -> None:
    _, pairs = three_runs
    assert [pair.names for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    found = verdicts_by_axis(pairs)
    assert found[("a", "z1")] == {"b": "reproduced", "c": "mixed"}
    assert found[("b", "z2")] == {"a": "reproduced", "c": "mixed"}
    assert found[("c", "z1")] == {"a": "mixed", "b": "mixed"}


def test_particles_that_all_runs_have_are_drawn_along_matched_axes(
    three_runs: tuple[dict[str, Embedding], list[ComparedPair]],
) -> None:
    runs, pairs = three_runs
    data = touchable_particles(runs, pairs, {"latents": "x"})
    assert data is not None
    assert data.places is not None
    np.testing.assert_array_equal(data.places, np.arange(100, 300))
    assert list(data.axes)[:2] == ["a: z1", "b: z1"]
    first, second = (data.axes[name].values() for name in ("a: z1", "b: z1"))
    np.testing.assert_allclose(first, -second, atol=1e-3)
    assert list(data.colours) == ["apart in b", "apart in c"]


def test_a_page_of_three_runs_sums_them_up_and_can_be_touched(
    three_runs: tuple[dict[str, Embedding], list[ComparedPair]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs, pairs = three_runs
    monkeypatch.setattr("cryo_disentangle.comparison.page.can_be_touched", lambda: False)
    page, pictures = draw_comparison(runs, pairs, {})
    assert len(pictures) == 3
    assert "Each axis in all runs" in page
    assert "1 of 2" in page
    assert "<script" not in page
    pytest.importorskip("bokeh", reason="the extra `pages` is not installed")
    monkeypatch.undo()
    page, _ = draw_comparison(runs, pairs, {"format": "x"})
    assert "Save the lasso" in page
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=.(https?:)?//", page)


def test_a_lasso_drawn_on_the_page_of_a_comparison_is_taken_back(tmp_path: Path) -> None:
    pytest.importorskip("bokeh", reason="the extra `pages` is not installed")
    truth, far = written.truth(), np.arange(written.COUNT) < 15
    latents = truth.latents.copy()
    latents[:, 0] += np.where(far, -30, 30)
    # The second run has the particles in another order, and five fewer; rows count backwards.
    rows = np.arange(written.COUNT)[::-1]
    np.savez(tmp_path / "a.npz", latents=latents, row=rows)
    np.savez(tmp_path / "b.npz", latents=-latents[5:][::-1], row=rows[5:][::-1])
    starfile.write({"particles": written.particles(truth)}, tmp_path / "p.star")
    particles = ["--particles", str(tmp_path / "p.star")]
    runs = [str(tmp_path / name) for name in ("a.npz", "b.npz")]
    compare_command([*runs, *particles, "--out", str(tmp_path / "found")])
    lasso = tmp_path / "lasso.json"
    with browser.opened(tmp_path / "found/comparison.html", tmp_path) as page:
        browser.save_left_part(page, 0.4, lasso)
    chosen = ["--lasso", str(lasso), "--out", str(tmp_path / "drawn.star")]
    select_command([runs[0], *particles, *chosen])
    drawn = starfile.read(tmp_path / "drawn.star")
    assert list(drawn["rlnImageName"]) == truth.names[written.COUNT - 15 : written.COUNT - 5]
    # It is one of the first run's latents.
    with pytest.raises(ValueError, match="lasso"):
        select_command([runs[1], *particles, *chosen])


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

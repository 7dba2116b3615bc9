"""Maps at the ends of axes: they show what moves, and say when they do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.embeddings import open_embedding
from cryo_disentangle.embeddings.embedding import Embedding, ParticlePoses
from cryo_disentangle.evaluation.axes_command import axes_command
from cryo_disentangle.files import read_volume
from cryo_disentangle.imaging.fsc import fourier_shell_correlation
from cryo_disentangle.maps.ends import axis_ends, chosen_noise
from cryo_disentangle.maps.half_maps import make_half_maps
from cryo_disentangle.maps.making import AxisMaps, map_axis
from cryo_disentangle.maps.particles import ImageFiles, open_embedded_images
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.simulation import TwoArms
from cryo_disentangle.statistics.making import half_sets
from tests.statistics.simulated import write_stack
from tests.statistics.synthetic import statistics_of
from tests.statistics.synthetic import write as write_statistics

COUNT, SIDE, PIXEL = 600, 16, 8.5


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stack(tmp_path_factory.mktemp("stack"), count=COUNT)


@pytest.fixture(scope="module")
def factors(stack: Path) -> np.ndarray:
    return np.asarray(np.load(stack / "truth.npz")["factors"], dtype=np.float64)


def files(stack: Path, **changes: object) -> ImageFiles:
    given = ImageFiles(stack / "particles.mrcs", stack / "poses.pkl")
    return replace(given, **changes)  # type: ignore[arg-type]


def embedding(latents: np.ndarray, **changes: object) -> Embedding:
    given = Embedding("latents", Path("z.npz"), latents, rows=np.arange(len(latents)))
    return replace(given, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def images(stack: Path, factors: np.ndarray) -> ParticleDataset:
    return open_embedded_images(embedding(factors), files(stack))


@pytest.fixture(scope="module")
def moved(images: ParticleDataset, factors: np.ndarray) -> AxisMaps:
    return map_axis("axis1", factors[:, 0], None, images)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_ends_differ_where_the_molecule_moves(moved: AxisMaps, factors: np.ndarray) -> None:
    volumes = [
        TwoArms().volume(torch.from_numpy(factors[end.rows[::3]]).float(), SIDE, PIXEL).mean(0)
        for end in moved.ends
    ]
    true = [volume.numpy() for volume in volumes]
    found = moved.difference
    assert correlation(found.low, true[0]) > 0.85
    assert correlation(found.difference, true[1] - true[0]) > 0.7
    assert found.significant
    where = np.abs(true[1] - true[0])
    assert where[found.place] > np.quantile(where, 0.97)
    assert all(each.resolves for each in moved.maps)
    assert "maps of the 120 and 120 particles at its ends (resolution " in moved.words
    assert " σ at (" in moved.words
    assert "equal weight" in moved.words
    assert "view" not in moved.words


def test_latents_of_nothing_make_no_difference(images: ParticleDataset) -> None:
    # Of 200 seeds 4 raise an alarm (benchmarks/axes/maps_at_random.py): the molecule moves far, so
    # that noise is no normal one.
    alarms = 0
    for seed in range(12):
        value = np.random.default_rng(seed).normal(size=COUNT)
        found = map_axis("axis1", value, None, images)
        alarms += found.difference.significant
        said = "differ by" if found.difference.significant else "do not differ: by at most"
        assert said in found.words
    assert alarms <= 1


def test_significance_is_in_standard_deviations(images: ParticleDataset) -> None:
    found = map_axis("axis1", np.random.default_rng(9).normal(size=COUNT), None, images)
    inside = found.difference.significance[found.difference.significance != 0]
    assert 0.7 < inside.std() < 1.3


def test_an_end_that_is_a_view_is_said_to_be_one(images: ParticleDataset) -> None:
    assert images.stack.rotation is not None
    found = map_axis("axis1", images.stack.rotation[:, 2, 2].astype(float), None, images)
    assert "The low end is a view rather than a state: viewing directions explain" in found.words
    assert "The high end is a view rather than a state" in found.words


def test_uncertain_particles_count_less(images: ParticleDataset, factors: np.ndarray) -> None:
    value = factors[:, 0]
    width = np.where(np.arange(COUNT) % 2, 0.05, 2.0)
    low, high = axis_ends(value, width, 0.2)
    assert low.rows.tolist() == np.flatnonzero(value <= low.limit).tolist()
    assert high.weight[high.rows % 2 == 1].mean() > high.weight[high.rows % 2 == 0].mean() + 0.2
    assert low.weight.min() >= 0.5
    found = map_axis("axis1", value, width, images)
    assert found.noise == chosen_noise(value, width)
    assert "the posteriors, 86 % of the difference along the axis is noise" in found.words


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.floats(0.05, 0.45))
def test_ends_are_mirrored_with_the_axis(seed: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    value, width = generator.normal(size=200), generator.uniform(0.1, 1, 200)
    low, high = axis_ends(value, width, share)
    other_low, other_high = axis_ends(-value, width, share)
    for one, other in ((low, other_high), (high, other_low)):
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_allclose(one.weight, other.weight)


def test_noise_that_particles_were_chosen_by() -> None:
    """What images say beyond what particles are, in a linear model, is as predicted."""
    generator = np.random.default_rng(0)
    z = generator.normal(size=200_000)
    seen = z + 0.8 * generator.normal(size=len(z))
    mean, variance = seen / 1.64, 0.64 / 1.64
    top = mean > 1
    share = 1 - z[top].mean() / seen[top].mean()
    found = chosen_noise(mean, np.full(len(z), variance**0.5))
    assert found == pytest.approx(share, abs=0.01)


def test_a_weight_of_two_is_a_particle_twice(images: ParticleDataset) -> None:
    half = half_sets(COUNT, 0)
    rows = torch.arange(40)
    twice = make_half_maps(images, half, torch.cat([rows, rows[:7]]))
    weight = torch.ones(40)
    weight[:7] = 2
    weighted = make_half_maps(images, half, rows, weight)
    for one, other in zip(twice.halves, weighted.halves, strict=True):
        assert torch.allclose(one, other, atol=1e-4 * float(one.abs().max()))
    tripled = make_half_maps(images, half, rows, torch.full((40,), 3.0))
    plain = make_half_maps(images, half, rows)
    assert torch.allclose(tripled.full, plain.full, atol=1e-4 * float(plain.full.abs().max()))


def test_maps_are_true_to_scale(tmp_path: Path) -> None:
    # Hardly any noise, one conformation.
    folder = write_stack(tmp_path, count=500, snr=1e6)
    factors = np.load(folder / "truth.npz")["factors"]
    chosen = np.argsort(np.abs(factors).max(1))[:200]
    images = open_embedded_images(embedding(factors[chosen], rows=chosen), files(folder))
    found = make_half_maps(images, half_sets(200, 0), torch.arange(200)).full
    mean = torch.from_numpy(factors[chosen]).float()
    true = TwoArms().volume(mean, SIDE, PIXEL).mean(0)
    scale = float((found * true).sum() / true.square().sum())
    assert scale == pytest.approx(1, abs=0.1)
    assert float(fourier_shell_correlation(found, true)[1 : SIDE // 4 + 1].min()) > 0.97


def write_latents(folder: Path, factors: np.ndarray) -> Path:
    np.savez(folder / "z.npz", latents=factors, row=np.arange(COUNT))
    return folder / "z.npz"


@pytest.mark.usefixtures("whole_pictures")
def test_command(
    stack: Path, factors: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latents, out = write_latents(tmp_path, factors), tmp_path / "out"
    words = [str(latents), "--by", "principal", "--out", str(out), "--axis", "2"]
    words += ["--particles", str(stack / "particles.star"), "--ends", "0.25"]
    axes_command([*words, "--kelvin", "300"])
    said = capsys.readouterr().out
    assert "axis2: maps of the 150 and 150 particles at its ends" in said
    assert "axis1: maps" not in said
    numbers = json.loads((out / "maps/maps.json").read_text())
    assert numbers["axis2"]["significant"]
    volumes = {name: read_volume(out / f"maps/axis2_{name}.mrc") for name in ("low", "high")}
    assert all(size == pytest.approx(PIXEL) for _, size in volumes.values())
    difference, _ = read_volume(out / "maps/axis2_difference.mrc")
    np.testing.assert_allclose(
        difference, volumes["high"][0] - volumes["low"][0], atol=1e-4 * np.abs(difference).max()
    )
    for name in ("significance", "low_half1", "high_half2"):
        assert read_volume(out / f"maps/axis2_{name}.mrc")[0].shape == (SIDE,) * 3
    script = (out / "maps/axis2.cxc").read_text()
    assert "open axis2_low.mrc axis2_high.mrc vseries true" in script
    assert "open axis2_significance.mrc" in script
    page = (out / "report.html").read_text()
    assert "Both ends of axis2" in page
    assert "kT at 300 K" not in page  # of no basins no barrier is told
    assert "at 300 K" in page
    assert page.count("data:image/png;base64") == 3
    assert (out / "axes.txt").read_text().count("\n") == 3


def test_statistics_are_latents(tmp_path: Path) -> None:
    folder = tmp_path / "statistics"
    coefficients = torch.randn(60, 2, generator=torch.Generator().manual_seed(1))
    write_statistics(folder, statistics_of(coefficients))
    found = open_embedding(folder)
    assert found.tool == "cryo-disentangle statistics"
    assert found.covariance is not None
    assert correlation(found.latents, coefficients.numpy()) > 0.8
    assert found.rows is not None
    np.testing.assert_array_equal(found.rows, np.arange(60))
    np.testing.assert_array_equal(found.extra["half"], np.arange(60) % 2)


def test_poses_of_the_run_are_taken(stack: Path, factors: np.ndarray) -> None:
    with_poses = open_embedded_images(embedding(factors), files(stack)).stack
    assert with_poses.rotation is not None
    own = ParticlePoses(with_poses.rotation, np.full((COUNT, 2), 0.1), "box", Path("pose.pkl"))
    taken = open_embedded_images(embedding(factors, poses=own), files(stack, poses=None)).stack
    np.testing.assert_array_equal(taken.rotation, with_poses.rotation)
    assert taken.translation is not None
    np.testing.assert_allclose(taken.translation, 0.1 * (SIDE + 1), rtol=1e-6)
    pixels = replace(own, unit="px")
    with pytest.raises(ValueError, match=r"pose.pkl: translations are in pixels of a box that it"):
        open_embedded_images(embedding(factors, poses=pixels), files(stack, poses=None))


Case = Callable[[Path, Path], list[str]]
REFUSED: dict[str, tuple[Case, str]] = {
    "poses without images": (
        lambda stack, _: ["--poses", str(stack / "poses.pkl")],
        "--poses goes with maps of images: give --particles, too",
    ),
    "no such particles": (
        lambda _, __: ["--particles", "absent.mrcs"],
        "absent.mrcs",
    ),
    "no poses": (
        lambda stack, _: ["--particles", str(stack / "particles.mrcs")],
        "particles.mrcs: no poses found; images are used at the poses",
    ),
    "an axis that is not there": (
        lambda stack, _: ["--particles", str(stack / "particles.star"), "--axis", "3"],
        "--axis: expected 1 to 2, found 3",
    ),
    "a share of more than half": (
        lambda stack, _: ["--particles", str(stack / "particles.star"), "--ends", "0.6"],
        "--ends: a share of the particles above 0 and below 0.5 expected, found 0.6",
    ),
    "a cold temperature": (
        lambda _, __: ["--kelvin", "-3"],
        "--kelvin: a positive temperature expected, found -3",
    ),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused(name: str, stack: Path, factors: np.ndarray, tmp_path: Path) -> None:
    case, said = REFUSED[name]
    words = [str(write_latents(tmp_path, factors)), "--out", str(tmp_path / "out")]
    with pytest.raises((ValueError, OSError), match=said.replace("(", r"\(")):
        axes_command([*words, *case(stack, tmp_path)])


def test_rows_that_do_not_join(stack: Path, factors: np.ndarray) -> None:
    few = embedding(factors[:50], rows=np.arange(50), counted=True)
    with pytest.raises(ValueError, match=r"50 latents, and nothing says which of the 600 rows of"):
        open_embedded_images(few, files(stack))
    beyond = embedding(factors[:50], rows=np.arange(50) + COUNT - 10)
    with pytest.raises(ValueError, match="40 of 50 particles lie beyond the 600 rows"):
        open_embedded_images(beyond, files(stack))
    named = embedding(factors[:2], rows=None, image_names=np.array(["1@a.mrcs", "2@a.mrcs"]))
    with pytest.raises(
        ValueError, match=r"2 of 2 .*not in .*particles.star by image name, the fir"
    ):
        open_embedded_images(named, files(stack, particles=stack / "particles.star"))
    with pytest.raises(ValueError, match=r"names its particles by image name, and .* has none"):
        open_embedded_images(named, files(stack))


def test_halves_that_show_nothing_are_warned_of(tmp_path: Path) -> None:
    folder = write_stack(tmp_path, count=60, snr=1e-4)
    value = np.load(folder / "truth.npz")["factors"]
    images = open_embedded_images(embedding(value), files(folder))
    found = map_axis("axis1", value[:, 0], None, images)
    assert not found.maps[0].resolves
    assert "Warning: the half maps of the low end show no molecule in common" in found.words


def test_an_axis_without_ends_is_refused(images: ParticleDataset, factors: np.ndarray) -> None:
    with pytest.raises(ValueError, match="axis1: 1 particles at the low end are too few for two h"):
        map_axis("axis1", factors[:, 0], None, images, share=0.001)
    with pytest.raises(ValueError, match=r"must lie between 0 and 0.5, found 0.7"):
        axis_ends(factors[:, 0], None, 0.7)
    with pytest.raises(ValueError, match="the axis has no ends: 60 % of the particles have the va"):
        axis_ends(np.zeros(100), None, 0.2)

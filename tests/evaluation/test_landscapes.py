"""Pages say how many particles are where, their uncertainty taken off, and how surely."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from cryo_disentangle.evaluation.command import evaluate_command, report_command
from cryo_disentangle.evaluation.landscapes import PrincipalLandscapes, find_landscapes
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.scores import Measurement
from tests.embeddings import written
from tests.embeddings.written import truth

COUNT, SMALLER = 600, 0.3


def two_states(seed: int = 0, *, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Latents of two states, 30 % and 70 %, along (0.6, 0.8), and variances of their errors."""
    g = np.random.default_rng(seed)
    inner = 0.4 * g.normal(size=(COUNT, 2)) * [1, 0.5]
    inner[:, 0] += np.where(np.arange(COUNT) < SMALLER * COUNT, -2, 1.5)
    z = inner @ [[0.6, 0.8], [-0.8, 0.6]]
    width = noise * np.exp(0.3 * g.normal(size=(COUNT, 1))) * np.ones(2)
    return z + width * g.normal(size=z.shape), width**2


def found_of(rows: InferredParticles, **more: object) -> tuple[PrincipalLandscapes, Measurement]:
    measured = Measurement()
    return find_landscapes(rows, measured, **more), measured  # type: ignore[arg-type]


def test_populations_along_the_principal_axis_are_the_true_ones() -> None:
    z, variance = two_states()
    rows = InferredParticles.of(z, np.log(variance))
    landscapes, _ = found_of(rows, errors=True)
    (drawn,) = landscapes.drawn
    first = drawn.found.profiles[0]
    assert first.deconvolved
    assert first.basins is not None
    small = next(basin for basin in first.basins.basins if basin.population < 0.5)
    assert small.low <= SMALLER <= small.high
    # The axis of the largest variance is the one that the states differ along.
    assert np.std(drawn.latents[:, 0]) > 2 * np.std(drawn.latents[:, 1])


def test_posteriors_are_divided_by_the_normal_prior_and_errors_are_not() -> None:
    g = np.random.default_rng(0)
    # Posteriors N(y/2, 1/2) of normal z with errors of variance 1.
    y = g.normal(size=(COUNT, 2)) + g.normal(size=(COUNT, 2))
    rows = InferredParticles.of(y / 2, np.full((COUNT, 2), np.log(0.5)))
    (drawn,) = found_of(rows)[0].drawn
    grid, density = drawn.found.profiles[0].grid[0], drawn.found.profiles[0].density
    mean = np.average(grid, weights=density)
    assert np.average((grid - mean) ** 2, weights=density) == pytest.approx(1, abs=0.25)
    wide = InferredParticles.of(y, np.full((COUNT, 2), np.log(3.0)))
    landscapes, measured = found_of(wide)
    assert landscapes.drawn == []
    assert "less certain than a standard normal prior" in measured.missing["landscape"]


def test_each_temperature_has_its_own_and_latents_without_widths_are_exact() -> None:
    z, _ = two_states()
    kelvin = np.repeat([100.0, 300.0], COUNT // 2)
    # What stored latents have in the place of widths.
    rows = InferredParticles(
        torch.from_numpy(z),
        torch.full((COUNT, 2), -torch.inf),
        labels={"temperature": torch.from_numpy(kelvin)},
    )
    drawn = found_of(rows)[0].drawn
    assert [one.name for one in drawn] == ["landscape_100K", "landscape_300K"]
    assert not drawn[0].found.profiles[0].deconvolved
    with pytest.raises(ValueError, match="--kelvin is not needed"):
        found_of(rows, kelvin=300.0)
    with pytest.raises(ValueError, match="a positive temperature expected, found -1"):
        found_of(InferredParticles.of(z), kelvin=-1.0)


@pytest.mark.parametrize("few", [True, False])
def test_what_has_no_landscape_says_so(few: bool) -> None:
    z = np.random.default_rng(0).normal(size=(30, 2)) if few else np.ones((90, 2))
    landscapes, measured = found_of(InferredParticles.of(z))
    assert landscapes.entries() == []
    assert "at least 50 particles that vary" in measured.missing["landscape"]


def test_an_axis_that_does_not_vary_is_left_out() -> None:
    z, _ = two_states()
    (drawn,) = found_of(InferredParticles.of(np.c_[z, np.ones(COUNT)]))[0].drawn
    assert len(drawn.found.profiles) == 3


def test_the_page_of_any_programs_latents_has_a_landscape(tmp_path: Path) -> None:
    z, variance = two_states()
    np.savez(tmp_path / "z.npz", latents=z / 4, log_variance=np.log(variance / 16))
    words = [str(tmp_path / "z.npz"), "--resamples=0", "--states=2"]
    evaluate_command([*words, "--kelvin=277"])
    out = tmp_path / "z_evaluation"
    found = json.loads((out / "metrics.json").read_text())
    (entry,) = found["landscapes"]
    assert entry["name"] == "landscape_277K"
    assert "Landscape of 600 particles at 277 K (the particles' uncertainty" in entry["words"]
    with np.load(out / "landscape_277K.npz") as arrays:
        assert arrays["axis1_free_energy"].shape == arrays["axis1_free_energy_low"].shape
    page = report(out, words)
    assert "<h2>Landscape</h2>" in page
    assert "axis 1: 2 basins, population " in page
    state = found["states"][1]
    assert state["population"] == state["particles"] / COUNT == pytest.approx(SMALLER, abs=0.02)
    assert f"{100 * state['low']:.1f} to {100 * state['high']:.1f} %" in page
    evaluate_command(words)
    assert not (out / "landscape_277K.npz").exists()
    assert "kT of the ensemble imaged" not in report(out, words)
    assert (out / "landscape.png").is_file()


def report(out: Path, words: list[str]) -> str:
    """The page, drawn again from files."""
    (out / "report.html").unlink()
    report_command(words[:1])
    return (out / "report.html").read_text()


def test_no_population_stands_without_its_interval(tmp_path: Path) -> None:
    z, variance = two_states()
    np.savez(tmp_path / "z.npz", latents=z / 4, log_variance=np.log(variance / 16))
    evaluate_command([str(tmp_path / "z.npz"), "--resamples=0"])
    page = (tmp_path / "z_evaluation/report.html").read_text()
    text = re.sub(r"<script.*?</script>|<style.*?</style>|data:[^\"]*", "", page, flags=re.DOTALL)
    numbers = re.findall(r"population (\d+ %)(.{0,20})", text)
    assert numbers
    assert all(re.match(r" \(\d+ to \d+ %\)", after) for _, after in numbers)


def test_recovar_latents_are_estimates(tmp_path: Path) -> None:
    written.recovar(tmp_path / "run", truth())
    evaluate_command([str(tmp_path / "run"), "--resamples=0"])
    found = json.loads((tmp_path / "run/evaluation/metrics.json").read_text())
    # 30 particles are too few; as posteriors under a prior they would have been refused so.
    assert "at least 50 particles" in found["not_measured"]["landscape"]

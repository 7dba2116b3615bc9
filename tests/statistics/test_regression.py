"""Volumes of latents that are known: found with less noise than latents and volumes together."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.cli import main
from cryo_disentangle.statistics import StatisticsFolder
from cryo_disentangle.statistics.posterior import (
    Coefficients,
    Likelihood,
    conditional_posterior,
)
from cryo_disentangle.statistics.regression import polynomial_coefficients
from tests.statistics.simulated import write_stack


def _positive(generator: torch.Generator, count: int, size: int) -> torch.Tensor:
    factor = torch.randn(count, size, size + 2, generator=generator, dtype=torch.float64)
    return factor @ factor.mT / size


@settings(max_examples=10)
@given(seed=st.integers(0, 2**20), rank=st.integers(1, 3), count=st.integers(0, 3))
def test_nuisances_follow_known_coefficients(seed: int, rank: int, count: int) -> None:
    """Against dense algebra: c is normal as known, and n | c as its likelihood and prior say."""
    generator = torch.Generator().manual_seed(seed)
    precision = _positive(generator, 4, rank + count)
    information = torch.randn(4, rank + count, generator=generator, dtype=torch.float64)
    known = Coefficients(
        torch.randn(4, rank, generator=generator, dtype=torch.float64),
        _positive(generator, 4, rank),
    )
    joint = Likelihood(precision, information, torch.zeros(4, dtype=torch.float64))
    found = conditional_posterior(joint, known)
    eye = torch.eye(count, dtype=torch.float64)
    for row in range(4):
        inverse = torch.linalg.inv(precision[row, rank:, rank:] + eye)
        slope = -inverse @ precision[row, rank:, :rank]
        lift = torch.cat([torch.eye(rank, dtype=torch.float64), slope])
        dense = lift @ known.covariance[row] @ lift.T
        dense[rank:, rank:] += inverse
        mean = lift @ known.mean[row]
        mean[rank:] += inverse @ information[row, rank:]
        torch.testing.assert_close(found.covariance[row], dense)
        torch.testing.assert_close(found.mean[row], mean)


def test_polynomials_are_orthonormal_under_the_prior() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(1, 400_000, 2, generator=generator, dtype=torch.float64)
    weight = torch.full((1, 400_000), 1 / 400_000, dtype=torch.float64)
    found = polynomial_coefficients(draws, weight, 3)
    assert found.mean.shape == (1, 9)
    assert float(found.mean.abs().max()) < 0.02
    torch.testing.assert_close(
        found.covariance[0], torch.eye(9, dtype=torch.float64), rtol=0, atol=0.15
    )


@settings(max_examples=10)
@given(seed=st.integers(0, 2**20))
def test_standardised_coefficients_have_unit_moments(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(50, 3, generator=generator, dtype=torch.float64) * 2 + 1
    found = Coefficients(mean, _positive(generator, 50, 3)).standardised()
    second = (found.mean.T @ found.mean + found.covariance.sum(0)) / 50
    torch.testing.assert_close(found.mean.mean(0), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(second, torch.eye(3, dtype=torch.float64))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_stack(tmp_path_factory.mktemp("stack"), snr=0.5)
    factors = np.load(folder / "truth.npz")["factors"]
    np.savez(folder / "z.npz", z=factors, row=np.arange(len(factors)))
    np.savez(folder / "few.npz", z=factors[3:], row=np.arange(3, len(factors)))
    return folder


def _made(stack: Path, out: str, *words: str) -> dict[str, list[float]]:
    files = [f"--poses={stack / 'poses.pkl'}", f"--out={stack / out}", "--radius=6"]
    main(["statistics", str(stack / "particles.mrcs"), *files, *words])
    report: dict[str, list[float]] = json.loads((stack / out / "report.json").read_text())
    return report


def test_volumes_of_true_latents_tell_more_of_new_images(stack: Path) -> None:
    plain = _made(stack, "plain", "--rank=4")
    known = _made(stack, "known", f"--latents={stack / 'z.npz'}", "--degree=3")
    assert max(known["held_out_gain"]) > max(plain["held_out_gain"]) + 0.05
    kept = StatisticsFolder.open(stack / "known").statistics
    assert 2 <= kept.rank <= 9


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["--latents=z.npz", "--degree=9"],
            "polynomials of degree 9 in 2 coordinates are 54; expected 1 to 20",
        ),
        (["--latents=few.npz"], "3 of 1200 particles have no latents, the first is row 1"),
        (["--degree=2"], "--z and --degree go with --latents"),
        (["--latents=z.npz", "--run=absent"], "give one of them"),
    ],
)
def test_what_cannot_be_is_said(
    stack: Path, words: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stack)
    with pytest.raises(SystemExit, match=re.escape(expected)):
        _made(stack, "never", *words)
    assert not (stack / "never").exists()

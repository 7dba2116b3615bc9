from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cryo_disentangle.imaging.noise import circular_mask, signal_variance
from cryo_disentangle.simulation import (
    ColouredNoise,
    ContrastTransferRange,
    Microscope,
    NormalShifts,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.microscope import Noise
from tests.helpers import shared

SPECTRUM = (1 + 10 * np.exp(-np.arange(33) / 5)).tolist()


def simulate(noise: Noise | None) -> Simulation:
    scope = Microscope(UniformViews(), NormalShifts(0.5), ContrastTransferRange(), noise)
    return Simulation(TwoArms(), UniformFactors(), scope, seed=3)


@pytest.mark.parametrize("snr", [0.05, 2.0])
@pytest.mark.parametrize("coloured", [False, True])
def test_a_stack_has_the_stated_snr(snr: float, coloured: bool) -> None:
    noise = ColouredNoise(snr, SPECTRUM, 64) if coloured else WhiteNoise(snr)
    simulation = simulate(noise)
    draws = simulation.stack_draws(0, 4000)
    noisy, particles = simulation.images(draws)
    clean = simulation.clean(particles)
    difference = noisy - clean
    inside = difference[:, circular_mask(32)].double()
    # 256 calibration particles fix the signal's variance to a few per cent.
    assert signal_variance(clean) / float(inside.var()) == pytest.approx(snr, rel=0.05)
    # One level for the whole stack, whatever the image.
    levels = inside.std(dim=1)
    assert float(levels.std() / levels.mean()) < (0.15 if coloured else 0.05)
    correlation = torch.corrcoef(torch.stack([levels, clean.flatten(1).std(dim=1).double()]))
    assert abs(float(correlation[0, 1])) < 4 / 4000**0.5


def test_coloured_noise_has_the_stated_spectrum() -> None:
    draws = Draws.consecutive((1,), 0, 3000)
    noise = ColouredNoise(1.0, SPECTRUM, 64).sample(draws, 32)
    power = torch.fft.fft2(noise.double()).abs().square().mean(0)
    along = power[0, 1:16]
    expected = torch.tensor(SPECTRUM, dtype=torch.float64)[2:32:2]
    ratio = along / expected
    # A mean of 3,000 exponential numbers: 2 % each.
    assert float((ratio / ratio.mean() - 1).abs().max()) < 0.08
    assert float(noise.var()) == pytest.approx(1, abs=0.03)


def test_the_real_spectrum_is_read_from_a_file() -> None:
    file = shared("data/poses/empiar_poses_ctf.npz")
    noise = ColouredNoise.from_file(file, "noise_psd_10076", 256, snr=0.1)
    assert len(noise.spectrum) == 127
    simulation = simulate(noise)
    assert simulation.images(simulation.stack_draws(0, 4))[0].shape == (4, 32, 32)


def test_no_noise_leaves_images_clean() -> None:
    simulation = simulate(None)
    assert simulation.noise_std == 0
    images, particles = simulation.images(simulation.stack_draws(0, 5))
    assert torch.equal(images, simulation.clean(particles))


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    for snr in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="snr must be positive, found"):
            WhiteNoise(snr)
        with pytest.raises(ValueError, match="snr must be positive, found"):
            ColouredNoise(snr, SPECTRUM, 64)
    with pytest.raises(ValueError, match=r"spectrum of box 64 has 33 radii, found \(20,\)"):
        ColouredNoise(1.0, SPECTRUM[:20], 64)
    np.savez(tmp_path / "s.npz", psd=SPECTRUM)
    with pytest.raises(ValueError, match="spectrum of box 256 has 129 radii"):
        ColouredNoise.from_file(tmp_path / "s.npz", "psd", 256, 1.0)

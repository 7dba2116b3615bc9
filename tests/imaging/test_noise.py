from __future__ import annotations

import numpy as np
import pytest
import torch

from cryo_disentangle.imaging.noise import (
    circular_mask,
    colour_noise,
    drawing_from,
    radial_noise_filter,
    signal_variance,
)
from tests.helpers import shared


def radial_power(images: torch.Tensor) -> torch.Tensor:
    """Mean power at radii 0 .. D / 2 - 1 of the Fourier transform."""
    side = images.shape[-1]
    power = torch.fft.fft2(images.double()).abs().square().mean(0)
    axis = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64)
    radius = torch.hypot(axis[:, None], axis).round().long().flatten()
    total = torch.zeros(int(radius.max()) + 1, dtype=torch.float64).index_add(
        0, radius, power.flatten()
    )
    return (total / torch.bincount(radius))[: side // 2]


def test_circular_mask_is_a_disc_about_the_centre_pixel() -> None:
    mask = circular_mask(32)
    assert mask.dtype == torch.bool
    assert mask[[16, 0, 0], [0, 16, 0]].tolist() == [True, True, False]
    assert int(mask.sum()) == pytest.approx(np.pi * 16**2, rel=0.02)


def test_signal_variance_counts_only_the_disc_and_ignores_the_mean() -> None:
    image = torch.zeros(2, 32, 32)
    image[:, 0, 0] = 1e6
    assert signal_variance(image) == 0
    image = torch.randn(4, 32, 32, generator=torch.Generator().manual_seed(0))
    inside = image[:, circular_mask(32)]
    expected = (inside - inside.mean(1, keepdim=True)).square().mean()
    assert signal_variance(image + 5) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("box", [32, 64])
def test_coloured_noise_has_the_spectrum_and_keeps_the_variance(box: int) -> None:
    spectrum = (1 + 20 * np.exp(-np.arange(65) / 8)).tolist()
    factors = radial_noise_filter(spectrum, 128, box)
    white = torch.randn(2000, box, box, generator=torch.Generator().manual_seed(1))
    coloured = colour_noise(white, factors)
    assert float(coloured.var()) == pytest.approx(1, abs=0.02)
    measured = radial_power(coloured)
    radii = torch.arange(box // 2) * 128 / box
    expected = torch.from_numpy(np.interp(radii.numpy(), np.arange(65), spectrum))
    ratio = measured[3:] / expected[3:]
    # A ring is a pixel wide, and the spectrum bends within it.
    assert float((ratio / ratio.mean() - 1).abs().max()) < 0.04


def test_real_spectrum_of_empiar_10076_makes_a_filter() -> None:
    with np.load(shared("data/poses/empiar_poses_ctf.npz")) as archive:
        spectrum = archive["noise_psd_10076"].tolist()
    factors = radial_noise_filter(spectrum, 256, 64)
    assert factors.shape == (64, 33)
    assert bool(torch.isfinite(factors).all())


def test_bad_spectra_are_refused() -> None:
    with pytest.raises(ValueError, match=r"spectrum of box 128 has 65 radii, found \(32,\)"):
        radial_noise_filter([1.0] * 32, 128, 64)
    with pytest.raises(ValueError, match="must not be negative"):
        radial_noise_filter([-1.0] * 65, 128, 64)
    with pytest.raises(ValueError, match="nor zero everywhere"):
        radial_noise_filter([0.0] * 65, 128, 64)


def test_draws_come_from_another_generator_and_leave_the_global_one() -> None:
    seed = int(torch.randint(2**62, (), generator=torch.Generator().manual_seed(3)))
    expected = torch.randn(5, generator=torch.Generator().manual_seed(seed))
    before = torch.get_rng_state()
    with drawing_from(torch.Generator().manual_seed(3)):
        found = torch.randn(5)
    assert torch.equal(found, expected)
    assert torch.equal(torch.get_rng_state(), before)

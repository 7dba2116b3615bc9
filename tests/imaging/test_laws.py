"""Laws that transforms, shifts, correlations and the CTF obey, whatever the numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle import imaging
from cryo_disentangle.imaging.fsc import fourier_shell_correlation, resolution_at
from cryo_disentangle.imaging.hartley import (
    desymmetrize,
    hartley2,
    hartley3,
    inverse_hartley2,
    inverse_hartley3,
    symmetrize,
)
from cryo_disentangle.imaging.lattice import lattice_frequencies
from cryo_disentangle.imaging.window import soft_window

_sides = st.sampled_from([4, 6, 8, 16])
_seeds = st.integers(0, 2**31)


def normal(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def ctf_row(box_size: float = 32, pixel_size: float = 2.0, **changes: float) -> Tensor:
    row = {"u": 15000.0, "v": 12000.0, "angle": 30.0, "kv": 300.0, "cs": 2.7, "w": 0.1, "phase": 0}
    return torch.tensor([[box_size, pixel_size, *(row | changes).values()]])


@settings(max_examples=25)
@given(_sides, _seeds)
def test_hartley_transforms_invert(side: int, seed: int) -> None:
    images, volume = normal(seed, 3, side, side), normal(seed, side, side, side)
    torch.testing.assert_close(inverse_hartley2(hartley2(images)), images)
    torch.testing.assert_close(hartley2(inverse_hartley2(images)), images)
    torch.testing.assert_close(inverse_hartley3(hartley3(volume)), volume)


@settings(max_examples=25)
@given(_sides, _seeds)
def test_hartley_transform_keeps_the_norm(side: int, seed: int) -> None:
    image = normal(seed, side, side)
    torch.testing.assert_close(hartley2(image).norm(), image.norm() * side)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_hartley_transform_promotes_half_precision(dtype: torch.dtype) -> None:
    assert hartley2(torch.ones(4, 4, dtype=dtype)).dtype == torch.float32


@settings(max_examples=25)
@given(_sides, _seeds)
def test_symmetrized_lattice_wraps(side: int, seed: int) -> None:
    transforms = normal(seed, 2, side, side)
    whole = symmetrize(transforms)
    assert whole.shape == (2, side + 1, side + 1)
    assert torch.equal(whole[:, -1], whole[:, 0])
    assert torch.equal(whole[..., -1], whole[..., 0])
    assert torch.equal(desymmetrize(whole), transforms)


@settings(max_examples=25)
@given(_sides, _seeds, st.integers(-3, 3), st.integers(-3, 3))
def test_whole_pixel_shifts_roll_the_image(side: int, seed: int, x: int, y: int) -> None:
    # Waves at Nyquist have no mirror image of their own on an even grid: those are left out.
    disc = imaging.FourierDisc(side, side // 2 - 1)
    spectrum = disc.scatter(disc.select(symmetrize(normal(seed, 2, side, side))))
    moved = imaging.shift_hartley(
        disc.select(spectrum), disc.frequencies.double(), torch.tensor([[x, y]] * 2).double()
    )
    image = inverse_hartley2(desymmetrize(spectrum))
    ours = inverse_hartley2(desymmetrize(disc.scatter(moved)))
    torch.testing.assert_close(ours, image.roll((y, x), (-2, -1)), rtol=0, atol=1e-6)


@settings(max_examples=25)
@given(_seeds)
def test_shifts_add_up(seed: int) -> None:
    disc = imaging.FourierDisc(8)
    frequencies = disc.frequencies.double()
    coefficients, shifts = normal(seed, 2, len(disc)), 3 * normal(seed + 1, 2, 2, 2)
    one_by_one = coefficients
    for shift in shifts:
        one_by_one = imaging.shift_hartley(one_by_one, frequencies, shift)
    at_once = imaging.shift_hartley(coefficients, frequencies, shifts.sum(0))
    torch.testing.assert_close(one_by_one, at_once)
    back = imaging.shift_hartley(at_once, frequencies, -shifts.sum(0))
    torch.testing.assert_close(back, coefficients)


@settings(max_examples=25)
@given(_seeds, st.floats(0.01, 100))
def test_shell_correlation_of_a_volume_with_itself(seed: int, scale: float) -> None:
    volume = normal(seed, 8, 8, 8)
    ones = torch.ones(5, dtype=torch.float64)
    torch.testing.assert_close(fourier_shell_correlation(volume, scale * volume), ones)
    torch.testing.assert_close(fourier_shell_correlation(volume, -volume), -ones)
    other = normal(seed + 1, 8, 8, 8)
    forward = fourier_shell_correlation(volume, other)
    torch.testing.assert_close(forward, fourier_shell_correlation(other, volume))
    assert float(forward.abs().max()) <= 1 + 1e-12


def test_shell_correlation_with_noise_is_near_zero() -> None:
    fsc = fourier_shell_correlation(normal(0, 32, 32, 32), normal(1, 32, 32, 32))
    assert len(fsc) == 17
    assert float(fsc[5:].abs().max()) < 0.15
    assert float(fsc[5:].abs().mean()) < 0.05


def test_shell_correlation_of_nothing_is_zero() -> None:
    zeros = torch.zeros(8, 8, 8)
    assert fourier_shell_correlation(zeros, normal(0, 8, 8, 8)).tolist() == [0.0] * 5


@pytest.mark.parametrize(
    ("first", "second"), [((8, 8, 6), (8, 8, 6)), ((8, 8, 8), (6, 6, 6)), ((8, 8), (8, 8))]
)
def test_volumes_that_are_not_equal_cubes_are_refused(
    first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="cubes of equal side"):
        fourier_shell_correlation(torch.zeros(first), torch.zeros(second))


def test_resolution_is_read_off_between_shells() -> None:
    fsc = torch.tensor([1.0, 1.0, 0.8, 0.2, 0.0])  # box of 8 px
    assert resolution_at(fsc, 2.0, 0.5) == pytest.approx(8 * 2.0 / 2.5)
    assert resolution_at(fsc, 1.0, 0.5) == pytest.approx(8 / 2.5)
    assert resolution_at(torch.ones(5), 2.0, 0.143) == pytest.approx(4.0)
    assert resolution_at(torch.zeros(5), 2.0, 0.5) == pytest.approx(16.0)


@settings(max_examples=25)
@given(st.lists(st.floats(0.0, 1.0), min_size=3, max_size=20), st.floats(0.05, 0.95))
def test_resolution_lies_between_nyquist_and_the_box(shells: list[float], threshold: float) -> None:
    fsc = torch.tensor([1.0, *shells], dtype=torch.float64)
    resolution = resolution_at(fsc, 1.5, threshold)
    assert 3.0 - 1e-9 <= resolution <= 2 * len(shells) * 1.5 + 1e-9


@pytest.mark.parametrize(("inner", "outer"), [(0.0, 0.9), (0.9, 0.9), (0.95, 0.9), (-1.0, 0.5)])
def test_windows_without_an_edge_are_refused(inner: float, outer: float) -> None:
    with pytest.raises(ValueError, match=f"0 < inner < outer, found inner {inner}"):
        soft_window(8, inner, outer)


def test_window_falls_from_one_to_zero() -> None:
    window = soft_window(32)
    assert window.shape == (32, 32)
    assert float(window[16, 16]) == 1.0
    assert float(window[0, 0]) == 0.0
    row = window[16, 16:]
    assert bool((row[1:] <= row[:-1]).all())


@settings(max_examples=25)
@given(_sides, st.data())
def test_disc_order_reversed_mirrors_frequencies(side: int, data: st.DataObject) -> None:
    radius = data.draw(st.sampled_from([None, -1, *range(1, side // 2 + 1)]))
    disc = imaging.FourierDisc(side, radius)
    assert torch.equal(disc.frequencies.flip(0), -disc.frequencies)
    if radius == -1:
        assert len(disc) == (side + 1) ** 2
        return
    radii = disc.frequencies.double().norm(dim=-1) * side
    assert float(radii.max()) <= (side // 2 if radius is None else radius) + 1e-6
    assert float(radii.min()) > 0


@settings(max_examples=25)
@given(_sides, _seeds)
def test_disc_puts_back_what_it_took(side: int, seed: int) -> None:
    images = normal(seed, 2, side + 1, side + 1)
    disc = imaging.FourierDisc(side)
    taken = disc.select(images)
    scattered = disc.scatter(taken)
    assert torch.equal(disc.select(scattered), taken)
    assert int((scattered != 0).sum()) <= 2 * len(disc)
    assert float(scattered[:, side // 2, side // 2].abs().max()) == 0.0
    assert torch.equal(imaging.FourierDisc(side, -1).scatter(images.flatten(1)), images)


@pytest.mark.parametrize("radius", [0, -2, 5])
def test_discs_of_impossible_radius_are_refused(radius: int) -> None:
    with pytest.raises(ValueError, match=rf"half the box size \(4\), found {radius}"):
        imaging.FourierDisc(8, radius)


@pytest.mark.parametrize("side", [0, 7, -2])
def test_odd_boxes_are_refused(side: int) -> None:
    with pytest.raises(ValueError, match=f"even and positive, found {side}"):
        lattice_frequencies(side)


_contrasts = st.floats(0.0, 1.0)


@settings(max_examples=25)
@given(_contrasts, st.floats(-180, 180))
def test_transfer_at_the_origin_is_minus_the_amplitude_contrast(
    contrast: float, phase_deg: float
) -> None:
    origin = torch.zeros(1, 2)
    transfer = imaging.contrast_transfer(origin, ctf_row(w=contrast), 32)
    assert float(transfer[0, 0]) == pytest.approx(-contrast, abs=1e-6)
    shifted = imaging.contrast_transfer(origin, ctf_row(w=contrast, phase=phase_deg), 32)
    expected = -math.sin(math.radians(phase_deg) + math.asin(contrast))
    assert float(shifted[0, 0]) == pytest.approx(expected, abs=1e-5)


@settings(max_examples=25)
@given(st.floats(5e3, 4e4), st.floats(5e3, 4e4), st.floats(0, 180))
def test_transfer_is_symmetric_and_bounded(u: float, v: float, angle: float) -> None:
    frequencies = lattice_frequencies(16)
    transfer = imaging.contrast_transfer(frequencies, ctf_row(16, u=u, v=v, angle=angle), 16)[0]
    torch.testing.assert_close(transfer, transfer.flip(0), rtol=0, atol=1e-5)
    assert float(transfer.abs().max()) <= 1 + 1e-6
    # U and V with perpendicular axes are the same ellipse.
    turned = imaging.contrast_transfer(frequencies, ctf_row(16, u=v, v=u, angle=angle + 90), 16)[0]
    torch.testing.assert_close(transfer, turned, rtol=0, atol=1e-3)


def test_transfer_depends_on_frequency_in_inverse_angstroms_alone() -> None:
    frequencies = lattice_frequencies(16)
    coarse = imaging.contrast_transfer(frequencies, ctf_row(16, 4.0), 16)
    fine = imaging.contrast_transfer(frequencies / 2, ctf_row(16, 2.0), 16)
    torch.testing.assert_close(coarse, fine, rtol=0, atol=1e-4)


def test_each_particle_has_its_own_pixel_size() -> None:
    frequencies = lattice_frequencies(16)
    rows = torch.cat([ctf_row(16, 4.0), ctf_row(16, 2.0)])
    both = imaging.contrast_transfer(frequencies, rows, 16)
    for row, transfer in zip(rows, both, strict=True):
        alone = imaging.contrast_transfer(frequencies, row[None], 16)[0]
        torch.testing.assert_close(transfer, alone, rtol=0, atol=1e-5)
    assert float((both[0] - both[1]).abs().max()) > 0.1


def test_binned_images_keep_their_transfer() -> None:
    """A row written for 64 px of 1 Å says 4 Å for the same images at 16 px."""
    frequencies = lattice_frequencies(16)
    binned = imaging.contrast_transfer(frequencies, ctf_row(64, 1.0), 16)
    told = imaging.contrast_transfer(frequencies, ctf_row(16, 4.0), 16)
    torch.testing.assert_close(binned, told, rtol=0, atol=1e-5)


def test_b_factor_damps_and_scale_multiplies() -> None:
    frequencies = lattice_frequencies(16)
    plain = imaging.contrast_transfer(frequencies, ctf_row(16), 16)
    damped = imaging.contrast_transfer(
        frequencies, ctf_row(16), 16, b_factor=torch.tensor([50.0]), scale=torch.tensor([3.0])
    )
    squared = (frequencies / 2.0).square().sum(-1)
    torch.testing.assert_close(damped, 3 * plain * torch.exp(-50 / 4 * squared))


def test_images_that_were_corrected_have_the_corrected_transfer() -> None:
    frequencies = lattice_frequencies(16)
    rows = ctf_row(16).expand(3, 9)
    extra = {"scale": torch.full((3,), 0.5), "b_factor": torch.full((3,), 20.0)}
    plain = imaging.contrast_transfer(frequencies, rows, 16, **extra)
    found = imaging.contrast_transfer(
        frequencies, rows, 16, applied=torch.tensor([0, 1, 2]), **extra
    )
    expected = torch.stack([plain[0], -plain[0].abs(), -plain[0].square()])
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    # Correction multiplies by RELION's CTF, or its sign, which is this one's negative.
    torch.testing.assert_close(found[2], plain[2] * -plain[2], rtol=0, atol=0)
    torch.testing.assert_close(found[1], plain[1] * -plain[1].sign(), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(2, 8), (9,), (1, 1, 9)])
def test_rows_of_another_width_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"ctf must have shape \(B, 9\), found"):
        imaging.contrast_transfer(lattice_frequencies(8), torch.ones(shape), 8)

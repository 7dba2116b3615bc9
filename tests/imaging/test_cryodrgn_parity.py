"""Physics against arrays that cryoDRGN 4.3.1 computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from cryo_disentangle import imaging
from cryo_disentangle.imaging.hartley import (
    hartley2,
    hartley3,
    inverse_hartley2,
    inverse_hartley3,
    symmetrize,
)
from cryo_disentangle.imaging.lattice import lattice_frequencies
from cryo_disentangle.imaging.window import soft_window
from tests.helpers import shared


def load(name: str) -> dict[str, Tensor]:
    with np.load(shared(f"golden/cryodrgn/{name}")) as archive:
        return {key: torch.from_numpy(archive[key]) for key in archive.files}


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


@pytest.mark.parametrize("box_size", [16, 32, 50])
def test_hartley_transform(box_size: int) -> None:
    golden = load("hartley.npz")
    images, transforms = golden[f"img_{box_size}"], golden[f"ht_{box_size}"]
    ours = hartley2(images)
    assert relative_error(ours, transforms) < 1e-6
    assert relative_error(symmetrize(ours), golden[f"htsym_{box_size}"]) < 1e-6
    assert relative_error(inverse_hartley2(transforms), golden[f"iht_{box_size}"]) < 1e-6
    torch.testing.assert_close(
        soft_window(box_size), golden[f"window_{box_size}_0.85"], rtol=0, atol=2e-6
    )
    torch.testing.assert_close(
        soft_window(box_size, 0.7), golden[f"window_{box_size}_0.7"], rtol=0, atol=2e-6
    )


def test_hartley_transform_of_a_volume() -> None:
    golden = load("hartley.npz")
    assert relative_error(hartley3(golden["vol"]), golden["ht_vol"]) < 1e-6
    assert relative_error(inverse_hartley3(golden["vol"]), golden["iht_vol"]) < 1e-6


@pytest.mark.parametrize("box_size", [16, 32, 50])
def test_lattice_and_discs(box_size: int) -> None:
    golden = load("hartley.npz")
    frequencies = lattice_frequencies(box_size)
    assert torch.equal(frequencies, golden[f"freqs2d_{box_size}"])
    for name, radius in [
        (f"mask_{box_size}", None),
        (f"mask_r{box_size // 4}_{box_size}", box_size // 4),
    ]:
        disc = imaging.FourierDisc(box_size, radius)
        assert torch.equal(disc.index, torch.nonzero(golden[name])[:, 0])
        assert torch.equal(disc.frequencies, frequencies[golden[name]])


def test_number_of_points_on_discs() -> None:
    golden = load("hartley.npz")
    for box_size, count in zip(
        golden["mask_D"].tolist(), golden["mask_count"].tolist(), strict=True
    ):
        if box_size <= 256:
            assert len(imaging.FourierDisc(box_size)) == count


@pytest.mark.parametrize("box_size", [16, 32])
def test_translation(box_size: int) -> None:
    golden = load("translate.npz")
    frequencies = lattice_frequencies(box_size)
    disc = imaging.FourierDisc(box_size, box_size // 2 - 2)
    for image, shifts, expected, expected_masked in zip(
        golden[f"ht_{box_size}"],
        golden[f"t_{box_size}"],
        golden[f"out_{box_size}"],
        golden[f"out_masked_{box_size}"],
        strict=True,
    ):
        whole = image.flatten().expand(len(shifts), -1)
        ours = imaging.shift_hartley(whole, frequencies, shifts)
        assert relative_error(ours, expected.flatten(1)) < 5e-6
        masked = imaging.shift_hartley(whole[:, disc.index], disc.frequencies, shifts)
        assert relative_error(masked, expected_masked) < 5e-6


@pytest.mark.parametrize(
    ("case", "box_size", "pixel_size"), [(0, 32, 4.0), (1, 64, 2.5), (2, 128, 1.3)]
)
def test_contrast_transfer(case: int, box_size: int, pixel_size: float) -> None:
    golden = load("ctf.npz")
    params = golden[f"params_{case}"]
    rows = torch.cat(
        [torch.tensor([[box_size, pixel_size]]).expand(len(params), -1).to(params), params], dim=1
    )
    frequencies = lattice_frequencies(box_size)
    ours = imaging.contrast_transfer(frequencies, rows, box_size).reshape(
        golden[f"ctf_{case}"].shape
    )
    # cryoDRGN's float32 phases are off by as much as this (golden README).
    tolerance = max(float(golden[f"ctf64max_abs_diff_{case}"].max()), 1e-6)
    assert float((ours - golden[f"ctf_{case}"]).abs().max()) < 2 * tolerance
    assert relative_error(ours, golden[f"ctf_{case}"]) < 1e-4
    if f"ctf64_{case}" in golden:
        assert relative_error(ours, golden[f"ctf64_{case}"]) < 1e-5


def test_contrast_transfer_with_scale_and_b_factor() -> None:
    golden = load("ctf.npz")
    params = golden["params_0"]
    rows = torch.cat([torch.tensor([[32, 4.0]]).expand(len(params), -1).to(params), params], dim=1)
    frequencies = lattice_frequencies(32)
    scale, b_factor = golden["scale_0"].flatten(), golden["bfactor_0"].flatten()
    scaled = imaging.contrast_transfer(frequencies, rows, 32, scale=scale)
    assert relative_error(scaled.reshape(golden["ctf_scale_0"].shape), golden["ctf_scale_0"]) < 1e-5
    both = imaging.contrast_transfer(frequencies, rows, 32, b_factor, scale)
    expected = golden["ctf_scale_bfactor_0"]
    assert relative_error(both.reshape(expected.shape), expected) < 1e-5

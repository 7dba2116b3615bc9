from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import torch
from torch import Tensor

from cryo_disentangle.imaging.fsc import fourier_shell_correlation
from cryo_disentangle.imaging.gaussians import gaussian_volume
from cryo_disentangle.simulation import AdenylateKinase
from cryo_disentangle.structures import (
    fit_pseudo_atoms,
    read_atoms,
    read_pseudo_atoms,
    write_structures,
)
from cryo_disentangle.structures import pseudo_atoms as module
from cryo_disentangle.structures.atoms import Atoms

SIDE, PIXEL_SIZE = 64, 1.5


def _map(side: int = SIDE, pixel_size: float = PIXEL_SIZE) -> Tensor:
    return AdenylateKinase().volume(torch.zeros(1, 2), side, pixel_size)[0]


def _volume(atoms: Atoms, side: int, pixel_size: float) -> Tensor:
    sigma = math.sqrt(atoms.b_factor[0] / (8 * math.pi**2))
    centres = torch.from_numpy(atoms.position).float()[None]
    return gaussian_volume(
        centres, torch.from_numpy(atoms.electrons).float(), sigma, side, pixel_size
    )[0]


def test_pseudo_atoms_stand_for_adenylate_kinase_up_to_half_nyquist() -> None:
    truth = _map()
    atoms = fit_pseudo_atoms(truth, PIXEL_SIZE, 500, steps=100)
    found = _volume(atoms, SIDE, PIXEL_SIZE)
    assert fourier_shell_correlation(truth, found)[: SIDE // 4 + 1].min() > 0.95
    torch.testing.assert_close(found.sum(), truth.sum(), rtol=0.02, atol=0)
    assert (found - truth).norm() < 0.05 * truth.norm()


def test_noise_costs_little() -> None:
    truth = _map()
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    atoms = fit_pseudo_atoms(truth + 0.1 * truth.max() * noise, PIXEL_SIZE, 300, steps=60)
    found = _volume(atoms, SIDE, PIXEL_SIZE)
    assert fourier_shell_correlation(truth, found)[: SIDE // 8 + 1].min() > 0.9


def test_a_finer_map_gives_the_same_density() -> None:
    truth = _map(96, 1.0)
    atoms = fit_pseudo_atoms(truth, 1.0, 60, steps=60)
    found = _volume(atoms, 96, 1.0)
    torch.testing.assert_close(found.sum(), truth.sum(), rtol=0.05, atol=0)
    assert fourier_shell_correlation(truth, found)[:7].min() > 0.9


def test_lone_gaussians_are_found_exactly() -> None:
    centres = torch.tensor([[[-12.0, 3.0, 5.5], [9.0, -6.2, 0.0], [0.4, 10.0, -14.0]]])
    weights = torch.tensor([3.0, 5.0, 8.0])
    volume = gaussian_volume(centres, weights, 3.0, 32, 2.0)[0]
    atoms = fit_pseudo_atoms(volume, 2.0, 3, steps=100)
    order = np.argsort(atoms.electrons)
    np.testing.assert_allclose(atoms.position[order], centres[0], atol=0.05)
    # The map's centre, which poses belong to, whatever the pseudo-atoms' is.
    assert atoms.centre.tolist() == [0, 0, 0]
    assert np.abs(np.average(atoms.position, axis=0, weights=atoms.electrons)).max() > 1
    np.testing.assert_allclose(atoms.electrons[order], weights, rtol=0.03)
    np.testing.assert_allclose(atoms.b_factor, 8 * math.pi**2 * 9, rtol=0.03)


def test_rendering_near_voxels_is_that_of_all() -> None:
    generator = torch.Generator().manual_seed(0)
    # Some of them at the border, some beyond.
    position = 10 * torch.randn(50, 3, generator=generator)
    amplitude = torch.rand(50, generator=generator)
    whole = gaussian_volume(position[None], amplitude, 1.4, 24, 1.0)[0]
    near = module._rendered(position, amplitude, torch.tensor(1.4), 24)
    torch.testing.assert_close(near, whole, rtol=0, atol=2e-5)


def test_the_fit_is_the_same_each_time() -> None:
    first, second = (fit_pseudo_atoms(_map(), PIXEL_SIZE, 50, steps=5) for _ in range(2))
    np.testing.assert_array_equal(first.position, second.position)


def test_pseudo_atoms_of_a_map_can_be_written_and_read(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "map.mrc") as mrc:
        mrc.set_data(_map().numpy())
        mrc.voxel_size = PIXEL_SIZE
    atoms = read_pseudo_atoms(tmp_path / "map.mrc", 40, steps=5)
    expected = fit_pseudo_atoms(_map(), PIXEL_SIZE, 40, steps=5)
    np.testing.assert_allclose(atoms.position, expected.position)
    assert atoms.file == tmp_path / "map.mrc"
    write_structures(tmp_path / "pseudo.cif", atoms, atoms.position[None])
    again = read_atoms(tmp_path / "pseudo.cif")
    np.testing.assert_allclose(again.position, atoms.position, atol=1e-3)
    np.testing.assert_allclose(again.electrons, atoms.electrons, rtol=1e-2)
    np.testing.assert_allclose(again.b_factor, atoms.b_factor, rtol=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"volume": torch.zeros(4, 4, 6)}, "cube of even side, found shape (4, 4, 6)"),
        ({"volume": torch.zeros(5, 5, 5)}, "cube of even side, found shape (5, 5, 5)"),
        ({"volume": torch.full((4, 4, 4), torch.nan)}, "a map must be finite"),
        ({"pixel_size": 0.0}, "found pixel_size=0.0 and count=4"),
        ({"count": 0}, "found pixel_size=1.0 and count=0"),
        (
            {"threshold": 0.5, "count": 65},
            "a map with 64 voxels above 0.5 holds no 65 pseudo-atoms; lower the threshold",
        ),
        ({"volume": torch.ones(4, 4, 4)}, "a map must hold density, found 1 everywhere"),
    ],
)
def test_bad_maps_are_refused(options: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"volume": torch.ones(4, 4, 4), "pixel_size": 1.0, "count": 4}
    with pytest.raises(ValueError, match=re.escape(message)):
        fit_pseudo_atoms(**(settings | options))


def test_bad_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.mrc: no such file"):
        read_pseudo_atoms(tmp_path / "no.mrc", 4)
    (tmp_path / "text.mrc").write_bytes(b"x" * 2000)
    with pytest.raises(ValueError, match=r"text\.mrc: not an MRC file"):
        read_pseudo_atoms(tmp_path / "text.mrc", 4)
    for name, side, size, message in (
        ("unit", 4, 0.0, "the header has no pixel size"),
        ("odd", 5, 1.0, "a map must be a cube of even side"),
    ):
        with mrcfile.new(tmp_path / f"{name}.mrc") as mrc:
            mrc.set_data(np.ones((side, side, side), dtype=np.float32))
            mrc.voxel_size = size
        with pytest.raises(ValueError, match=rf"{name}\.mrc: {message}"):
            read_pseudo_atoms(tmp_path / f"{name}.mrc", 4)

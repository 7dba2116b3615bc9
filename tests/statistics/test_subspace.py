"""Subspaces: files, decoders, and maps from elsewhere."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.files import write_volume
from cryo_disentangle.statistics.adoption import principal_volumes
from cryo_disentangle.statistics.subspace import Subspace
from tests.statistics.test_posterior import BOX, RADIUS, RANK, random_subspace


def test_a_file_gives_it_back(tmp_path: Path) -> None:
    subspace = random_subspace()
    subspace.save(tmp_path / "subspace.pt")
    again = Subspace.open(tmp_path / "subspace.pt")
    assert again.digest == subspace.digest
    torch.testing.assert_close(again.nodes, subspace.nodes, rtol=0, atol=0)


def test_the_digest_is_of_volumes_noise_and_units() -> None:
    digests = {random_subspace(seed).digest for seed in range(3)}
    first = random_subspace(0)
    parts = {name: getattr(first, name) for name in Subspace.__dataclass_fields__}
    for name, value in (("noise", first.noise * 2), ("pixel_size", 3.0), ("norm", 2.0)):
        digests.add(Subspace(**(parts | {name: value})).digest)
    assert len(digests) == 6


def test_volumes_make_the_subspace_that_has_them() -> None:
    volumes = torch.zeros(3, BOX, BOX, BOX)
    volumes[:, 5:11, 6:10, 5:12] = torch.rand(
        3, 6, 4, 7, generator=torch.Generator().manual_seed(1)
    )
    subspace = Subspace.of_volumes(volumes, 2.0, BOX // 2, 1.0)
    again = Subspace.of_volumes(subspace.volumes(), 2.0, BOX // 2, 1.0)
    torch.testing.assert_close(again.volumes(), subspace.volumes(), rtol=1e-3, atol=2e-3)
    assert subspace.rank == 2
    assert subspace.truncated(1).rank == 1


def test_a_decoder_s_volumes_are_spanned() -> None:
    decoder = random_subspace().decoder()
    latents = torch.randn(30, RANK, generator=torch.Generator().manual_seed(2))
    found = principal_volumes(decoder, latents, RANK)
    directions = torch.stack([decoder.volume(row) for row in torch.eye(RANK)])
    directions = (directions - decoder.volume(torch.zeros(RANK))).flatten(1)
    basis = torch.linalg.qr(found[1:].flatten(1).T).Q
    left = directions.T - basis @ (basis.T @ directions.T)
    assert float(left.norm() / directions.norm()) < 1e-3


def test_refuses_more_components_than_volumes_span() -> None:
    decoder = BasisDecoder(BOX, 2, 2, hidden=0)
    with pytest.raises(ValueError, match=r"3 volumes span at most 2 components .* rank 3"):
        principal_volumes(decoder, torch.zeros(3, 2), 3)


@pytest.mark.parametrize(
    ("side", "pixel_size", "message"),
    [
        (12, 2.0, "a map of 12 x 12 x 12 voxels, the particles' box is 16 pixels"),
        (BOX, 2.1, "2.1 Å per voxel, the particles have 2 Å per pixel"),
    ],
)
def test_refuses_maps_of_another_box(
    tmp_path: Path, side: int, pixel_size: float, message: str
) -> None:
    write_volume(tmp_path / "mean.mrc", np.zeros((BOX,) * 3), 2.0)
    write_volume(tmp_path / "component.mrc", np.zeros((side,) * 3), pixel_size)
    with pytest.raises(ValueError, match=message):
        Subspace.of_maps(tmp_path / "mean.mrc", [tmp_path / "component.mrc"], BOX, 2.0)


def test_refuses_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file, expected a subspace"):
        Subspace.open(tmp_path / "missing.pt")
    torch.save({"nodes": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other.pt: not a subspace"):
        Subspace.open(tmp_path / "other.pt")


def test_refuses_shapes_that_disagree() -> None:
    good = random_subspace()
    with pytest.raises(ValueError, match=r"a subspace of radius 6 has nodes of shape \(3375, K"):
        Subspace(good.nodes[1:], good.noise, BOX, 2.0, RADIUS)
    with pytest.raises(ValueError, match="a positive noise variance for each of 7 shells"):
        Subspace(good.nodes, -good.noise, BOX, 2.0, RADIUS)
    with pytest.raises(ValueError, match="a subspace's volumes must be finite"):
        Subspace(good.nodes * torch.nan, good.noise, BOX, 2.0, RADIUS)
    with pytest.raises(ValueError, match="a mean and at least one more volume"):
        Subspace.of_volumes(torch.zeros(1, BOX, BOX, BOX), 2.0, RADIUS, 1.0)
    with pytest.raises(ValueError, match="rank must be from 1 to 3, found 4"):
        good.truncated(4)

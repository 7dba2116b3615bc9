from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor

from cryo_disentangle.decoders import elastic_network
from cryo_disentangle.decoders.elastic_network import elastic_network_modes, neighbour_distance
from tests.helpers import shared


def _blob(count: int, seed: int = 0) -> Tensor:
    """Atoms in a box at about one for every 27 Å^3."""
    generator = torch.Generator().manual_seed(seed)
    side = round(count ** (1 / 3)) + 1
    grid = torch.cartesian_prod(*[torch.arange(side, dtype=torch.float64)] * 3)[:count]
    return 3 * grid + torch.rand(count, 3, generator=generator, dtype=torch.float64)


def _hessian(x: Tensor, cutoff: float, power: float) -> Tensor:
    """Second derivatives of the springs' energy, by autograd."""
    i, j = torch.triu_indices(len(x), len(x), 1)
    rest = (x[i] - x[j]).norm(dim=1)
    near = rest < cutoff
    i, j, rest = i[near], j[near], rest[near]

    def energy(flat: Tensor) -> Tensor:
        moved = flat.view(-1, 3)
        length = (moved[i] - moved[j]).norm(dim=1)
        return 0.5 * (rest**-power * (length - rest).square()).sum()

    return torch.autograd.functional.hessian(energy, x.flatten())


@pytest.mark.parametrize("power", [0.0, 2.0])
@pytest.mark.parametrize("count", [30, 150])
def test_modes_are_those_of_the_energy_by_dense_algebra(count: int, power: float) -> None:
    # 450 degrees of freedom go by shift and invert, 90 by dense algebra.
    x = _blob(count)
    values, vectors = torch.linalg.eigh(_hessian(x, 7.0, power))
    assert values[5].abs() < 1e-8 * values[-1] < values[6]
    modes = elastic_network_modes(x, 8, 7.0, power)
    torch.testing.assert_close(modes.stiffness, values[6:14], rtol=1e-6, atol=0)
    overlap = (modes.displacement.flatten(1) @ vectors[:, 6:14]).diagonal() / count**0.5
    torch.testing.assert_close(overlap.abs(), torch.ones_like(overlap), rtol=0, atol=1e-6)


@pytest.mark.parametrize("blocks", [10_000, 20])
def test_modes_are_orthogonal_of_unit_rmsd_and_without_rigid_motion(
    monkeypatch: pytest.MonkeyPatch, blocks: int
) -> None:
    monkeypatch.setattr(elastic_network, "_MOST_FREE_ATOMS", blocks)
    monkeypatch.setattr(elastic_network, "_MOST_BLOCKS", blocks)
    x = _blob(200)
    u, stiffness = elastic_network_modes(x, 12, 7.0)
    gram = u.flatten(1) @ u.flatten(1).T / len(x)
    torch.testing.assert_close(gram, torch.eye(12).double(), rtol=0, atol=1e-6)
    assert (stiffness.diff() >= 0).all()
    centred = x - x.mean(0)
    assert u.mean(1).abs().max() < 1e-6
    assert torch.linalg.cross(centred.expand_as(u), u).mean(1).abs().max() < 1e-5


def test_modes_of_rigid_blocks_span_the_softest_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    x = _adenylate_kinase()[0]
    exact = elastic_network_modes(x, 4, 6.0).displacement.flatten(1) / len(x) ** 0.5
    monkeypatch.setattr(elastic_network, "_MOST_FREE_ATOMS", 1000)
    monkeypatch.setattr(elastic_network, "_MOST_BLOCKS", 256)
    blocks = elastic_network_modes(x, 10, 6.0).displacement.flatten(1) / len(x) ** 0.5
    assert torch.linalg.svdvals(exact @ blocks.T).min() > 0.98


@given(st.integers(0, 1000), st.floats(-3, 3))
@settings(max_examples=10)
def test_modes_turn_with_the_structure(seed: int, angle: float) -> None:
    x = _blob(20, seed)
    turn = torch.from_numpy(Rotation.from_rotvec([angle, 0.3, -0.2]).as_matrix())
    first = elastic_network_modes(x, 1, 8.0)
    second = elastic_network_modes(x @ turn.T + 5, 1, 8.0)
    torch.testing.assert_close(first.stiffness, second.stiffness)
    overlap = ((first.displacement @ turn.T) * second.displacement).sum() / len(x)
    gap = elastic_network_modes(x, 2, 8.0).stiffness
    if gap[1] > 1.01 * gap[0]:
        assert overlap.abs() > 1 - 1e-6


def test_the_same_structure_has_the_same_modes() -> None:
    x = _blob(150)
    first, second = (elastic_network_modes(x, 5, 7.0).displacement for _ in range(2))
    assert torch.equal(first, second)


def _adenylate_kinase() -> tuple[Tensor, Tensor, Tensor]:
    """Open and closed structure, superposed, and which atoms are Cα."""
    with np.load(shared("data/adk/adk_two_hinge.npz")) as data:
        opened, closed, name = data["xyz_open"], data["xyz_closed"], data["name"]
    return torch.from_numpy(opened), torch.from_numpy(closed), torch.from_numpy(name == "CA")


@pytest.mark.parametrize(("alpha", "least"), [(True, 0.95), (False, 0.93)])
def test_adenylate_kinase_closes_along_its_softest_modes(alpha: bool, least: float) -> None:
    opened, closed, carbons = _adenylate_kinase()
    if alpha:
        opened, closed = opened[carbons], closed[carbons]
    opened, closed = (x.double() - x.double().mean(0) for x in (opened, closed))
    turn = torch.from_numpy(Rotation.align_vectors(opened.numpy(), closed.numpy())[0].as_matrix())
    change = closed @ turn.T - opened
    modes = elastic_network_modes(opened, 10).displacement
    along = (modes * change).sum((1, 2)) / change.norm() / len(opened) ** 0.5
    assert along.norm() > least


def test_the_unit_of_distance_is_that_of_neighbours() -> None:
    opened, _, carbons = _adenylate_kinase()
    assert 3.7 < neighbour_distance(opened[carbons]) < 3.9
    assert 1.2 < neighbour_distance(opened) < 1.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": _blob(2)}, "a structure of 2 atoms has 0 internal degrees of freedom"),
        ({"count": 85}, "a structure of 30 atoms has 84 internal degrees of freedom, found modes="),
        ({"count": 0}, "found modes=0"),
        ({"cutoff": 0.0}, "the cutoff of an elastic network must be positive, found 0.0"),
        (
            {"positions": torch.cat([_blob(30), _blob(30) + 100])},
            "the elastic network falls into 2 parts at cutoff 7 Å; raise the cutoff",
        ),
        ({"cutoff": 0.5}, "falls into 30 parts at cutoff 0.5 Å"),
        (
            {"positions": _blob(30)[[*range(30), 7]]},
            "atoms 7 and 30 (from 0) are at the same place",
        ),
        (
            {"positions": torch.arange(30.0)[:, None] * torch.tensor([3.0, 0.0, 0.0])},
            "at cutoff 7 Å some internal motion meets no resistance; raise the cutoff",
        ),
    ],
)
def test_bad_networks_are_refused(options: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"positions": _blob(30), "count": 3, "cutoff": 7.0}
    with pytest.raises(ValueError, match=re.escape(message)):
        elastic_network_modes(**(settings | options))

from __future__ import annotations

import pytest
import torch

from cryo_disentangle.physics.atoms import DynamicsAtoms
from cryo_disentangle.physics.frames import DynamicsFrames, DynamicsResidues
from cryo_disentangle.physics.residues import load_residues
from cryo_disentangle.physics.trajectories import open_trajectories
from cryo_disentangle.simulation import AdenylateKinase
from cryo_disentangle.simulation.draws import Draws


def _coordinates(count: int) -> torch.Tensor:
    """Principal components of frames."""
    found = DynamicsFrames().sample(Draws.consecutive((3,), 0, count)).coordinates
    assert found is not None
    return found.float()


def _open_structure() -> torch.Tensor:
    """Components of the open structure, which are not exact: there are 60 of 636."""
    found = open_trajectories()
    displaced = torch.tensor(load_residues().open - found.mean).flatten().float()
    return torch.linalg.lstsq(torch.from_numpy(found.axes).flatten(1).T, displaced).solution


def test_atoms_of_the_open_structure_are_where_its_entry_has_them() -> None:
    atoms, conformation = DynamicsAtoms(), _open_structure()[None]
    found = atoms.centres(conformation)[0]
    alpha = DynamicsResidues().centres(conformation)[0]
    truth = AdenylateKinase().centres(torch.zeros(1, 2))[0]
    missed = (alpha - torch.tensor(load_residues().open).float()).norm(dim=1).square().mean().sqrt()
    assert found.shape == (1656, 3)
    assert missed < 0.6
    assert (found - truth).norm(dim=1).square().mean().sqrt() < 1.5 * missed


def test_residues_are_rigid_and_stand_on_their_alpha_carbons() -> None:
    coordinates = _coordinates(20)
    found = DynamicsAtoms().centres(coordinates)
    before = AdenylateKinase().centres(torch.zeros(1, 2))[0]
    counts = load_residues().electrons
    ends = [0, *torch.tensor(counts).cumsum(0).tolist()]
    electrons = DynamicsAtoms().weights.cumsum(0)
    alpha = DynamicsResidues().centres(coordinates)
    for number in (0, 60, 140, 213):
        rows = (electrons > ends[number]) & (electrons <= ends[number + 1])
        moved, still = found[:, rows], before[rows]
        torch.testing.assert_close(
            torch.cdist(moved, moved),
            torch.cdist(still, still).expand(20, -1, -1),
            atol=2e-3,
            rtol=0,
        )
        handed = torch.linalg.det(moved[:, 1:4] - moved[:, :1])
        torch.testing.assert_close(
            handed, torch.linalg.det(still[1:4] - still[0]).expand(20), atol=2e-2, rtol=0
        )
        to_alpha = (moved - alpha[:, number, None]).norm(dim=2)
        assert to_alpha.amin(1).max() < 1e-3


def test_images_are_those_of_residues_at_low_resolution() -> None:
    coordinates, upright = _coordinates(4), torch.eye(3).expand(4, 3, 3)
    view = (coordinates, upright, torch.zeros(4, 2), 48, 2.4)
    one, other = (m.project(*view).flatten() for m in (DynamicsAtoms(3.0), DynamicsResidues(3.0)))
    assert torch.corrcoef(torch.stack([one, other]))[0, 1] > 0.99
    torch.testing.assert_close(one.sum(), other.sum(), rtol=1e-3, atol=0)


def test_a_width_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="sigma_angstrom must be positive, found -1"):
        DynamicsAtoms(-1.0)

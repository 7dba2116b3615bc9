from __future__ import annotations

import numpy as np
import pytest
import torch

from cryo_disentangle.simulation import AdenylateKinase, adenylate_kinase_path
from cryo_disentangle.structures import read_atoms
from cryo_disentangle.structures.hinges import superpose
from tests.helpers import shared


def rmsd(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.sqrt(((first - second) ** 2).sum(axis=1).mean()))


def test_closed_conformation_is_near_the_real_closed_structure() -> None:
    closed = read_atoms(shared("data/adk/adk_closed.pdb"))
    model = AdenylateKinase().centres(torch.ones(1, 2))[0].double().numpy()
    alpha, core = closed.name == "CA", ~np.isin(closed.residue, [*range(30, 60), *range(122, 160)])
    # Superposed by the core, as the hinges were made.
    rotation, shift = superpose(closed.position[alpha & core], model[alpha & core])
    moved = closed.position @ rotation.T + shift
    assert rmsd(moved[alpha], model[alpha]) == pytest.approx(1.68, abs=0.02)


def test_open_conformation_is_the_open_structure() -> None:
    opened = read_atoms(shared("data/adk/adk_open.pdb"))
    molecule = AdenylateKinase()
    model = molecule.centres(torch.zeros(1, 2))[0].double().numpy()
    np.testing.assert_allclose(model, opened.position, atol=1e-3)
    np.testing.assert_array_equal(molecule.weights.numpy(), opened.element)


def test_the_chain_stays_together_everywhere() -> None:
    opened = read_atoms(shared("data/adk/adk_open.pdb"))
    grid = torch.cartesian_prod(torch.linspace(0, 1, 5), torch.linspace(0, 1, 5))
    alpha = torch.from_numpy(opened.name == "CA")
    steps = AdenylateKinase().centres(grid)[:, alpha].diff(dim=1).norm(dim=-1)
    assert float(steps.max()) < 5.0


@pytest.mark.parametrize("name", ["dims1", "dims2", "gbis_tmd"])
def test_real_paths_lead_from_closed_to_open(name: str) -> None:
    path = adenylate_kinase_path(name)
    assert path.dim == 2
    first, last = np.array(path.points[0]), np.array(path.points[-1])
    np.testing.assert_allclose(first, 1, atol=0.1)
    np.testing.assert_allclose(last, 0, atol=0.35)
    with np.load(shared("data/adk/adk_two_hinge.npz")) as archive:
        np.testing.assert_allclose(path.points, archive[f"path_{name}"], atol=1e-6)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="sigma_angstrom must be positive, found 0"):
        AdenylateKinase(sigma_angstrom=0)
    with pytest.raises(ValueError, match=r"paths of adenylate kinase are dims1, .*, found 'x'"):
        adenylate_kinase_path("x")

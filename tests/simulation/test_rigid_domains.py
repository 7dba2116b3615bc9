from __future__ import annotations

import numpy as np
import pytest
import torch

from cryo_disentangle.simulation import AdenylateKinase, Hinge, RigidDomains
from tests.helpers import shared

DOMAINS = {"NMP": "30-59", "LID": "122-159"}


def found() -> RigidDomains:
    return RigidDomains.from_conformers(
        shared("data/adk/adk_open.pdb"), shared("data/adk/adk_closed.pdb"), DOMAINS
    )


def test_hinges_of_adenylate_kinase_are_found_in_its_two_structures() -> None:
    molecule = found()
    for hinge, known in zip(molecule.hinges, AdenylateKinase().hinges, strict=True):
        cosine = float(np.clip(np.dot(hinge.axis, known.axis), -1, 1))
        assert np.degrees(np.arccos(cosine)) < 1
        assert hinge.angle_deg == pytest.approx(known.angle_deg, abs=1)
        assert hinge.shift == pytest.approx(known.shift, abs=0.05)


def test_molecule_from_the_files_moves_like_the_shipped_one() -> None:
    conformation = torch.rand(8, 2, generator=torch.Generator().manual_seed(0))
    mine = found().centres(conformation)
    shipped = AdenylateKinase().centres(conformation)
    # The origins differ by a constant: centre of mass of the core, and its Cα centre.
    difference = mine - shipped
    assert float((difference - difference[:1, :1]).abs().max()) < 2e-3
    torch.testing.assert_close(found().weights, AdenylateKinase().weights)


def test_given_hinges_are_taken_in_the_files_coordinates() -> None:
    file = shared("data/adk/adk_open.pdb")
    hinges = dict(zip(DOMAINS, AdenylateKinase().hinges, strict=True))
    molecule = RigidDomains.from_structure(file, DOMAINS, hinges)
    conformation = torch.tensor([[0.3, 0.9], [1.0, 0.1]])
    difference = molecule.centres(conformation) - AdenylateKinase().centres(conformation)
    assert float((difference - difference[:1, :1]).abs().max()) < 2e-3
    assert molecule.dim == 2
    # The core's centre of mass is the origin.
    core = molecule.membership.sum(0) == 0
    weights = molecule.weights[core, None]
    centre = (weights * molecule.reference[core]).sum(0) / weights.sum()
    assert float(centre.abs().max()) < 2


def test_bad_arguments_are_refused() -> None:
    file = shared("data/adk/adk_open.pdb")
    hinge = Hinge((0, 0, 1), (0, 0, 0), 30)
    with pytest.raises(
        ValueError,
        match=r"one hinge for each of domains \['LID', 'NMP'\] expected, found \['NMP'\]",
    ):
        RigidDomains.from_structure(file, DOMAINS, {"NMP": hinge})
    with pytest.raises(ValueError, match="domain NMP names residues 300-310"):
        RigidDomains.from_structure(file, {"NMP": "300-310"}, {"NMP": hinge})
    with pytest.raises(ValueError, match="turns by"):
        RigidDomains.from_conformers(file, file, DOMAINS)
    with pytest.raises(ValueError, match="sigma_angstrom must be positive"):
        RigidDomains.from_structure(file, {"NMP": "30-59"}, {"NMP": hinge}, sigma_angstrom=-1)
    with pytest.raises(ValueError, match="three or more residues of the core in common expected"):
        RigidDomains.from_conformers(
            file, shared("data/adk/adk_closed.pdb"), {"A": "1-100", "B": "101-212"}
        )

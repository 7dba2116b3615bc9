from __future__ import annotations

import sys

import numpy as np
import pytest

from cryo_disentangle.physics.collective import hinge_angles
from cryo_disentangle.physics.go_model import TwoBasinModel
from cryo_disentangle.physics.residues import LID, NMP, load_residues


def test_contacts_are_of_one_structure_or_both() -> None:
    contacts, residues = TwoBasinModel().contacts, load_residues()
    first, second = contacts.pairs.T
    for structure, distance in ((residues.open, contacts.open), (residues.closed, contacts.closed)):
        np.testing.assert_allclose(
            np.linalg.norm(structure[first] - structure[second], axis=1), distance
        )
    assert ((second - first) >= 3).all()
    assert np.minimum(contacts.open, contacts.closed).max() < 10
    assert np.abs(contacts.open - contacts.closed)[contacts.rigid].max() <= 0.5
    # Nothing but the closed structure brings NMP and LID together.
    meeting = np.sort(residues.domain[contacts.pairs], axis=1)
    meeting = (meeting == [NMP, LID]).all(1)
    assert meeting.sum() > 3
    assert (contacts.closed_depth >= contacts.open_depth)[meeting].all()


def test_a_deeper_well_changes_the_contacts_of_its_domain_alone() -> None:
    before, after = TwoBasinModel().contacts, TwoBasinModel(nmp_depths=(1.5, 9.0)).contacts
    changed = before.closed_depth != after.closed_depth
    domains = load_residues().domain[before.pairs[changed]]
    assert changed.sum() > 10
    assert (domains == NMP).any(1).all()
    assert not (domains == LID).any()


def test_depths_and_widths_are_checked() -> None:
    with pytest.raises(ValueError, match=r"must be positive, found 0, 10, 8, 0\.5"):
        TwoBasinModel(width_angstrom=0)
    with pytest.raises(ValueError, match="depths must not be negative, found -1"):
        TwoBasinModel(lid_depths=(-1.0, 2.0))


def test_without_openmm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(ImportError, match=r"pip install 'cryo-disentangle\[physics\]'"):
        TwoBasinModel().run(300.0, 1)


def test_energy_is_conserved_without_a_thermostat() -> None:
    mm = pytest.importorskip("openmm")
    integrator = mm.VerletIntegrator(0.01)
    context = mm.Context(
        TwoBasinModel().system(), integrator, mm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(load_residues().open / 10)
    context.setVelocitiesToTemperature(300.0, 1)
    integrator.step(200)
    total, kinetic = [], []
    for _ in range(40):
        integrator.step(25)
        state = context.getState(getEnergy=True)
        kinetic.append(state.getKineticEnergy()._value)
        total.append(kinetic[-1] + state.getPotentialEnergy()._value)
    # Energy goes to and fro between kinetic and potential, and none is made or lost.
    assert np.std(kinetic) > 10
    assert np.std(total) < 0.05 * np.std(kinetic)
    assert abs(np.polyfit(np.arange(40), total, 1)[0]) * 40 < 0.1 * np.std(kinetic)


def test_a_run_comes_again_with_its_seed_and_keeps_the_temperature() -> None:
    pytest.importorskip("openmm")
    model = TwoBasinModel()
    run = model.run(300.0, 20, 20, seed=3)
    assert run.positions.shape == (20, 214, 3)
    np.testing.assert_allclose(run.time[:3], [0.0, 0.8, 1.6])
    np.testing.assert_array_equal(run.positions, model.run(300.0, 20, 20, seed=3).positions)
    assert np.abs(run.positions - model.run(300.0, 20, 20, seed=4).positions).max() > 1
    # Nothing breaks: bonds keep their lengths, the hinges their range.
    chain = np.linalg.norm(np.diff(load_residues().open, axis=0), axis=1)
    stretched = np.linalg.norm(np.diff(run.positions, axis=1), axis=2) - chain
    assert np.abs(stretched).max() < 1.2
    assert stretched.std() == pytest.approx(0.16, abs=0.03)
    angles = hinge_angles(run.positions)
    assert angles.min() > 30
    assert angles.max() < 170
    with pytest.raises(ValueError, match=r"found 300, 0, 250, 40, 0\.5"):
        model.run(300.0, 0)

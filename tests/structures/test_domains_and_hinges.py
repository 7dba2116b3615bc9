from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cryo_disentangle.structures.atoms import Atoms
from cryo_disentangle.structures.domains import select_domains, select_residues, taper
from cryo_disentangle.structures.hinges import find_hinge, superpose


def chain(residues: int) -> Atoms:
    numbers = np.arange(1, residues + 1)
    return Atoms(
        Path("made.pdb"),
        np.zeros((residues, 3)),
        np.full(residues, 6),
        np.full(residues, "A"),
        numbers,
        np.full(residues, "CA"),
        np.full(residues, "GLY"),
        np.full(residues, " "),
        np.full(residues, 6.0),
        np.full(residues, 20.0),
    )


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_superposition_recovers_a_rigid_motion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(6, 3)) * 10
    rotation, shift = Rotation.random(rng=rng).as_matrix(), rng.normal(size=3) * 10
    found, moved = superpose(points, points @ rotation.T + shift)
    np.testing.assert_allclose(found, rotation, atol=1e-8)
    np.testing.assert_allclose(moved, shift, atol=1e-6)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(1, 175), st.floats(-5, 5))
def test_a_screw_is_found(seed: int, angle: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(8, 3)) * 10
    axis = rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    origin = rng.normal(size=3) * 20
    turn = Rotation.from_rotvec(np.radians(angle) * axis).as_matrix()
    hinge = find_hinge("X", points, (points - origin) @ turn.T + origin + shift * axis)
    np.testing.assert_allclose(hinge.axis, axis, atol=1e-5)
    assert hinge.angle_deg == pytest.approx(angle, abs=1e-5)
    assert hinge.shift == pytest.approx(shift, abs=1e-4)
    # The point found is on the axis.
    apart = np.array(hinge.point) - origin
    np.testing.assert_allclose(np.cross(apart, axis), 0, atol=1e-2)


def test_weights_fall_off_on_both_sides_of_a_domains_ends() -> None:
    atoms = chain(20)
    domain = select_domains(atoms, {"X": "8-20"})[0]
    weight = taper(atoms, domain, 3)
    expected = np.clip(0.5 + (np.arange(1, 21) - 7.5) / 6, 0, 1)
    np.testing.assert_allclose(weight, expected, atol=1e-6)  # no ramp at the end of the chain
    np.testing.assert_array_equal(taper(atoms, domain, 0), domain.astype(np.float32))


def test_ranges_name_chains_and_single_residues() -> None:
    atoms = chain(20)
    masks = select_domains(atoms, {"X": "A:3-5, 9", "Y": "12-13"})
    assert select_residues(atoms, "A:").all()
    assert atoms.residue[masks[0]].tolist() == [3, 4, 5, 9]
    assert atoms.residue[masks[1]].tolist() == [12, 13]


def test_bad_domains_are_refused() -> None:
    atoms = chain(20)
    with pytest.raises(
        ValueError, match=r"domain X names residues 30-59, which are not there \(found A:1-20\)"
    ):
        select_domains(atoms, {"X": "30-59"})
    with pytest.raises(ValueError, match="domain X names residues B:3-5"):
        select_domains(atoms, {"X": "B:3-5"})
    with pytest.raises(
        ValueError, match="residue ranges look like 30-59, A:30-59,70 or B:, found 'LID'"
    ):
        select_domains(atoms, {"X": "LID"})
    with pytest.raises(ValueError, match="domains X and Y overlap, at residue A:5"):
        select_domains(atoms, {"X": "3-6", "Y": "5-9"})
    with pytest.raises(ValueError, match="none is left for the core"):
        select_domains(atoms, {"X": "1-20"})
    with pytest.raises(ValueError, match="at least one moving domain"):
        select_domains(atoms, {})


def test_bad_hinges_are_refused() -> None:
    points = np.random.default_rng(0).normal(size=(8, 3))
    with pytest.raises(ValueError, match=r"domain X turns by .* degrees between the conformers"):
        find_hinge("X", points, points + 1)
    with pytest.raises(
        ValueError, match="domain X: three or more residues to fit on expected, found 2"
    ):
        find_hinge("X", points[:2], points[:2])

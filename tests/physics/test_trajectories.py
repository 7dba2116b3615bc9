from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryo_disentangle.physics.collective import hinge_angles
from cryo_disentangle.physics.go_model import Recorded
from cryo_disentangle.physics.residues import load_residues
from cryo_disentangle.physics.trajectories import (
    compress_runs,
    hinges_of,
    open_trajectories,
    write_trajectories,
)

WHOLE = Path(__file__).parent / "whole_frames.npz"


def runs(count: int = 2) -> list[Recorded]:
    """Frames that a few motions and little noise make."""
    residues, generator = load_residues(), np.random.default_rng(0)
    amount = generator.uniform(size=(count, 40, 1, 1))
    positions = residues.open + amount * (residues.closed - residues.open)
    positions += 0.1 * generator.standard_normal(positions.shape)
    energies = generator.standard_normal((count, 40))
    time = 2.5 * np.arange(40)
    return [
        Recorded(p.astype(np.float32), e, time) for p, e in zip(positions, energies, strict=True)
    ]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    found = compress_runs(runs(), (290.0, 310.0), 5)
    file = tmp_path / "frames.npz"
    write_trajectories(file, found)
    again = open_trajectories(file)
    for before, after in zip(found, again, strict=True):
        np.testing.assert_array_equal(before, after)
    assert again.interval_ps == 2.5
    error = again.positions(again.scores[1]) - runs()[1].positions
    # What was added as noise, and rounding.
    assert np.sqrt(np.square(error).sum(2).mean()) < 0.25


def test_a_file_that_lacks_an_array_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "frames.npz"
    np.savez(file, steps=np.zeros((2, 1, 1, 1), np.uint8), mean=np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"frames\.npz: trajectories need .* found no axes"):
        open_trajectories(file)


def test_shipped_frames_are_as_exact_as_said() -> None:
    # Whole frames of each run beside their rows, as make_frames.py leaves them.
    found = open_trajectories()
    assert found.scores.shape[:2] == (5, 5000)
    assert found.kelvin.tolist() == [270.0, 285.0, 300.0, 315.0, 330.0]
    assert found.interval_ps == pytest.approx(6.0)
    with np.load(WHOLE) as archive:
        whole, rows = archive["positions"].astype(np.float64), archive["rows"]
    kept = found.positions(found.scores[:, rows])
    # Sixty components hold the motions; what is left is each bead's own thermal noise.
    error = np.sqrt(np.square(kept - whole).sum(3).mean())
    assert error < 0.6
    np.testing.assert_allclose(hinges_of()[:, rows], hinge_angles(whole), atol=1.5)


def test_shipped_runs_visit_both_structures() -> None:
    residues, angles = load_residues(), hinges_of()
    ends = hinge_angles(np.stack([residues.open, residues.closed]))
    for k in range(2):
        near_open = np.abs(angles[2, :, k] - ends[0, k]) < 5
        near_closed = np.abs(angles[2, :, k] - ends[1, k]) < 5
        assert near_open.mean() > 0.03
        assert near_closed.mean() > 0.03

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryo_disentangle.physics.collective import (
    hinge_angles,
    independent_components,
    principal_components,
    superposed,
)
from cryo_disentangle.physics.residues import CORE, load_residues


def test_hinge_angles_are_those_of_the_open_and_the_closed_structure() -> None:
    # 4AKE and 1AKE; a turn or a shift of the whole changes nothing.
    residues = load_residues()
    both = np.stack([residues.open, residues.closed])
    np.testing.assert_allclose(hinge_angles(both), [[72.7, 144.6], [44.7, 106.4]], atol=0.1)
    moved = both @ Rotation.random(rng=0).as_matrix().T + [3.0, -8.0, 1.0]
    np.testing.assert_allclose(hinge_angles(moved), hinge_angles(both), atol=1e-9)


def test_a_moved_frame_is_put_back() -> None:
    residues = load_residues()
    turns = Rotation.random(4, rng=1).as_matrix()
    frames = residues.open @ turns.mT + np.array([5.0, 1.0, -2.0])
    back = superposed(frames, residues.open, residues.domain == CORE)
    np.testing.assert_allclose(back, np.broadcast_to(residues.open, back.shape), atol=1e-9)
    # The closed structure is superposed on the CORE already.
    closed = superposed(residues.closed[None], residues.open, residues.domain == CORE)
    np.testing.assert_allclose(closed[0], residues.closed, atol=0.02)


def test_principal_components_are_ordered_by_variance() -> None:
    generator = np.random.default_rng(0)
    turn = np.linalg.qr(generator.standard_normal((6, 6)))[0]
    features = generator.standard_normal((20_000, 6)) * [9, 5, 3, 1, 1, 1] @ turn + 4
    found = principal_components(features, 3)
    np.testing.assert_allclose(found.strength, [81, 25, 9], rtol=0.05)
    np.testing.assert_allclose(found(features).var(0), found.strength)
    np.testing.assert_allclose(np.abs(turn[:3] @ found.axes), np.eye(3), atol=0.03)


def test_time_lagged_components_find_what_is_slow_whatever_its_size() -> None:
    generator = np.random.default_rng(0)
    memory = np.array([0.98, 0.9, 0.3])
    runs = []
    for _ in range(2):
        path = np.zeros((20_000, 3))
        steps = generator.standard_normal(path.shape) * np.sqrt(1 - memory**2)
        for now in range(1, len(path)):
            path[now] = memory * path[now - 1] + steps[now]
        runs.append(path * [0.1, 1, 10])
    mixing = generator.standard_normal((3, 3))
    found = independent_components([run @ mixing for run in runs], 5, 2)
    np.testing.assert_allclose(found.strength, memory[:2] ** 5, atol=0.03)
    for k in range(2):
        along = found(runs[0] @ mixing)[:, k]
        assert along.std() == pytest.approx(1, abs=0.1)
        assert abs(np.corrcoef(along, runs[0][:, k])[0, 1]) > 0.99
    with pytest.raises(ValueError, match="longer than the lag of 20000 frames"):
        independent_components(runs, 20_000, 2)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cryo_disentangle.particles.ctf_columns import ctf_from_star
from cryo_disentangle.particles.pickles import read_ctf
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.tables import (
    choose_rows,
    read_array,
    read_ctf_rows,
    read_rotations,
    read_shifts,
)
from tests.helpers import shared


def test_rows_are_drawn_evenly_and_the_same_for_every_table_of_a_length() -> None:
    draws = Draws.consecutive((1,), 0, 30_000)
    rows = choose_rows(draws, 10)
    assert torch.equal(rows, choose_rows(draws, 10))
    counts = torch.bincount(rows, minlength=10)
    assert float((counts - 3000).abs().max()) < 5 * 3000**0.5


def test_ctf_rows_are_read_from_the_usual_files() -> None:
    star = shared("data/cryodrgn_tests/relion31.star")
    np.testing.assert_array_equal(read_ctf_rows(star, ""), ctf_from_star(star))
    pickle = shared("data/cryodrgn_tests/test_ctf.pkl")
    np.testing.assert_array_equal(read_ctf_rows(pickle, ""), read_ctf(pickle))
    cryosparc = shared("data/cryodrgn_tests/cryosparc_P12_J24_001_particles.cs")
    assert read_ctf_rows(cryosparc, "").shape[1] == 9


def test_bad_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.npz"
    np.savez(file, quat=np.eye(3)[None, :, :2], nan=[np.nan], text=["a"], ctf=np.zeros((2, 9)))
    with pytest.raises(FileNotFoundError, match=r"none\.npz: no such file"):
        read_array(tmp_path / "none.npz", "x")
    with pytest.raises(ValueError, match="an array named x expected, found"):
        read_array(file, "x")
    for key in ("nan", "text"):
        with pytest.raises(ValueError, match=f"key '{key}': finite numbers expected"):
            read_array(file, key)
    with pytest.raises(ValueError, match=r"shape \(N, 4\) expected, found \(1, 3, 2\)"):
        read_rotations(file, "quat")
    with pytest.raises(ValueError, match=r"shape \(N, 2\) expected"):
        read_shifts(file, "ctf")
    with pytest.raises(ValueError, match="box size of the CTF is 0, expected 2 to 100000"):
        read_ctf_rows(file, "ctf")

"""Public benchmarks' ground truth, read from minimal files of their layouts."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cryo_disentangle.benchmark.ground_truths import read_cryobench, read_flatiron
from tests.benchmark.conftest import SIDE, STATES, volumes


def test_cryobench(cryobench: Path) -> None:
    truth = read_cryobench(cryobench)
    assert truth.populations == pytest.approx(np.full(STATES, 1 / STATES))
    np.testing.assert_array_equal(truth.volume(10).numpy(), volumes()[10])
    assert truth.state is not None
    known = truth.state
    best = truth.per_image_fsc(lambda row: truth.volume(int(known[row])), range(0, 22, 3))
    assert best == pytest.approx((SIDE / 2 - 1) / SIDE)
    other = truth.per_image_fsc(lambda _: truth.volume(0), range(0, 22, 3))
    assert other < best
    with pytest.raises(ValueError, match="states are known, found none"):
        truth.per_image_fsc(lambda _: truth.volume(0), [])


def test_flatiron(flatiron: Path) -> None:
    truth = read_flatiron(flatiron)
    assert truth.populations == pytest.approx(np.arange(1, STATES + 1) / 66)
    np.testing.assert_array_equal(truth.volume(3).numpy(), volumes()[3])
    np.save(flatiron / "maps.npy", volumes())
    assert read_flatiron(flatiron, "maps.npy").volume(3).equal(truth.volume(3))
    states = [truth.volume(number) for number in range(STATES)]
    weights = truth.populations.tolist()
    assert truth.populations_distance(states, weights) == pytest.approx(0, abs=1e-6)
    lost = truth.populations_distance(states[:-1], weights[:-1])
    assert lost > 0.05
    assert truth.populations_distance([3 * states[0]], [1.0]) > lost
    with pytest.raises(ValueError, match="states are known, found none"):
        truth.per_image_fsc(lambda _: states[0], [0])


def _rewrite(name: str, content: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        if isinstance(content, str):
            path.write_text(content)
        elif path.suffix == ".pt":
            torch.save(content, path)
        else:
            path.write_bytes(pickle.dumps(content))

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            _rewrite("gt_latents.pkl", np.array([0, 11])),
            r"gt_latents\.pkl, row 2: state 11, .* has maps of states 0 to 10",
        ),
        (_rewrite("gt_latents.pkl", np.array([0.5])), "indices must be integers"),
        (lambda folder: (folder / "gt_latents.pkl").unlink(), r"gt_latents\.pkl: no such file"),
        (
            lambda folder: [path.unlink() for path in (folder / "vols/128_org").iterdir()],
            r"128_org: true maps \(\*\.mrc\) expected, found none",
        ),
    ],
)
def test_what_is_wrong_of_cryobench_is_told(
    change: Callable[[Path], None], match: str, cryobench: Path
) -> None:
    change(cryobench)
    with pytest.raises((ValueError, FileNotFoundError), match=match):
        read_cryobench(cryobench)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_rewrite("metadata.csv", "a,b\n1,2\n"), "a column named populations expected, found a, b"),
        (_rewrite("metadata.csv", "populations\n"), "expected, found no rows"),
        (
            _rewrite("metadata.csv", "populations\n1\nx\n"),
            r"row 2: populations must be a number from 0 on, found 'x'",
        ),
        (_rewrite("metadata.csv", "populations\n0\n0\n"), "must have a sum above 0, found 0"),
        (_rewrite("metadata.csv", "populations\n1\n2\n"), r"2 cubes expected, .* \(11, 512\)"),
        (_rewrite("maps_gt_flat.pt", torch.zeros(11, 9)), r"11 cubes expected, .*\(11, 9\)"),
        (_rewrite("maps_gt_flat.pt", {"a": 1}), "expected a tensor, found dict"),
        (_rewrite("maps_gt_flat.pt", "text"), "refused as true maps: it is damaged"),
    ],
)
def test_what_is_wrong_of_flatirons_is_told(
    change: Callable[[Path], None], match: str, flatiron: Path
) -> None:
    change(flatiron)
    with pytest.raises(ValueError, match=match):
        read_flatiron(flatiron)

"""Folders of statistics: whole or not at all, and refused where they make no sense."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.statistics import StatisticsFolder
from cryo_disentangle.statistics.origin import digest_particles
from cryo_disentangle.statistics.writing import StatisticsWriter, write_part
from tests.statistics.synthetic import origin, statistics_of, write
from tests.tiny import write_stack

_STATISTICS = statistics_of(torch.randn(12, 3, generator=torch.Generator().manual_seed(1)))


def _writer(path: Path, **changes: object) -> StatisticsWriter:
    made = origin(12, **changes)
    arrays = (_STATISTICS.index.numpy(), _STATISTICS.half.numpy(), _STATISTICS.rotation.numpy())
    return StatisticsWriter(path, made, *arrays, rank=3)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "statistics", _STATISTICS)
    found = StatisticsFolder.open(tmp_path / "statistics")
    assert found.origin == origin(12, subspace=found.subspace().digest)
    assert len(found) == 12
    assert found.statistics.rank == 3
    for field in fields(_STATISTICS):
        expected = getattr(_STATISTICS, field.name)
        torch.testing.assert_close(getattr(found.statistics, field.name), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["statistics"]


def test_a_part_is_a_folder_of_its_own(tmp_path: Path) -> None:
    whole = write(tmp_path / "statistics", _STATISTICS)
    part = write_part(whole, slice(0, 8), whole.path / "part")
    assert (len(part), part.origin) == (8, whole.origin)
    assert part.subspace().digest == whole.subspace().digest
    torch.testing.assert_close(part.statistics.information, _STATISTICS.information[:8])
    StatisticsFolder.open(whole.path)


def test_an_interrupted_pass_goes_on(tmp_path: Path) -> None:
    rows = torch.arange(5)
    some = _STATISTICS.take(rows)
    _writer(tmp_path / "s").write(rows, some.precision, some.information, some.offset)
    writer = _writer(tmp_path / "s")
    assert writer.missing.tolist() == list(range(5, 12))
    with pytest.raises(ValueError, match="7 of 12 particles have no statistics yet"):
        writer.finish()
    rows = torch.from_numpy(writer.missing)
    rest = _STATISTICS.take(rows)
    writer.write(rows, rest.precision, rest.information, rest.offset)
    torch.testing.assert_close(writer.finish().statistics.precision, _STATISTICS.precision)


def test_a_pass_of_another_origin_starts_anew(tmp_path: Path) -> None:
    rows = torch.arange(5)
    some = _STATISTICS.take(rows)
    _writer(tmp_path / "s").write(rows, some.precision, some.information, some.offset)
    assert len(_writer(tmp_path / "s", subspace="other").missing) == 12


def test_a_finished_folder_is_replaced_whole(tmp_path: Path) -> None:
    write(tmp_path / "s", _STATISTICS)
    write(tmp_path / "s", statistics_of(torch.zeros(6, 2)))
    assert len(StatisticsFolder.open(tmp_path / "s")) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_missing_parent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"cannot write s: folder .* does not exist"):
        _writer(tmp_path / "nowhere" / "s")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": torch.zeros(12, 2, 2)}, r"precision must have shape \(12, 3, 3\)"),
        ({"information": torch.zeros(12)}, r"information must have shape \(N, K\), found \(12,\)"),
        ({"offset": torch.zeros(11)}, r"offset must have shape \(12,\)"),
        ({"information": torch.full((12, 3), torch.nan)}, "row 1: information is not finite"),
        ({"offset": -torch.ones(12)}, "row 1: offset, a squared norm, is negative"),
        ({"precision": torch.ones(12, 3, 3).triu()}, "row 1: precision is not symmetric"),
        ({"precision": -torch.eye(3).expand(12, 3, 3)}, "precision has a negative eigenvalue"),
        ({"half": torch.zeros(12, dtype=torch.int64)}, r"half must be 0 or 1, .* found \[0\]"),
        ({"index": torch.zeros(12, dtype=torch.int64)}, "row 0 of the particle file .* more than"),
        ({"index": torch.arange(12) - 1}, "index must be rows of the particle file"),
    ],
)
def test_statistics_that_are_none_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(_STATISTICS, **changes).check("here")


def test_a_singular_precision_is_one(tmp_path: Path) -> None:
    flat = replace(_STATISTICS, precision=torch.ones(12, 3, 3))
    assert len(write(tmp_path / "s", flat)) == 12


def _break(folder: Path, name: str, how: str) -> None:
    path = folder / name
    if how == "missing":
        path.unlink()
    elif how == "damaged":
        path.write_bytes(b"nothing")
    elif how == "type":
        np.save(path, np.load(path).astype(np.float64))
    else:
        found = json.loads(path.read_text())
        path.write_text(json.dumps(found | json.loads(how)))


@pytest.mark.parametrize(
    ("name", "how", "error", "message"),
    [
        ("half.npy", "missing", FileNotFoundError, "half.npy is missing, a folder of statistics"),
        ("statistics.json", "missing", FileNotFoundError, "is .* a folder of statistics"),
        (
            "offset.npy",
            "damaged",
            ValueError,
            "offset.npy: not an array of statistics: it begins with",
        ),
        ("offset.npy", "type", ValueError, "offset.npy: expected float32, found float64"),
        ("statistics.json", "damaged", ValueError, "expected a JSON object with subspace"),
        ("statistics.json", '{"box_size": null}', ValueError, "expected a JSON object"),
        ("statistics.json", '{"n_particles": 4}', ValueError, "index has row 11 .* 4 particles"),
    ],
)
def test_damaged_folders_are_refused(
    tmp_path: Path, name: str, how: str, error: type[Exception], message: str
) -> None:
    write(tmp_path / "s", _STATISTICS)
    _break(tmp_path / "s", name, how)
    with pytest.raises(error, match=message):
        StatisticsFolder.open(tmp_path / "s")


def test_particles_are_known_by_their_content(tmp_path: Path) -> None:
    files = write_stack(tmp_path / "a", 20)
    names = {"poses": files["poses"], "ctf": files["ctf"]}
    stack = ParticleStack.open(files["particles"], **names)
    moved = tmp_path / "elsewhere.mrcs"
    moved.write_bytes(Path(files["particles"]).read_bytes())
    assert digest_particles(stack) == digest_particles(ParticleStack.open(moved, **names))
    some = ParticleStack.open(moved, **names, indices=np.arange(19))
    assert digest_particles(stack) != digest_particles(some)
    unposed = ParticleStack.open(moved, ctf=files["ctf"])
    assert digest_particles(stack) != digest_particles(unposed)

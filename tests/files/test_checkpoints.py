from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cryo_disentangle.files.checkpoints import read_tensors


class _Command:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_tensors_and_arrays_are_read(tmp_path: Path) -> None:
    content = {"weight": torch.arange(3), "poses": np.eye(3), "epoch": 4}
    torch.save(content, tmp_path / "x.pkl")
    read = read_tensors(tmp_path / "x.pkl", "weights")
    assert read["epoch"] == 4
    assert torch.equal(read["weight"], torch.arange(3))
    np.testing.assert_array_equal(read["poses"], np.eye(3))


def _torch_zip(path: Path, value: object) -> None:
    torch.save({"state_dict": {"w": torch.zeros(2)}, "x": value}, path)


def _torch_legacy(path: Path, value: object) -> None:
    torch.save({"x": value}, path, _use_new_zipfile_serialization=False)


def _plain(protocol: int) -> Callable[[Path, object], None]:
    def write(path: Path, value: object) -> None:
        path.write_bytes(pickle.dumps({"x": value}, protocol))

    return write


@pytest.mark.parametrize("write", [_torch_zip, _torch_legacy, *(map(_plain, range(6)))])
def test_what_carries_code_is_refused_by_name(
    tmp_path: Path, write: Callable[[Path, object], Any]
) -> None:
    marker, path = tmp_path / "ran", tmp_path / "x.ckpt"
    write(path, _Command(marker))
    told = r"x\.ckpt: refused as a checkpoint: it wants to import (posix|os|nt)\.system, and only"
    with pytest.raises(ValueError, match=told) as caught:
        read_tensors(path, "a checkpoint")
    assert not marker.exists()
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"words, not weights", b"PK\x03\x04damaged", b"\x80\x02", pickle.dumps(1)[:-1]]
)
def test_damaged_checkpoints_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.ckpt: refused as weights: it is damaged, truncated"):
        read_tensors(path, "weights")
    torch.save({"w": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"x\.ckpt: refused as weights: it is damaged, truncated"):
        read_tensors(path, "weights")
    torch.save([1], path)
    with pytest.raises(ValueError, match="expected a dictionary, found list"):
        read_tensors(path, "weights")

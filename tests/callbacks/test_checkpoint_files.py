"""A checkpoint that can't be written leaves the one before whole."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from cryo_disentangle.callbacks import AtomicCheckpointIO
from tests.forked import alone


def save_on_full_disk(path: Path) -> None:
    """The kernel refuses files beyond the limit as it refuses any on a full disk: in mid-write."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        AtomicCheckpointIO().save_checkpoint({"weights": torch.ones(100_000)}, path)
    except OSError as error:
        print(error)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "run/checkpoints/last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"weights": torch.arange(3)}, path)
    before = path.read_bytes()
    said = alone(save_on_full_disk, path)
    assert f"cannot write the checkpoint {path} ([Errno 27] File too large)" in said
    assert "resume with --ckpt_path last" in said
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    partial = tmp_path / ".last.ckpt.123.partial"
    partial.touch()
    AtomicCheckpointIO().save_checkpoint({"weights": torch.ones(3)}, tmp_path / "epoch=1.ckpt")
    assert not partial.exists()


def test_lightning_reads_what_is_written(tmp_path: Path) -> None:
    files, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    files.save_checkpoint({"weights": torch.arange(3)}, path)
    assert files.load_checkpoint(path)["weights"].tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="storage_options"):
        files.save_checkpoint({}, path, storage_options={})

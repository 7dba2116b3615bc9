"""A tiny particle stack and runs of the command line on it, for the tests of whole runs."""

from __future__ import annotations

import csv
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cryo_disentangle.cli import main
from cryo_disentangle.files.stacks import MrcsWriter
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.particles.pickles import write_ctf, write_poses
from tests.forked import alone, together

BOX_SIZE, PIXEL_SIZE = 16, 3.5


def write_stack(
    folder: Path, count: int = 60, box_size: int = BOX_SIZE, *, tables: bool = True
) -> dict[str, Any]:
    """Writes two blobs, one of which moves, seen from everywhere; returns the data's options."""
    rng = np.random.default_rng(0)
    rotation = random_rotations(count, generator=torch.Generator().manual_seed(0)).numpy()
    moving = rng.uniform(-1, 1, count)
    shift = rng.uniform(-1, 1, (count, 2)).astype(np.float32)
    axis = (np.arange(box_size) - box_size // 2) * BOX_SIZE / box_size
    images = rng.normal(0, 0.3, (count, box_size, box_size)).astype(np.float32)
    for centre in (np.zeros((count, 3)), np.stack([moving * 3, moving * 0 + 4, moving * 0], 1)):
        seen = np.einsum("nij,nj->ni", rotation[:, :2], centre) - shift
        x, y = (axis[None] - seen[:, i : i + 1] for i in range(2))
        images += np.exp(-(x[:, None, :] ** 2 + y[:, :, None] ** 2) / 4).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    files = {"particles": str(folder / "stack.mrcs")}
    with MrcsWriter(files["particles"], box_size, PIXEL_SIZE) as writer:
        writer.write(images)
    if tables:
        files |= {"poses": str(folder / "poses.pkl"), "ctf": str(folder / "ctf.pkl")}
        write_poses(files["poses"], rotation, shift, box_size)
        row = [box_size, PIXEL_SIZE, 12000, 11000, 30, 300, 2.7, 0.1, 0]
        rows = np.tile(np.array(row, np.float32), (count, 1))
        rows[:, 2:4] += rng.uniform(-2000, 2000, (count, 1))
        write_ctf(files["ctf"], rows)
    return files | {"batch_size": 10, "validation_fraction": 0.2}


def write_config(folder: Path, data: dict[str, Any], **trainer: object) -> Path:
    """Writes ``run.yaml`` of a small model and a run in ``folder/run``."""
    config = {
        "seed_everything": 0,
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 3,
            "log_every_n_steps": 1,
            "num_sanity_val_steps": 0,
            "default_root_dir": str(folder / "run"),
            "enable_model_summary": False,
        }
        | trainer,
        "model": {
            "class_path": "HeterogeneousReconstruction",
            "init_args": {
                "conformation_dim": 2,
                "encoder": {"class_path": "MLPEncoder", "init_args": {"width": 16, "layers": 1}},
                "decoder": {
                    "class_path": "ImplicitDecoder",
                    "init_args": {"width": 16, "layers": 1},
                },
                "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 3e-3}},
            },
        },
        "data": {
            "class_path": "ParticleData",
            "init_args": data
            | {
                "preprocessing": {
                    "class_path": "HartleyPreprocessing",
                    "init_args": {"invert": False},
                }
            },
        },
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def call(*words: str | Path) -> None:
    """Runs a command that must succeed in this process, which imports what it needs but once."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("SLURM_NTASKS", "SLURM_JOB_NAME", "CRYO_DISENTANGLE_TRACEBACK"):
            patch.delenv(name, raising=False)
        # The command puts its words into sys.argv, and seeding leaves variables behind.
        patch.setattr(sys, "argv", list(sys.argv))
        patch.setattr(sys, "path", list(sys.path))
        for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
            patch.setenv(name, "0")
        patch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
        main([str(word) for word in words])


def succeed(*words: str | Path) -> str:
    """Runs a command that must succeed in a process of its own; returns what it printed."""
    return alone(main, [str(word) for word in words])


def succeed_together(*words: str | Path) -> str:
    """Runs a command in two processes, as torchrun does; returns what the first printed."""
    return together(main, [str(word) for word in words])[0]


def read_metrics(folder: Path, name: str) -> list[float]:
    """Values of a metric in the newest metrics.csv of a run, in order of steps."""
    newest = max(
        folder.glob("metrics/version_*/metrics.csv"), key=lambda path: path.stat().st_mtime
    )
    with newest.open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]

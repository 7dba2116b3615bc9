"""Bad input of ``evaluate``, ``report`` and ``export``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.bad_input.runs import LAST, Hostile, saved
from tests.bad_input.workspace import Kind, Spoil, cut, remove, replace, write


def _truth(count: int) -> Spoil:
    def spoil(folder: Path) -> None:
        np.savez(folder / "truth.npz", factors=np.zeros((count, 1)), factor_names=np.array(["a"]))

    return spoil


FINISHED = (
    Kind(
        "evaluate: no words",
        "evaluate",
        "the following arguments are required: RUN (options:",
        ("!",),
    ),
    Kind(
        "evaluate: an unknown option",
        "evaluate",
        "unrecognized arguments: --nothing (options: cryo-disentangle",
        ("--nothing",),
    ),
    Kind("evaluate: no such folder", "evaluate", "absent: no such folder", ("!", "absent")),
    Kind(
        "evaluate: a file for a folder", "evaluate", "run.yaml: no such folder", ("!", "run.yaml")
    ),
    Kind(
        "evaluate: a folder of something else",
        "evaluate",
        "data: neither a run of `cryo-disentangle fit` (config.yaml and",
        ("!", "data"),
    ),
    Kind(
        "evaluate: no configuration",
        "evaluate",
        "run/config.yaml: no such file; without it the model is not known",
        spoil=remove("run/config.yaml"),
    ),
    Kind(
        "evaluate: an empty configuration",
        "evaluate",
        "run/config.yaml: a mapping expected, found NoneType",
        spoil=write("run/config.yaml", ""),
    ),
    Kind(
        "evaluate: a configuration that contains itself",
        "evaluate",
        "run/config.yaml, line 1: an anchor (&name) contains its own alias",
        spoil=write("run/config.yaml", "model: &m {a: *m}\n"),
    ),
    Kind(
        "evaluate: a configuration without a model",
        "evaluate",
        "run/config.yaml: the configuration of a training run with model",
        spoil=write("run/config.yaml", "trainer: {}\n"),
    ),
    Kind(
        "evaluate: an unknown option of the model",
        "evaluate",
        "run/config.yaml: model: HeterogeneousReconstruction: there is no",
        spoil=replace("run/config.yaml", "conformation_dim:", "conformation_dims:"),
    ),
    Kind(
        "evaluate: a model of another size",
        "evaluate",
        "the checkpoint is of a model with other networks: for",
        spoil=replace("run/config.yaml", "conformation_dim: 2", "conformation_dim: 3"),
    ),
    Kind(
        "evaluate: no such epoch",
        "evaluate",
        "run/checkpoints: no checkpoint after 7 epochs, there are some",
        ("--epoch=7",),
    ),
    Kind(
        "evaluate: an epoch of a word",
        "evaluate",
        "argument --epoch: invalid int value: 'x' (options:",
        ("--epoch=x",),
    ),
    Kind(
        "evaluate: a device that is not there",
        "evaluate",
        "--device: cpu, cuda or auto expected, found 'cuda:7'; this",
        ("--device=cuda:7",),
    ),
    Kind(
        "evaluate: an unknown device",
        "evaluate",
        "--device: cpu, cuda or auto expected, found 'abacus'; this",
        ("--device=abacus",),
    ),
    Kind(
        "evaluate: an unknown inference",
        "evaluate",
        "argument --inference: invalid choice: 'guess' (choose from 'run',",
        ("--inference=guess",),
    ),
    Kind(
        "evaluate: a radius of nothing",
        "evaluate",
        "--radius goes with --inference rendering",
        ("--radius=3",),
    ),
    Kind(
        "evaluate: batches of none",
        "evaluate",
        "batch_size must be at least 2, sample at least 12 and resamples 0",
        ("--batch-size=0",),
    ),
    Kind(
        "evaluate: a sample of none",
        "evaluate",
        "batch_size must be at least 2, sample at least 12 and resamples 0",
        ("--sample=0",),
    ),
    Kind(
        "evaluate: fewer resamples than none",
        "evaluate",
        "batch_size must be at least 2, sample at least 12 and resamples 0",
        ("--resamples=-1",),
    ),
    Kind("evaluate: no truth", "evaluate", "absent.npz: no such file", ("--truth=absent.npz",)),
    Kind(
        "evaluate: truth of text",
        "evaluate",
        "run.yaml: labels must be an .npz archive, and the file is none",
        ("--truth=run.yaml",),
    ),
    Kind(
        "evaluate: truth of others",
        "evaluate",
        "truth.npz: 9 rows, expected one for each image: 20",
        ("--truth=truth.npz",),
        _truth(9),
    ),
    Kind(
        "evaluate: no particles",
        "evaluate",
        "absent.mrcs: no such file",
        ("--particles=absent.mrcs",),
    ),
    Kind(
        "evaluate: particles that have gone",
        "evaluate",
        "data/stack.mrcs: no such file",
        spoil=remove("data/stack.mrcs"),
    ),
    Kind(
        "evaluate: a file in the way",
        "evaluate",
        "new: a file is in the way of this folder: choose another folder,",
        spoil=write("new", "in the way"),
    ),
    Kind("report: no such folder", "report", "absent: no such folder", ("!", "absent")),
    Kind(
        "report: a checkpoint cut off",
        "report",
        "run/checkpoints/last.ckpt: refused as a checkpoint: it is",
        spoil=cut(LAST),
    ),
    Kind(
        "report: no such epoch",
        "report",
        "run/checkpoints: no checkpoint after 7 epochs, there are some",
        ("--epoch=7",),
    ),
    Kind(
        "report: a file in the way",
        "report",
        "new: a file is in the way of this folder: choose another folder,",
        spoil=write("new", "in the way"),
    ),
    Kind(
        "export: no folder to write to",
        "export",
        "the following arguments are required: --out (options:",
        ("!", "run"),
    ),
    Kind(
        "export: weights in the folder",
        "export",
        "new is not empty, and what it holds is not overwritten: choose",
        spoil=write("new/weights.pkl", "mine"),
    ),
    Kind(
        "export: an unknown program",
        "export",
        "argument --format: invalid choice: 'nope' (choose from",
        ("--format=nope",),
    ),
    Kind(
        "export: no such folder",
        "export",
        "absent: no such folder",
        ("!", "absent", "--out", "new"),
    ),
    Kind(
        "export: a file in the way",
        "export",
        "new: a file is in the way of this folder: choose another folder,",
        spoil=write("new", "in the way"),
    ),
    Kind(
        "export: a checkpoint that runs code",
        "export",
        "run/checkpoints/last.ckpt: refused as a checkpoint: it wants to",
        spoil=saved(LAST, x=Hostile()),
    ),
)

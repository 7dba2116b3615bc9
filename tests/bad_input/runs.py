"""Checkpoints and folders of runs, for the commands that open them."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import torch

from tests.bad_input.workspace import Kind, Spoil, cut, remove, replace, write

_LAST = "run/checkpoints/last.ckpt"


class _Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


def _saved(name: str, **changes: object) -> Spoil:
    """Changes entries of a checkpoint; None takes one away."""

    def spoil(folder: Path) -> None:
        content = torch.load(folder / name, weights_only=True) | changes
        torch.save(
            {key: value for key, value in content.items() if value is not None}, folder / name
        )

    return spoil


def _copied(folder: Path) -> None:
    shutil.copy(folder / _LAST, folder / "run/checkpoints/last-v1.ckpt")


def _truth(count: int) -> Spoil:
    def spoil(folder: Path) -> None:
        np.savez(folder / "truth.npz", factors=np.zeros((count, 1)), factor_names=np.array(["a"]))

    return spoil


_DAMAGE: tuple[tuple[str, str, Spoil], ...] = (
    ("is not there", "", remove(_LAST)),
    ("is empty", "", write(_LAST, "")),
    ("is cut off", "", cut(_LAST)),
    ("is text", "", write(_LAST, "hello")),
    ("is a pickle", "", write(_LAST, pickle.dumps({"a": 1}))),
    ("runs code", "", _saved(_LAST, more=_Hostile())),
    ("has no weights", "", _saved(_LAST, state_dict=None)),
    ("is of other networks", "", _saved(_LAST, state_dict={"a": torch.zeros(3)})),
    ("is of another box", "", _saved(_LAST, box_size=64)),
    ("is of another model", "", _saved(_LAST, box_size=None)),
)

CHECKPOINTS = tuple(
    Kind(f"{command}: a checkpoint that {name}", command, said, words, spoil)
    for command, words in (
        ("fit", ("!", "--config", "run.yaml", "--ckpt_path", _LAST)),
        ("predict", ()),
        ("evaluate", ()),
    )
    for name, said, spoil in (_DAMAGE[:7] if command == "fit" else _DAMAGE)
    if (command, name) != ("evaluate", "is not there")  # its other checkpoint is taken
)

RUNS = (
    Kind("validate: no run", "validate", "", spoil=remove("run")),
    Kind("test: no run", "test", "", spoil=remove("run")),
    Kind("predict: no run", "predict", "", spoil=remove("run")),
    Kind("predict: several runs", "predict", "", spoil=_copied),
    Kind("predict: last of nothing", "predict", "", ("--ckpt_path=last",), remove("run")),
    Kind("predict: best of a run that has none", "predict", "", ("--ckpt_path=best",)),
    Kind("predict: a folder for a checkpoint", "predict", "", ("--ckpt_path=run",)),
    Kind(
        "predict: latents of another model",
        "predict",
        "",
        ("--prediction.latents=z.txt",),
        write("z.txt", "1 2 3\n"),
    ),
    Kind(
        "predict: latents of words",
        "predict",
        "",
        ("--prediction.latents=z.txt",),
        write("z.txt", "one two\n"),
    ),
    Kind(
        "predict: no latents in the file",
        "predict",
        "",
        ("--prediction.latents=z.txt",),
        write("z.txt", ""),
    ),
    Kind("predict: latents that are not there", "predict", "", ("--prediction.latents=z.txt",)),
    Kind("predict: a file in the way", "predict", "", spoil=write("run/prediction", "x")),
    Kind("evaluate: no words", "evaluate", "", ("!",)),
    Kind("evaluate: an unknown option", "evaluate", "", ("--nothing",)),
    Kind("evaluate: no such folder", "evaluate", "", ("!", "absent")),
    Kind("evaluate: a file for a folder", "evaluate", "", ("!", "run.yaml")),
    Kind("evaluate: a folder of something else", "evaluate", "", ("!", "data")),
    Kind("evaluate: no configuration", "evaluate", "", spoil=remove("run/config.yaml")),
    Kind("evaluate: an empty configuration", "evaluate", "", spoil=write("run/config.yaml", "")),
    Kind(
        "evaluate: a configuration that contains itself",
        "evaluate",
        "",
        spoil=write("run/config.yaml", "model: &m {a: *m}\n"),
    ),
    Kind(
        "evaluate: a configuration without a model",
        "evaluate",
        "",
        spoil=write("run/config.yaml", "trainer: {}\n"),
    ),
    Kind(
        "evaluate: an unknown option of the model",
        "evaluate",
        "",
        spoil=replace("run/config.yaml", "conformation_dim:", "conformation_dims:"),
    ),
    Kind(
        "evaluate: a model of another size",
        "evaluate",
        "",
        spoil=replace("run/config.yaml", "conformation_dim: 2", "conformation_dim: 3"),
    ),
    Kind("evaluate: no such epoch", "evaluate", "", ("--epoch=7",)),
    Kind("evaluate: an epoch of a word", "evaluate", "", ("--epoch=x",)),
    Kind("evaluate: a device that is not there", "evaluate", "", ("--device=cuda:7",)),
    Kind("evaluate: an unknown device", "evaluate", "", ("--device=abacus",)),
    Kind("evaluate: an unknown inference", "evaluate", "", ("--inference=guess",)),
    Kind("evaluate: a radius of nothing", "evaluate", "", ("--radius=3",)),
    Kind("evaluate: batches of none", "evaluate", "", ("--batch-size=0",)),
    Kind("evaluate: a sample of none", "evaluate", "", ("--sample=0",)),
    Kind("evaluate: fewer resamples than none", "evaluate", "", ("--resamples=-1",)),
    Kind("evaluate: no truth", "evaluate", "", ("--truth=absent.npz",)),
    Kind("evaluate: truth of text", "evaluate", "", ("--truth=run.yaml",)),
    Kind("evaluate: truth of others", "evaluate", "", ("--truth=truth.npz",), _truth(9)),
    Kind("evaluate: no particles", "evaluate", "", ("--particles=absent.mrcs",)),
    Kind("evaluate: particles that have gone", "evaluate", "", spoil=remove("data/stack.mrcs")),
    Kind("evaluate: a file in the way", "evaluate", "", spoil=write("new", "in the way")),
    Kind("report: no such folder", "report", "", ("!", "absent")),
    Kind("report: a checkpoint cut off", "report", "", spoil=cut(_LAST)),
    Kind("report: no such epoch", "report", "", ("--epoch=7",)),
    Kind("report: a file in the way", "report", "", spoil=write("new", "in the way")),
    Kind("export: no folder to write to", "export", "", ("!", "run")),
    Kind("export: an unknown program", "export", "", ("--format=nope",)),
    Kind("export: no such folder", "export", "", ("!", "absent", "--out", "new")),
    Kind("export: a file in the way", "export", "", spoil=write("new", "in the way")),
    Kind("export: a checkpoint that runs code", "export", "", spoil=_saved(_LAST, x=_Hostile())),
)

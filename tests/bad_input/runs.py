"""Checkpoints and folders of runs, for the commands that open them."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import torch

from tests.bad_input.workspace import Kind, Spoil, cut, remove, write

LAST = "run/checkpoints/last.ckpt"


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


def saved(name: str, **changes: object) -> Spoil:
    """Changes entries of a checkpoint; None takes one away."""

    def spoil(folder: Path) -> None:
        content = torch.load(folder / name, weights_only=True) | changes
        torch.save(
            {key: value for key, value in content.items() if value is not None}, folder / name
        )

    return spoil


def _copied(folder: Path) -> None:
    shutil.copy(folder / LAST, folder / "run/checkpoints/last-v1.ckpt")


_DAMAGE: tuple[tuple[str, str, Spoil], ...] = (
    ("is not there", "last.ckpt", remove(LAST)),
    ("is empty", "last.ckpt: the file is empty, expected a checkpoint", write(LAST, "")),
    ("is cut off", "last.ckpt: refused as a checkpoint: it is damaged, truncated", cut(LAST)),
    (
        "is text",
        "last.ckpt: refused as a checkpoint: it is damaged, truncated",
        write(LAST, "hello"),
    ),
    (
        "is a pickle",
        "last.ckpt: refused as a checkpoint: it is damaged, truncated",
        write(LAST, pickle.dumps({"a": 1})),
    ),
    ("runs code", "it wants to import posix.system", saved(LAST, more=Hostile())),
    (
        "has no weights",
        "it is not of a training run, since it has no state_dict",
        saved(LAST, state_dict=None),
    ),
    (
        "is of other networks",
        "a model with other networks: for encoder.main.0.weight of shape",
        saved(LAST, state_dict={"a": torch.zeros(3)}),
    ),
    (
        "is of another box",
        "of a model for box size 64, the particles have box size 16",
        saved(LAST, box_size=64),
    ),
    (
        "is of another model",
        "another kind of model than HeterogeneousReconstruction",
        saved(LAST, box_size=None),
    ),
)

CHECKPOINTS = tuple(
    Kind(f"{command}: a checkpoint that {name}", command, said, words, spoil)
    for command, words in (
        ("fit", ("!", "--config", "run.yaml", "--ckpt_path", LAST)),
        ("predict", ()),
        ("evaluate", ()),
    )
    for name, said, spoil in _DAMAGE
    if (command, name) != ("evaluate", "is not there")  # its other checkpoint is taken
)

RUNS = (
    Kind(
        "validate: no run",
        "validate",
        "validate needs a trained model, and run",
        spoil=remove("run"),
    ),
    Kind(
        "test: no run",
        "test",
        "test needs a trained model, and run (trainer.default_root_dir)",
        spoil=remove("run"),
    ),
    Kind(
        "predict: no run",
        "predict",
        "predict needs a trained model, and run (trainer.default_root_dir)",
        spoil=remove("run"),
    ),
    Kind(
        "predict: several runs",
        "predict",
        "run/checkpoints has last-v1.ckpt, last.ckpt: name the one that is",
        spoil=_copied,
    ),
    Kind(
        "predict: last of nothing",
        "predict",
        "predict needs a trained model, and run (trainer.default_root_dir)",
        ("--ckpt_path=last",),
        remove("run"),
    ),
    Kind(
        "predict: best of a run that has none",
        "predict",
        '`.predict(ckpt_path="best")` is set but `ModelCheckpoint` is not',
        ("--ckpt_path=best",),
    ),
    Kind(
        "predict: a folder for a checkpoint",
        "predict",
        "run: a folder, expected a checkpoint",
        ("--ckpt_path=run",),
    ),
    Kind(
        "predict: latents of another model",
        "predict",
        "z.txt: expected 2 coordinates a row, the model's",
        ("--prediction.latents=z.txt",),
        write("z.txt", "1 2 3\n"),
    ),
    Kind(
        "predict: latents of words",
        "predict",
        "z.txt: expected a text file of latents, one a row: could not",
        ("--prediction.latents=z.txt",),
        write("z.txt", "one two\n"),
    ),
    Kind(
        "predict: no latents in the file",
        "predict",
        "z.txt: expected 2 coordinates a row, the model's",
        ("--prediction.latents=z.txt",),
        write("z.txt", ""),
    ),
    Kind(
        "predict: latents that are not there",
        "predict",
        "z.txt: expected a text file of latents, one a row: z.txt not",
        ("--prediction.latents=z.txt",),
    ),
    Kind(
        "predict: an odd box",
        "predict",
        "a volume's box size must be even and at most 16, found 7",
        ("--prediction.volume_box_size=7",),
    ),
    Kind(
        "predict: a box above the model's",
        "predict",
        "a volume's box size must be even and at most 16, found 64",
        ("--prediction.volume_box_size=64",),
    ),
    Kind(
        "predict: a file in the way",
        "predict",
        "cannot write predictions to run/prediction: File exists",
        spoil=write("run/prediction", "x"),
    ),
)

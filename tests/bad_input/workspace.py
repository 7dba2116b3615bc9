"""What bad input is made of: a good stack, a good run, and what each command takes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from tests import tiny

Spoil = Callable[[Path], object]

# Two domains that turn, in a box of 32 pixels.
SIMULATION = Path(__file__).parents[2] / "configs/simulate/two_arm.yaml"


class Kind(NamedTuple):
    """A kind of bad input.

    Attributes:
        name: What is wrong, in words.
        command: Command that meets it.
        said: Part of the sentence that it ends with.
        words: Options after the good ones.
        spoil: Damages the workspace first.
    """

    name: str
    command: str
    said: str
    words: tuple[str, ...] = ()
    spoil: Spoil | None = None


def make(folder: Path) -> None:
    """Makes the good workspace, where nothing has been trained yet."""
    config = tiny.write_config(
        folder,
        tiny.write_stack(folder / "data", count=20),
        max_epochs=1,
        enable_progress_bar=False,
        logger=False,
    )
    table = "data_particles\nloop_\n_rlnImageName\n"
    rows = "".join(f"{number + 1}@stack.mrcs\n" for number in range(20))
    (folder / "data/stack.star").write_text(table + rows)
    text = config.read_text().replace(f"{folder}/", "")
    config.write_text(text)
    truth = {"factors": np.zeros((20, 1)), "factor_names": np.array(["bend"])}
    np.savez(folder / "truth.npz", **truth)  # type: ignore[arg-type]
    benchmark = {
        "seeds": [0],
        "held_out": 60,
        "defaults": {"data": {"class_path": "ParticleData"}},
        "datasets": {"arms": {"config": str(SIMULATION), "simulate": {"n_images": 200}}},
        "methods": {"plain": yaml.safe_load(text)["model"] and {"model": _model(text)}},
    }
    (folder / "benchmark.yaml").write_text(yaml.safe_dump(benchmark))


def _model(text: str) -> Any:
    return yaml.safe_load(text)["model"]


def words(kind: Kind) -> Sequence[str]:
    """The command line, run in the workspace; ``!`` first in the words leaves out the good ones."""
    if kind.words[:1] == ("!",):
        return (kind.command, *kind.words[1:])
    root = ("--trainer.default_root_dir", "new")
    good = {
        "fit": ("--config", "run.yaml", *root),
        "validate": ("--config", "run.yaml"),
        "test": ("--config", "run.yaml"),
        "predict": ("--config", "run.yaml"),
        "evaluate": ("run", "--out", "new"),
        "report": ("run", "--out", "new"),
        "export": ("run", "--out", "new"),
        "simulate": ("--config", str(SIMULATION), "--n_images", "20", "--out", "new"),
        "benchmark": ("--config", "benchmark.yaml", "--out", "new"),
        "compare": ("z.npz", "other.npz", "--out", "new"),
        "axes": ("z.npz", "--out", "new"),
        "statistics": (
            "data/stack.mrcs",
            "--poses",
            "data/poses.pkl",
            "--ctf",
            "data/ctf.pkl",
            "--out",
            "new",
        ),
        "select": ("z.npz", "--particles", "data/stack.star", "--out", "new.star"),
    }
    return (kind.command, *good.get(kind.command, ()), *kind.words)


def both(*spoils: Spoil) -> Spoil:
    """Does several damages."""

    def spoil(folder: Path) -> None:
        for damage in spoils:
            damage(folder)

    return spoil


def write(name: str, content: str | bytes) -> Spoil:
    """Writes a file."""

    def spoil(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            path.unlink()
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def cut(name: str, share: float = 0.5) -> Spoil:
    """Cuts a file off."""

    def spoil(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return spoil


def remove(name: str) -> Spoil:
    """Removes a file or folder."""

    def spoil(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def replace(name: str, old: str, new: str) -> Spoil:
    """Changes a text file."""

    def spoil(folder: Path) -> None:
        text = (folder / name).read_text()
        if old not in text:
            raise LookupError(f"{name} has no {old}")
        (folder / name).write_text(text.replace(old, new))

    return spoil


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Files with their sizes and times of change."""
    found = (Path(at) / name for at, _, names in os.walk(folder) for name in names)
    stats = {str(path.relative_to(folder)): path.stat() for path in found}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}

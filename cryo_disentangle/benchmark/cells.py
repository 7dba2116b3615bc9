"""What a benchmark runs: stacks of particles, passes over them, and cells, a method on a stack."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from cryo_disentangle.files.paths import replacing

__all__ = ["TRAINING", "Cell", "Pass", "Stack"]

_SETTINGS, _RESULT = "cell.json", "result.json"
TRAINING = "training"


def _stack_folder(out: Path, dataset: str, seed: int) -> Path:
    """Where the particles of a data set and seed lie."""
    return out / "data" / dataset / f"seed_{seed}"


def _statistics_folder(stack: Path) -> Path:
    """Where the statistics of a stack lie."""
    return stack.with_name(f"{stack.name}_statistics")


@dataclass(frozen=True)
class Stack:
    """Particles of a data set, for one seed.

    Attributes:
        dataset: Name of the data set.
        seed: Seed of the cells that use it.
        out: Folder of the benchmark.
        settings: Options of ``cryo-disentangle simulate``.
    """

    dataset: str
    seed: int
    out: Path
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name on the screen."""
        return f"data {self.dataset}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return _stack_folder(self.out, self.dataset, self.seed)

    @property
    def log(self) -> Path:
        """File of what was printed when it was made."""
        return self.folder.with_suffix(".log")

    @property
    def configuration(self) -> Path:
        """Settings that it was made of."""
        return self.folder.with_suffix(".yaml")

    @property
    def is_finished(self) -> bool:
        """Whether all of it is there."""
        return (self.folder / "particles.mrcs").is_file()

    @property
    def is_changed(self) -> bool:
        """Whether what is there, whole or not, was made of other settings."""
        path = self.configuration
        return path.is_file() and path.read_text(encoding="utf-8") != self._text

    @cached_property
    def _text(self) -> str:
        return yaml.safe_dump(dict(self.settings), sort_keys=False)

    def write_configuration(self) -> None:
        """Keeps the settings.

        Raises:
            OSError: If they can't be written.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.configuration) as temporary:
            temporary.write_text(self._text, encoding="utf-8")


@dataclass(frozen=True)
class Pass(Stack):
    """A subspace, and the statistics of a stack's particles in it, which methods share.

    Attributes:
        dataset: Name of the data set.
        seed: Seed of the cells that use it.
        out: Folder of the benchmark.
        settings: Those of the stack (``stack``), options of ``cryo-disentangle statistics``
            (``options``) and the number of particles that are scored (``held_out``).
    """

    @property
    def name(self) -> str:
        """Name on the screen."""
        return f"statistics of {self.dataset}, seed {self.seed}"

    @property
    def stack(self) -> Path:
        """Folder of the particles."""
        return _stack_folder(self.out, self.dataset, self.seed)

    @property
    def folder(self) -> Path:
        """Where the statistics of all particles lie; those of training are in it."""
        return _statistics_folder(self.stack)

    @property
    def is_finished(self) -> bool:
        """Whether all of it is there."""
        return (self.folder / TRAINING).is_dir()


@dataclass(frozen=True)
class Cell:
    """A method on the stack of a data set and seed.

    Attributes:
        method: Name of the method.
        dataset: Name of the data set.
        seed: Seed of stack and trainings.
        out: Folder of the benchmark.
        settings: All that its result depends on, plain data.
    """

    method: str
    dataset: str
    seed: int
    out: Path
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name on the screen."""
        return f"{self.method} on {self.dataset}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Where all that it makes lies."""
        return self.at(self.method)

    def at(self, method: str) -> Path:
        """Folder of another method on the same stack.

        Args:
            method: Its name.

        Returns:
            The folder.
        """
        return self.out / "cells" / method / self.dataset / f"seed_{self.seed}"

    @property
    def stack(self) -> Path:
        """Folder of its particles."""
        return _stack_folder(self.out, self.dataset, self.seed)

    @property
    def statistics(self) -> Path:
        """Folder of its particles' statistics, where the method reads them."""
        return _statistics_folder(self.stack)

    @property
    def ctf(self) -> Path | None:
        """CTF parameters of its particles; None for those made without."""
        path = self.stack / "ctf.pkl"
        return path if path.is_file() else None

    @property
    def log(self) -> Path:
        """File of what was printed."""
        return self.folder / "log.txt"

    @cached_property
    def digest(self) -> str:
        """Names the settings, wherever what others have made lies."""
        named = {name: value for name, value in self.settings.items() if name != "folder"}
        text = json.dumps(named, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def result(self) -> dict[str, Any] | None:
        """Results; None where it is not finished."""
        path = self.folder / _RESULT
        if not path.is_file():
            return None
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    @property
    def is_changed(self) -> bool:
        """Whether what is there, finished or not, is of other settings."""
        path = self.folder / _SETTINGS
        if not path.is_file():
            return self.folder.is_dir() and any(self.folder.iterdir())
        return bool(json.loads(path.read_text(encoding="utf-8"))["digest"] != self.digest)

    def write_settings(self) -> None:
        """Keeps the settings, for the processes that work on the cell.

        Raises:
            OSError: If they can't be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        _write_json(
            self.folder / _SETTINGS,
            {
                "digest": self.digest,
                "method": self.method,
                "dataset": self.dataset,
                "seed": self.seed,
                "out": str(self.out),
                "settings": self.settings,
            },
        )

    def write_result(self, found: Mapping[str, Any]) -> None:
        """Ends the cell.

        Args:
            found: What was found.

        Raises:
            OSError: If it can't be written.
        """
        _write_json(self.folder / _RESULT, {"digest": self.digest, **found})

    @classmethod
    def read(cls, folder: Path) -> Cell:
        """Reads the settings of a cell.

        Args:
            folder: Its folder.

        Returns:
            The cell.

        Raises:
            FileNotFoundError: If there are none.
        """
        known = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        known.pop("digest")
        return cls(**known | {"out": Path(known["out"])})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes plain data whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")

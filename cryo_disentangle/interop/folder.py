"""Which files of a cryoDRGN run's folder belong to an epoch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryo_disentangle.interop.weights import read_weights

__all__ = ["RunFolder", "epochs_done"]

# A line of run.log at the end of an epoch.
_LOGGED = re.compile(r"=====> Epoch: (\d+)")
_NUMBERED = re.compile(r"weights\.(\d+)\.pkl")


@dataclass(frozen=True)
class RunFolder:
    """The files of one epoch.

    Use `RunFolder.at`.

    Attributes:
        path: The folder.
        suffix: What stands before ``.pkl`` in their names: ``.5`` after epoch 5, nothing at the end
            of the run.
    """

    path: Path
    suffix: str

    @classmethod
    def at(cls, folder: str | Path, epoch: int | None = None) -> RunFolder:
        """Finds the files of an epoch.

        Args:
            folder: Folder of the run.
            epoch: The epoch, by cryoDRGN's count; None is the last.

        Returns:
            Its files; of them the weights are there.

        Raises:
            FileNotFoundError: If there is no such folder, or it has no weights of that epoch.
        """
        path = Path(folder)
        if not path.is_dir():
            raise FileNotFoundError(f"{path}: no such folder")
        epochs = _numbered(path)
        if epoch in epochs:
            return cls(path, f".{epoch}")
        final = cls(path, "")
        if final.file("weights").is_file():
            last = epochs_done(path, read_weights(final.file("weights")))
            # A run that was taken up again has later ones than those of its first end.
            later = epoch is None and bool(epochs) and epochs[-1] > last
            if epoch in (None, last) and not later:
                return final
            epochs = sorted({*epochs, last})
        if epoch is None and epochs:
            return cls(path, f".{epochs[-1]}")
        raise _missing(path, epoch, epochs)

    def file(self, kind: str) -> Path:
        """Path of a file of this epoch.

        Args:
            kind: ``weights``, ``z`` or ``pose``.

        Returns:
            Its path, whether or not it exists.
        """
        return self.path / f"{kind}{self.suffix}.pkl"


def epochs_done(folder: Path, weights: Mapping[str, Any]) -> int:
    """Returns the number of epochs that weights have seen.

    Args:
        folder: Folder of the run.
        weights: Content of its ``weights.pkl`` or ``weights.N.pkl``.

    Returns:
        The number in the weights; where there is none, as some programs leave their last
        ones, that of the last epoch in ``run.log``; else 0.
    """
    told, log = weights.get("epoch"), folder / "run.log"
    if told or not log.is_file():
        return int(told or 0)
    text = log.read_text(encoding="utf-8", errors="replace")
    return max((int(epoch) for epoch in _LOGGED.findall(text)), default=0)


def _numbered(folder: Path) -> list[int]:
    """Epochs in the names of files of weights."""
    matches = (_NUMBERED.fullmatch(file.name) for file in folder.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def _missing(folder: Path, epoch: int | None, epochs: list[int]) -> FileNotFoundError:
    wanted = "weights.pkl or weights.N.pkl" if epoch is None else f"weights.{epoch}.pkl"
    found = f"epochs {', '.join(map(str, epochs))}" if epochs else "no weights"
    return FileNotFoundError(f"{folder}: there is no {wanted}, found {found}")

"""The folder of a run: which checkpoint it has, and that no two processes write to it."""

from __future__ import annotations

from pathlib import Path

from cryo_disentangle.files.checkpoints import read_checkpoint

__all__ = ["check_checkpoint", "refuse_other_run", "trained_checkpoint"]

# Words that Lightning finds a checkpoint by.
_NAMES = ("last", "best", "hpc", "registry")


def trained_checkpoint(command: str, root: Path) -> Path:
    """Finds the weights that a command on a trained model takes where none are named.

    Args:
        command: Its name, for the message.
        root: Folder of the run.

    Returns:
        Its ``last.ckpt``.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If there are several.
    """
    folder = root / "checkpoints"
    found = sorted(folder.glob("last*.ckpt"))
    if not found:
        raise FileNotFoundError(
            f"{command} needs a trained model, and {root} (trainer.default_root_dir) holds no run "
            "(no checkpoints/last.ckpt): give --ckpt_path, or the run's folder"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ValueError(f"{folder} has {names}: name the one that is meant with --ckpt_path")
    return found[0]


def check_checkpoint(path: str) -> None:
    """Refuses a checkpoint that can't be read, before anything is made of it.

    Args:
        path: The file, or a word of Lightning.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, of another kind, or would run code.
    """
    if path not in _NAMES and "://" not in path:
        read_checkpoint(Path(path))


def refuse_other_run(root: Path, ckpt_path: str | None) -> None:
    """Refuses a folder that holds another run, whose files would be mixed with this one's.

    Args:
        root: Folder of the run.
        ckpt_path: What training is to go on from; None for a new run, and ``last`` where there is
            none yet.

    Raises:
        FileExistsError: If it has checkpoints that training would not go on from.
    """
    found = sorted((root / "checkpoints").glob("*.ckpt"))
    if ckpt_path == "last" and found and not any(path.name.startswith("last") for path in found):
        raise FileExistsError(
            f"{found[0].parent} has no last.ckpt (checkpoint.save_last), but {found[-1].name}: "
            "name the one to go on from with --ckpt_path, or choose another folder with "
            "--trainer.default_root_dir"
        )
    if ckpt_path is None and found:
        raise FileExistsError(
            f"{root} already holds a run: resume it with --ckpt_path last, or choose another "
            "folder with --trainer.default_root_dir"
        )

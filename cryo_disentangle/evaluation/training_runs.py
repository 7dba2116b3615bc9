"""Runs of ``cryo-disentangle fit``, opened from their configuration and a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning as L
from jsonargparse import ArgumentError, ArgumentParser

# Imported so that classes of the configuration are found by short names.
from cryo_disentangle import (  # noqa: F401
    decoders,
    encoders,
    losses,
    modules,
    particles,
    priors,
    statistics,
)
from cryo_disentangle.evaluation.argument_links import link_data_to_model
from cryo_disentangle.evaluation.runs import DataFiles, FinishedRun
from cryo_disentangle.files.checkpoints import read_checkpoint
from cryo_disentangle.options.sentences import reason
from cryo_disentangle.options.yaml_files import check_configurations, read_mapping

__all__ = ["build", "check_configuration", "is_training_run", "open_training_run"]

_LAST = "last.ckpt"


def is_training_run(folder: Path) -> bool:
    """Returns whether a folder looks like what ``cryo-disentangle fit`` leaves.

    Args:
        folder: Any folder.

    Returns:
        Whether it has a configuration of LightningCLI or checkpoints.
    """
    if (folder / "checkpoints").is_dir():
        return True
    config = folder / "config.yaml"
    return config.is_file() and "model_args" not in read_mapping(config)


def open_training_run(
    folder: Path, epoch: int | None = None, files: DataFiles | None = None
) -> FinishedRun:
    """Builds model and data of a run and loads a checkpoint's weights.

    Args:
        folder: With ``config.yaml`` and ``checkpoints``.
        epoch: Number of epochs done; None takes the newest checkpoint.
        files: Where particles lie now.

    Returns:
        The run.

    Raises:
        FileNotFoundError: If configuration, checkpoint or particles are missing.
        ValueError: If the configuration does not build a model, or the checkpoint is of another.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; without it the model is not known")
    checkpoint_path = _find_checkpoint(folder / "checkpoints", epoch)
    config = read_mapping(path)
    module, data = build(config, path, files or DataFiles())
    checkpoint = read_checkpoint(checkpoint_path)
    kept = checkpoint.get(type(data).__qualname__)
    try:
        if kept is not None:
            data.load_state_dict(kept)
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise ValueError(f"{checkpoint_path}: not of the model of {path}: {error}") from error
    done = int(checkpoint["epoch"]) + 1
    return FinishedRun(
        folder,
        "a run of cryo-disentangle",
        done,
        data,
        module.eval(),
        facts=_facts(config, checkpoint_path),
        optimizer_states=checkpoint.get("optimizer_states", ()),
    )


def _find_checkpoint(folder: Path, epoch: int | None) -> Path:
    """The checkpoint of an epoch, or the newest."""
    found = _by_epoch(folder)
    last = folder / _LAST
    if epoch is None:
        newest = last if last.is_file() else max(found.items(), default=(0, None))[1]
        if newest is None:
            raise FileNotFoundError(f"{folder}: a checkpoint (*.ckpt) expected, found none")
        return newest
    if epoch in found:
        return found[epoch]
    if last.is_file() and int(read_checkpoint(last)["epoch"]) + 1 == epoch:
        return last
    there = ", ".join(str(number) for number in sorted(found)) or "none"
    raise FileNotFoundError(
        f"{folder}: no checkpoint after {epoch} epochs, there are some after: {there} "
        "(epoch=0 in a file's name is after 1)"
    )


def _by_epoch(folder: Path) -> dict[int, Path]:
    """Checkpoints by the number of epochs done; of one epoch the one with most steps."""
    named: dict[tuple[int, int], Path] = {}
    for path in folder.glob("*.ckpt"):
        match = re.search(r"epoch=(\d+)-step=(\d+)", path.name)
        if match:
            named[int(match[1]) + 1, int(match[2])] = path
    return {epoch: named[epoch, step] for epoch, step in sorted(named)}


def check_configuration(config: Mapping[str, Any]) -> None:
    """Refuses a model or data that can't be made, without making them.

    Args:
        config: With ``model`` and ``data`` as ``fit --config`` has them; the data may lack
            ``particles``.

    Raises:
        ValueError: If one of them is missing, or a class or argument is unknown or wrong.
    """
    settings = {name: config[name] for name in ("model", "data") if config.get(name)}
    if "data" in settings:
        data = settings["data"]
        unnamed = {"particles": "particles.star"} | (data.get("init_args") or {})
        settings["data"] = {**data, "init_args": unnamed}
    try:
        _parser().parse_object(settings)
    except ArgumentError as error:
        raise ValueError(reason(error)) from error


def _parser() -> ArgumentParser:
    """Reads model and data of a configuration."""
    check_configurations()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(L.LightningModule, "model", required=True)
    parser.add_subclass_arguments(L.LightningDataModule, "data", required=True)
    link_data_to_model(parser)
    return parser


def build(
    config: dict[str, Any], path: Path, files: DataFiles
) -> tuple[L.LightningModule, L.LightningDataModule]:
    """Makes model and data as a training does.

    Args:
        config: Configuration of the training.
        path: Where it was read from, for messages.
        files: Where particles lie now.

    Returns:
        Model and data.

    Raises:
        ValueError: If the configuration lacks one of them, or does not make it.
    """
    missing = [name for name in ("model", "data") if not isinstance(config.get(name), dict)]
    if missing:
        raise ValueError(
            f"{path}: the configuration of a training run with model and data expected, found no "
            f"{' and no '.join(missing)}"
        )
    parser = _parser()
    # The parser replaces parts of what it is given.
    settings = {name: deepcopy(config[name]) for name in ("model", "data")}
    settings["data"].setdefault("init_args", {}).update(files.given())
    try:
        built = parser.instantiate(parser.parse_object(settings))
    except ArgumentError as error:
        raise ValueError(f"{path}: {reason(error)}") from error
    return built["model"], built["data"]


def _facts(config: dict[str, Any], checkpoint: Path) -> dict[str, str]:
    """What was trained, in words."""
    options = config["model"].get("init_args") or {}
    facts = {"model": _short(config["model"])}
    for name in ("encoder", "decoder", "prior", "pose_head"):
        if options.get(name) is not None:
            facts[name.replace("_", " ")] = _short(options[name])
    penalties = options.get("penalties") or {}
    if penalties:
        facts["penalties"] = ", ".join(
            f"{name} ({_short(penalty)})" for name, penalty in penalties.items()
        )
    else:
        facts["penalties"] = "none"
    facts["checkpoint"] = checkpoint.name
    return facts


def _short(described: Any) -> str:  # noqa: ANN401 - any part of a configuration
    """Name of a class of the configuration."""
    if isinstance(described, dict) and "class_path" in described:
        return str(described["class_path"]).rsplit(".", 1)[-1]
    return str(described)

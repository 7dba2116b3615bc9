"""Commands that train and use models: ``cryo-disentangle fit --config run.yaml`` and its kin."""

from __future__ import annotations

import logging
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

# Imported so that the command line finds their classes by short names.
from cryo_disentangle import (  # noqa: F401
    callbacks,
    decoders,
    encoders,
    losses,
    modules,
    particles,
    priors,
    simulation,
    statistics,
)
from cryo_disentangle.callbacks import (
    AccumulatedGradients,
    AtomicCheckpointIO,
    FinalCheckpoint,
    NonFiniteGuard,
    PredictionWriter,
    SignalCheckpoint,
)
from cryo_disentangle.cli.progress import LossBar
from cryo_disentangle.cli.run_folder import (
    check_checkpoint,
    refuse_other_run,
    trained_checkpoint,
)
from cryo_disentangle.cli.trainer_options import check_trainer, set_schedule_length
from cryo_disentangle.evaluation.argument_links import link_data_to_model
from cryo_disentangle.files.locks import alone_in
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.inspection import inspect_stack
from cryo_disentangle.options.shipped import with_shipped
from cryo_disentangle.options.yaml_files import check_configurations, check_files
from cryo_disentangle.particles import ParticleData, ParticleStack
from cryo_disentangle.statistics import StatisticsData

__all__ = ["fit", "predict", "test", "validate"]

_DEFAULT_RUN = "runs/default"
_DESCRIPTION = (
    "Takes particles (--data), a model (--model) and a Trainer (--trainer), mostly from a file "
    "(--config; cryo-disentangle configs lists those that come with the package). Every key of "
    "the file is an option, too, such as --data.particles, --data.poses, --data.ctf, "
    "--data.labels, --data.batch_size, --model.conformation_dim, --model.penalties. All options "
    "of the particles: --data.help ParticleData, or StatisticsData; of the model: --model.help "
    "SubspaceReconstruction, or HeterogeneousReconstruction."
)
# Titles of what is first in the help; Lightning's sixty options of the Trainer come last.
_TITLES = {
    "data": "particles (all options: --data.help ParticleData)",
    "model": "model (all options: --model.help HeterogeneousReconstruction)",
}
_OF_CHECKPOINTS = (ModelCheckpoint, SignalCheckpoint)


class _SaveConfig(SaveConfigCallback):
    """Keeps the whole configuration of a training run as ``config.yaml`` in its folder."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Writes nothing yet: a checkpoint to resume from may still be refused."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Writes the configuration."""
        if trainer.is_global_zero:
            folder = Path(trainer.default_root_dir)
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / self.config_filename) as temporary:
                self.parser.save(self.config, str(temporary), skip_none=False, overwrite=True)


class _CLI(LightningCLI):
    """LightningCLI with a run folder, ``--trainer.default_root_dir``: all that a run writes.

    Args:
        command: The one command that it parses words of; parsers of the others take as long.
    """

    def __init__(self, command: str, **kwargs: Any) -> None:  # noqa: ANN401 - Lightning's
        self._command = command
        super().__init__(L.LightningModule, L.LightningDataModule, **kwargs)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override] # static in Lightning
        """Returns the command, and arguments of the trainer's method that are no options."""
        return {self._command: LightningCLI.subcommands()[self._command]}

    def _prepare_subcommand_parser(self, *args: Any, **kwargs: Any) -> LightningArgumentParser:  # noqa: ANN401
        """Puts options of the Trainer last in the help, and shortens the usage."""
        parser = super()._prepare_subcommand_parser(*args, **kwargs)
        parser.usage = f"cryo-disentangle {self._command} --config FILE [options]"
        for group in parser._action_groups:
            group.title = _TITLES.get(_about(group), group.title)
        groups: Any = parser._action_groups
        groups.sort(key=lambda group: _about(group) == "trainer")
        return parser

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:  # noqa: ANN401 - jsonargparse's
        """Makes a parser that raises errors, for `main` to say them."""
        return super().init_parser(exit_on_error=False, allow_abbrev=False, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(PredictionWriter, "prediction")
        parser.add_lightning_class_args(SignalCheckpoint, "signals")
        parser.add_lightning_class_args(NonFiniteGuard, "guard")
        parser.set_defaults(
            {
                "trainer.default_root_dir": _DEFAULT_RUN,
                "trainer.log_every_n_steps": 10,
                "checkpoint.save_last": True,
                "checkpoint.filename": "epoch={epoch}-step={step}",
                "checkpoint.auto_insert_metric_name": False,
                "prediction.folder": "",
            }
        )
        root = "trainer.default_root_dir"
        parser.link_arguments(root, "checkpoint.dirpath", lambda folder: f"{folder}/checkpoints")
        link_data_to_model(parser)

    def before_instantiate_classes(self) -> None:
        """Puts what has no place of its own into the run's folder: statistics and predictions."""
        command = self.config["subcommand"]
        options = self.config[command]
        root = options["trainer"]["default_root_dir"]
        data = options["data"].get("init_args") or {}
        if "statistics" in data and data["statistics"] is None:
            data["statistics"] = f"{root}/statistics"
        # What training keeps of its options is true wherever its folder is moved to.
        if command == "predict" and not options["prediction"]["folder"]:
            options["prediction"]["folder"] = f"{root}/prediction"

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:  # noqa: ANN401
        trainer = self._get(self.config_init, "trainer")
        folder = trainer["default_root_dir"]
        if trainer.get("logger") in (None, True):
            kwargs["logger"] = [
                CSVLogger(folder, "metrics"),
                TensorBoardLogger(folder, "tensorboard"),
            ]
        own: list[Any] = [AccumulatedGradients()]
        if trainer.get("enable_progress_bar") is not False:
            own.append(LossBar())
        given = trainer.get("callbacks") or []
        # One alone needs no list.
        given = given if isinstance(given, list) else [given]
        kwargs["callbacks"] = [*given, *own]
        plugins = trainer.get("plugins") or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            kwargs["plugins"] = [*plugins, AtomicCheckpointIO()]
        made = super().instantiate_trainer(**kwargs)
        # After the checkpoint callback, which Lightning takes to be the first.
        made.callbacks.append(FinalCheckpoint())  # type: ignore[attr-defined]
        return made

    def _instantiate_trainer(self, config: Any, extra: list[Any]) -> L.Trainer:  # noqa: ANN401
        """Leaves out what needs a folder of checkpoints where none are to be written."""
        if config.get("enable_checkpointing") is False:
            extra = [part for part in extra if not isinstance(part, _OF_CHECKPOINTS)]
        return super()._instantiate_trainer(config, extra)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:  # noqa: ANN401
        """Finds and checks the weights to begin with, before anything is made."""
        super().parse_arguments(parser, args)
        command = self.config["subcommand"]
        options = self.config[command]
        check_trainer(options["trainer"])
        if command == "fit":
            set_schedule_length(options["trainer"], options["model"].get("init_args") or {})
        if command != "fit" and options.get("ckpt_path") in (None, "last"):
            root = Path(options["trainer"]["default_root_dir"])
            options["ckpt_path"] = str(trained_checkpoint(command, root))
        if options.get("ckpt_path") is not None:
            check_checkpoint(options["ckpt_path"])

    def before_fit(self) -> None:
        """Tells what the particles are, at the start of a run."""
        begun = any(Path(self.trainer.default_root_dir, "checkpoints").glob("*.ckpt"))
        if begun or not self.trainer.is_global_zero:
            return
        if (stack := _stack(self.datamodule)) is not None:
            print(f"{stack.path}\n{inspect_stack(stack)}")

    def after_fit(self) -> None:
        """Tells what was written, and how to go on."""
        if not self.trainer.is_global_zero or self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        root = self.trainer.default_root_dir
        print(
            f"Run: {root} (config.yaml, checkpoints, metrics)\n"
            f"Next: cryo-disentangle evaluate {root}\n"
            f"      cryo-disentangle predict --config {root}/config.yaml"
        )

    def after_predict(self) -> None:
        """Tells what was written, and how to go on."""
        writers = [c for c in _callbacks(self.trainer) if isinstance(c, PredictionWriter)]
        if self.trainer.is_global_zero and writers:
            folder = writers[0].folder
            print(
                f"Predictions: {folder} (z.pkl, latents.npz, volumes)\n"
                f"Next: chimerax {folder}/volumes/vol_*.mrc\n"
                f"      cryo-disentangle report {self.trainer.default_root_dir}"
            )

    def predict(self, **kwargs: Any) -> None:  # noqa: ANN401 - Lightning's
        """Predicts; the results are written, not returned."""
        self.trainer.predict(**kwargs | {"return_predictions": False})

    def fit(self, **kwargs: Any) -> None:  # noqa: ANN401 - Lightning's
        """Trains, alone in the folder of the run."""
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            # Lightning's checkpoint callback would leave a last.ckpt of a trial run, too.
            for callback in self.trainer.checkpoint_callbacks:
                if isinstance(callback, ModelCheckpoint):
                    callback.save_last = False
            self.trainer.fit(**kwargs)
            return
        # All processes of one run write to one folder, of which the first has the lock.
        if not self.trainer.is_global_zero:
            self.trainer.fit(**kwargs)
            return
        root = Path(self.trainer.default_root_dir)
        with alone_in(root, "another process trains here: wait for it, or choose another folder"):
            refuse_other_run(root, kwargs.get("ckpt_path"))
            self.trainer.fit(**kwargs)


def _about(group: Any) -> str:  # noqa: ANN401 - argparse's
    """First part of the name of a group's options."""
    names = [action.dest.partition(".")[0] for action in group._group_actions]
    return names[0] if names else ""


def _callbacks(trainer: L.Trainer) -> list[Any]:
    return list(trainer.callbacks)  # type: ignore[attr-defined]


def _stack(data: L.LightningDataModule | None) -> ParticleStack | None:
    """Particles of files, where they can be opened: statistics outlive their images."""
    try:
        if isinstance(data, StatisticsData):
            return None if data.files is None else data.files.stack()
        return data.stack if isinstance(data, ParticleData) else None
    except (OSError, ValueError):
        return None


def _is_news(record: logging.LogRecord) -> bool:
    """Leaves out what Lightning advertises, and what it says of its own defaults."""
    return not any(word in record.getMessage() for word in ("litlogger", "`weights_only` was not"))


def _run(command: str, words: list[str]) -> None:
    """Runs a command of LightningCLI."""
    # Without workers memory-mapped stacks are read fastest, and how Lightning asks torch's pytree
    # what a leaf is can't be mended here.
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\).*")
    for handler in logging.getLogger("lightning.pytorch").handlers:
        handler.addFilter(_is_news)
    check_configurations()
    words = with_shipped(words)
    check_files(words)
    # Given through sys.argv, for LightningCLI distrusts words that come another way.
    sys.argv[1:] = [command, *words]
    _CLI(
        command,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=_SaveConfig,
        auto_configure_optimizers=False,
        seed_everything_default=0,
        parser_kwargs={"prog": "cryo-disentangle", command: {"description": _DESCRIPTION}},
    )


fit, validate, test, predict = (
    partial(_run, command) for command in ("fit", "validate", "test", "predict")
)

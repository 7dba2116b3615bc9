"""``cryo-disentangle assemble``: a run on statistics becomes a run on images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonargparse
import lightning as L
import yaml
from rich.console import Console

from cryo_disentangle.evaluation.training_runs import open_training_run
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.modules import SubspaceReconstruction
from cryo_disentangle.modules.assembly import assembled
from cryo_disentangle.particles import HartleyPreprocessing, ParticleData
from cryo_disentangle.statistics import StatisticsFolder
from cryo_disentangle.statistics.origin import digest_particles

__all__ = ["assemble_command", "assemble_run"]


def assemble_run(run: Path, out: Path, **files: Path | None) -> None:
    """Writes a run of a model of images that goes on from a run on statistics.

    Args:
        run: Folder of a finished run of `SubspaceReconstruction`.
        out: Folder to be written: ``config.yaml`` and ``checkpoints/last.ckpt``.
        **files: What `ParticleData` takes: ``particles``, ``poses``, ``ctf``, ``labels``,
            ``indices`` and ``datadir``; the particles of the statistics.

    Raises:
        FileExistsError: If ``out`` exists.
        FileNotFoundError: If a file is missing.
        ValueError: If the run is no such one, or the particles are others.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists: choose another folder")
    module = open_training_run(run).module
    if not isinstance(module, SubspaceReconstruction):
        raise ValueError(
            f"{run}: assemble takes a run of SubspaceReconstruction, found one of "
            f"{type(module).__name__}"
        )
    folder = StatisticsFolder.open(module.statistics)
    subspace = folder.subspace()
    preprocessing = HartleyPreprocessing(subspace.invert, None, (0.0, subspace.norm))
    data = ParticleData(**files, preprocessing=preprocessing)  # type: ignore[arg-type]
    if digest_particles(data.stack) != folder.origin.digest:
        raise ValueError(
            f"{files['particles']}: other particles (stack, selection, poses or CTF) than the "
            f"statistics are of, which were made of {folder.origin.particles}"
        )
    made = assembled(module)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    # Without a step, but with the state of an optimiser and the data, which `fit` goes on from.
    trainer.fit(made, data)
    (out / "checkpoints").mkdir(parents=True)
    config = _configuration(module, data, {name: value for name, value in files.items() if value})
    with replacing(out / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    trainer.save_checkpoint(out / "checkpoints/last.ckpt")


def _configuration(
    module: SubspaceReconstruction, data: ParticleData, files: dict[str, Path]
) -> dict[str, Any]:
    """What makes the model of images and its data again."""
    network, subspace = module.encoder, Path(module.statistics, "subspace.pt")
    encoder = {"subspace": str(subspace), "width": network.width, "layers": network.layers}
    decoder = {"rank": module.decoder.rank, "hidden": module.hidden, "layers": module.layers}
    prepared = data.preprocessing
    preprocessing = {"invert": prepared.invert, "window_radius": None, "norm": list(data.norm)}
    return {
        "model": {
            "class_path": "HeterogeneousReconstruction",
            "init_args": {
                "conformation_dim": module.conformation_dim,
                "encoder": {
                    "class_path": "cryo_disentangle.statistics.SubspacePosterior",
                    "init_args": encoder,
                },
                "decoder": {"class_path": "BasisDecoder", "init_args": decoder},
            },
        },
        "data": {
            "class_path": "ParticleData",
            "init_args": {name: str(value) for name, value in files.items()}
            | {
                "preprocessing": {
                    "class_path": "HartleyPreprocessing",
                    "init_args": preprocessing,
                }
            },
        },
    }


def assemble_command(words: Sequence[str]) -> None:
    """Runs ``cryo-disentangle assemble``.

    Args:
        words: Command line without the command's name.

    Raises:
        jsonargparse.ArgumentError: If an option is wrong.
        ValueError: If the run or the particles are wrong.
        OSError: If a file is missing, or the folder exists or can't be written.
        SystemExit: If help was asked for.
    """
    parser = jsonargparse.ArgumentParser(
        prog="cryo-disentangle assemble",
        description="Turns a run on statistics into a run of a model of images with "
        "the same volumes, conformations and mixture, which can be "
        "evaluated, exported and trained further.",
        exit_on_error=False,
    )
    parser.add_argument("run", type=Path, help="Folder of the run on statistics.")
    parser.add_argument("--out", type=Path, required=True, help="Folder to write to.")
    parser.add_argument("--particles", type=Path, required=True, help="The statistics' particles.")
    for name in ("poses", "ctf", "labels", "indices", "datadir"):
        parser.add_argument(f"--{name}", type=Path, help=f"As for ParticleData: {name}.")
    options = parser.parse_args(list(words)).as_dict()
    assemble_run(options.pop("run"), options.pop("out"), **options)
    Console().print("assembled; continue with evaluate, export or fit --ckpt_path", markup=False)

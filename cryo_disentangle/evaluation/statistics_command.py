"""The command ``cryo-disentangle statistics``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonargparse
import torch
from rich.console import Console
from torch import Tensor

from cryo_disentangle.evaluation.by_statistics import volumes_of_run
from cryo_disentangle.evaluation.latent_coefficients import coefficients_of_latents
from cryo_disentangle.evaluation.run_kinds import open_run
from cryo_disentangle.options.sentences import reason
from cryo_disentangle.options.yaml_files import check_configurations, check_files
from cryo_disentangle.particles.ctf import CtfOverrides
from cryo_disentangle.precision import chosen_device
from cryo_disentangle.statistics.making import ParticleRows, make_statistics
from cryo_disentangle.statistics.particle_files import ParticleFiles
from cryo_disentangle.statistics.posterior import Coefficients
from cryo_disentangle.statistics.processes import joined_processes, process
from cryo_disentangle.statistics.settings import SubspaceSettings
from cryo_disentangle.statistics.stages import shown_stages
from cryo_disentangle.statistics.subspace import Subspace

__all__ = ["statistics_command"]


def statistics_command(words: Sequence[str]) -> None:
    """Runs ``cryo-disentangle statistics``.

    Args:
        words: Command line without the command's name.

    Raises:
        jsonargparse.ArgumentError: If an option is wrong.
        ValueError: If the particles are wrong.
        FileExistsError: If the folder exists and is not to be replaced.
        OSError: If a file is missing, or the folder can't be written to.
        SystemExit: If help was asked for.
    """
    check_configurations()
    check_files(words)
    parser = _parser()
    try:
        options = parser.instantiate(parser.parse_args(list(words))).as_dict()
    except ValueError as error:
        raise ValueError(reason(error)) from error
    out: Path = options["out"]
    if out.exists() and not options["overwrite"]:
        raise FileExistsError(f"{out} exists: choose another folder, or give --overwrite")
    device = chosen_device(options["device"])
    names = {field.name for field in fields(SubspaceSettings)}
    settings = SubspaceSettings(**{name: options[name] for name in names})
    with joined_processes(), shown_stages(hidden=process()[0] > 0) as told:
        rows = _particles(options)
        source = _source(options, rows, device)
        folder = make_statistics(rows, out, settings, told, source, device)
    if folder is not None:
        kept = folder.statistics
        Console().print(
            f"{len(kept)} particles in {kept.rank} volumes: {out}", markup=False, soft_wrap=True
        )


def _parser() -> jsonargparse.ArgumentParser:
    """Options of the command."""
    parser = jsonargparse.ArgumentParser(
        prog="cryo-disentangle statistics",
        description="Estimates a mean and a few volumes along which particles vary, and writes the "
        "statistics of each image in them: all that training needs of images with known poses.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="YAML file with any of the options.")
    parser.add_argument(
        "particles", type=Path, help="Particle file: .mrcs, .mrc, .star, .cs or .txt."
    )
    parser.add_argument("--out", type=Path, required=True, help="Folder to write to.")
    parser.add_argument("--poses", type=Path, help="poses.pkl, in place of the file's.")
    parser.add_argument("--ctf", type=Path, help="ctf.pkl, in place of the file's.")
    parser.add_argument("--indices", type=Path, help="0-based selection: .pkl, .npy or .txt.")
    parser.add_argument("--datadir", type=Path, help="Folder of the stacks.")
    parser.add_argument(
        "--alignments", default="alignments3D", help="Fields of a .cs that poses are read from."
    )
    parser.add_class_arguments(CtfOverrides, "optics")
    parser.add_argument(
        "--invert",
        type=bool | None,
        help="Multiply images by -1, as white particles with a CTF need; by default as the "
        "file says, or yes.",
    )
    parser.add_argument("--overwrite", type=bool, default=False, help="Replace the folder.")
    _add_sources(parser)
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... or auto.")
    parser.add_class_arguments(SubspaceSettings)
    return parser


def _add_sources(parser: jsonargparse.ArgumentParser) -> None:
    """Options for a subspace that comes from more than the images."""
    parser.add_argument("--mean", type=Path, help="Map of a mean from elsewhere.")
    parser.add_argument(
        "--components",
        type=Path,
        nargs="+",
        help="Maps of cryoSPARC's 3D variability components or RECOVAR's eigenvolumes.",
    )
    parser.add_argument(
        "--run",
        type=Path,
        help="Finished run, ours or cryoDRGN's, whose decoder's volumes are spanned.",
    )
    parser.add_argument(
        "--latents",
        type=Path,
        help="Finished run of any program, or file of latents, that volumes are fitted to as "
        "polynomials of z.",
    )
    parser.add_argument("--z", help="Which of several latents.")
    parser.add_argument(
        "--degree",
        type=int | None,
        help="Highest degree of the polynomials; by default up to 4, with at most 20 volumes.",
    )


def _particles(options: dict[str, Any]) -> ParticleRows:
    """Opens the particles."""
    names = [field.name for field in fields(ParticleFiles)]
    return ParticleFiles(**{name: options[name] for name in names}).open()


def _source(
    options: dict[str, Any], rows: ParticleRows, device: torch.device
) -> Tensor | Coefficients | None:
    """What the subspace comes from besides the images, if from anything."""
    mean, others, run = options["mean"], options["components"], options["run"]
    latents, maps = options["latents"], mean is not None or bool(others)
    if (run is not None) + maps + (latents is not None) > 1:
        raise ValueError(
            "a subspace comes from --run, from --latents, or from --mean and --components: give "
            "one of them"
        )
    if latents is None and (options["z"] is not None or options["degree"] is not None):
        raise ValueError("--z and --degree go with --latents: give it, too")
    if latents is not None:
        return coefficients_of_latents(
            latents,
            rows,
            options["particles"],
            key=options["z"],
            degree=options["degree"],
            datadir=options["datadir"],
        )
    if run is not None:
        return volumes_of_run(open_run(run), rows.images.stack, device=device)
    if not maps:
        return None
    if mean is None or not others:
        raise ValueError(
            "a subspace from elsewhere is a mean and its components: give both --mean and "
            "--components, or neither"
        )
    stack = rows.images.stack
    return Subspace.of_maps(mean, others, stack.box_size, stack.pixel_size)

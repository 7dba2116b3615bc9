"""The command ``cryo-disentangle simulate``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonargparse

from cryo_disentangle.options.sentences import reason
from cryo_disentangle.options.shipped import with_shipped
from cryo_disentangle.options.yaml_files import check_configurations, check_files
from cryo_disentangle.simulation.simulation import Simulation

__all__ = ["main", "make_simulation"]


def _build_parser() -> jsonargparse.ArgumentParser:
    """Options of the command: where to write, and the arguments of a simulation."""
    parser = jsonargparse.ArgumentParser(
        prog="cryo-disentangle simulate",
        description="Simulates a particle stack whose true factors are known.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="YAML file with any of the options.")
    parser.add_argument("--out", type=Path, required=True, help="Folder to write to.")
    parser.add_argument(
        "--overwrite", action="store_true", help="Replace another simulation in the folder."
    )
    parser.add_class_arguments(Simulation)
    return parser


def make_simulation(settings: Mapping[str, Any]) -> Simulation:
    """Makes a simulation of plain data.

    Args:
        settings: Options of the command but ``out`` and ``overwrite``, as its YAML has them.

    Returns:
        The simulation.

    Raises:
        ValueError: If an option, or what it makes, is wrong.
        OSError: If a file that it names is missing.
    """
    check_configurations()
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Simulation)
    try:
        return Simulation(**parser.instantiate(parser.parse_object(dict(settings))).as_dict())
    except (ValueError, jsonargparse.ArgumentError) as error:
        raise ValueError(reason(error)) from error


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: Command line without the command's name; None takes the process's own.

    Raises:
        jsonargparse.ArgumentError: If an option is wrong.
        ValueError: If what an option makes is wrong.
        OSError: If a file is missing, or the folder can't be written to.
    """
    check_configurations()
    words = with_shipped(sys.argv[1:] if args is None else args, "simulate")
    check_files(words)
    parser = _build_parser()
    parsed = parser.parse_args(words)
    try:
        settings = parser.instantiate(parsed).as_dict()
        out, overwrite = settings.pop("out"), settings.pop("overwrite")
        settings.pop("config")
        simulation = Simulation(**settings)
    except ValueError as error:
        raise ValueError(reason(error)) from error
    simulation.write(out, overwrite)
    print(
        f"{simulation.n_images:,} particles in {out}: particles.star, particles.mrcs, truth.npz, "
        "contact_sheet.png\n"
        f"Next: cryo-disentangle inspect {out}/particles.star\n"
        f"      cryo-disentangle fit --config particles.yaml --data.particles {out}/particles.star "
        f"--data.labels {out}/truth.npz"
    )

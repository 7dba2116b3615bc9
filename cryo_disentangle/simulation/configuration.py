"""Simulations and their parts as plain data, and back: YAML with ``class_path``/``init_args``."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonargparse
import numpy as np
import torch
import yaml

from cryo_disentangle.options.sentences import reason
from cryo_disentangle.options.yaml_files import check_configurations
from cryo_disentangle.simulation.images import SimulatedImages
from cryo_disentangle.simulation.mixing import Mixing
from cryo_disentangle.simulation.molecule import Molecule

__all__ = ["dump_yaml", "load_molecule", "to_configuration"]


def _path(value: object) -> str:
    """Where Python finds the class of an object."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _digest(network: torch.nn.Module) -> str:
    """Names the weights of a network, which are too many for a configuration."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _plain(value: object) -> Any:  # noqa: ANN401
    """Turns a value into what YAML holds."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_configuration(value)
    if isinstance(value, torch.nn.Module):
        return {"class_path": _path(value), "sha256": _digest(value)}
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def to_configuration(part: object) -> dict[str, Any]:
    """Describes a part of a simulation so that the command line can build it again.

    Args:
        part: A dataclass; one made by a class method tells how by its attribute ``origin``, the
            method's name and its arguments.

    Returns:
        ``class_path`` and ``init_args``.

    Raises:
        TypeError: If it is not a dataclass.
    """
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        raise TypeError(
            f"{type(part).__name__} cannot be written to a configuration: parts of a simulation "
            "are dataclasses"
        )
    origin = getattr(part, "origin", None)
    if origin is not None:
        method, arguments = origin
        return {"class_path": f"{_path(part)}.{method}", "init_args": _plain(arguments)}
    arguments = {f.name: getattr(part, f.name) for f in dataclasses.fields(part) if f.init}
    return {"class_path": _path(part), "init_args": _plain(arguments)}


def dump_yaml(configuration: Mapping[str, Any]) -> str:
    """Writes plain data as YAML, keys in the order given.

    Args:
        configuration: Plain data.

    Returns:
        The text.
    """
    return yaml.safe_dump(dict(configuration), sort_keys=False, default_flow_style=None, width=99)


def molecule_yaml(simulation: SimulatedImages) -> str:
    """Describes the density: molecule, mixing and grid.

    Args:
        simulation: The simulation.

    Returns:
        Text that `load_molecule` reads.
    """
    mixing = simulation.mixing
    return dump_yaml(
        {
            "molecule": to_configuration(simulation.molecule),
            "mixing": None if mixing is None else to_configuration(mixing),
        }
    )


def load_molecule(path: Path) -> tuple[Molecule, Mixing | None]:
    """Builds the molecule of a simulation again.

    Args:
        path: ``molecule.yaml`` of a simulation, or its folder.

    Returns:
        The molecule, and the mix of true factors into its coordinates or None.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file does not describe a molecule.
    """
    file = Path(path) / "molecule.yaml" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    check_configurations()
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--molecule", type=Molecule, required=True)
    parser.add_argument("--mixing", type=Mixing | None, default=None)
    try:
        built = parser.instantiate(parser.parse_path(str(file)))
    except jsonargparse.ArgumentError as error:
        raise ValueError(f"{file}: not the description of a molecule: {reason(error)}") from error
    molecule: Molecule = built.molecule
    mixing: Mixing | None = built.mixing
    return molecule, mixing

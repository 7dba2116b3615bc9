"""What a benchmark is made of: data sets, methods and seeds, read from YAML and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryo_disentangle.benchmark.merging import merge, set_key
from cryo_disentangle.options.yaml_files import read_mapping
from cryo_disentangle.simulation import Simulation
from cryo_disentangle.simulation.command import make_simulation

__all__ = ["KINDS", "READINGS", "Benchmark", "DataSet", "Method", "read_benchmark"]

KINDS = ("training", "latents", "cryodrgn", "subspace", "pca", "ica", "axes")
READINGS = ("pca", "ica", "axes")
_PARTS = ("model", "data", "trainer")
_FEWEST_HELD_OUT = 50
# A data set of another seed, and restarts of one cell, shall not share random numbers.
_SEED_STRIDE = 1000


@dataclass(frozen=True)
class DataSet:
    """A simulation.

    Attributes:
        name: What tables call it.
        settings: Options of ``cryo-disentangle simulate``.
        training: What every training on it has, as in ``fit --config``: model, data, trainer.
        statistics: Options of ``cryo-disentangle statistics``; None where no method reads any.
    """

    name: str
    settings: Mapping[str, Any]
    training: Mapping[str, Any]
    statistics: Mapping[str, Any] | None = None

    def with_seed(self, seed: int) -> dict[str, Any]:
        """Settings of the stack of a seed.

        Args:
            seed: Seed of the cell.

        Returns:
            Options of ``cryo-disentangle simulate``.
        """
        own = int(self.settings.get("seed", Simulation.seed))
        return {**self.settings, "seed": own + _SEED_STRIDE * seed}

    @property
    def n_images(self) -> int:
        """Number of particles."""
        return int(self.settings.get("n_images", Simulation.n_images))


@dataclass(frozen=True)
class Method:
    """A way to latents.

    Attributes:
        name: What tables call it.
        kind: One of `KINDS`.
        on: Data sets that it applies to, with what a training has there and not elsewhere.
        training: What its trainings have, as in ``fit --config``: model, data, trainer.
        restarts: Number of trainings, of which the one that reconstructs best counts.
        sees_held_out: Whether it is trained on the particles that are scored, too.
        folder: Where finished latents or runs lie.
        of: Method whose latents are read.
    """

    name: str
    kind: str = "training"
    on: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    restarts: int = 1
    sees_held_out: bool = False
    folder: Path | None = None
    of: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """Methods by data sets by seeds.

    Attributes:
        file: Where it was read from.
        seeds: Seeds of stacks and trainings.
        held_out: Number of particles at the end of each stack that are scored.
        defaults: What every training has: model, data, trainer.
        datasets: By name.
        methods: By name.
    """

    file: Path
    seeds: Sequence[int]
    held_out: int
    defaults: Mapping[str, Any]
    datasets: Mapping[str, DataSet]
    methods: Mapping[str, Method]

    def training(self, method: Method, dataset: DataSet) -> dict[str, Any]:
        """Configuration of a training, without files and seed.

        Args:
            method: The method.
            dataset: The data set.

        Returns:
            Model, data and trainer, as in ``fit --config``.
        """
        merged: dict[str, Any] = {}
        layers = (self.defaults, dataset.training, method.training, method.on[dataset.name])
        for layer in layers:
            merged = merge(merged, layer)
        return merged


def read_benchmark(file: Path, changes: Sequence[str] = ()) -> Benchmark:
    """Reads a benchmark's YAML and checks all that can be checked before anything runs.

    Args:
        file: The file; paths in it are relative to its folder.
        changes: ``key=value`` with dotted keys, laid over the file.

    Returns:
        The benchmark.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a key is unknown, missing, there twice, or has a value that makes no sense.
    """
    settings = read_mapping(file)
    for change in changes:
        set_key(settings, change)
    known = ("seeds", "held_out", "restarts", "defaults", "datasets", "methods")
    _refuse_unknown(settings, known, str(file))
    defaults = _mapping(settings.get("defaults"), f"{file}: defaults")
    _refuse_unknown(defaults, (*_PARTS, "simulate"), f"{file}: defaults")
    simulate = _mapping(defaults.pop("simulate", None), f"{file}: defaults.simulate")
    datasets = {
        name: _data_set(name, found, simulate, file)
        for name, found in _named(settings, "datasets", file).items()
    }
    restarts = _positive(settings.get("restarts", 1), f"{file}: restarts")
    methods = {
        name: _method(name, found, list(datasets), restarts, file)
        for name, found in _named(settings, "methods", file).items()
    }
    methods = {name: _resolve_reading(method, methods, file) for name, method in methods.items()}
    held_out = _held_out(settings.get("held_out", 2000), datasets, file)
    return Benchmark(
        file, _seeds(settings.get("seeds", [0]), file), held_out, defaults, datasets, methods
    )


def _data_set(name: str, given: Any, simulate: Mapping[str, Any], file: Path) -> DataSet:  # noqa: ANN401
    """A data set of the file, whose simulation can be made."""
    where = f"{file}: datasets.{name}"
    found = _mapping(given, where)
    _refuse_unknown(found, ("config", "simulate", "training", "statistics"), where)
    settings: dict[str, Any] = {}
    if found.get("config") is not None:
        settings = read_mapping(file.parent / found["config"])
    for layer in (simulate, _mapping(found.get("simulate"), f"{where}.simulate")):
        settings = merge(settings, layer)
    training = _training(_mapping(found.get("training"), f"{where}.training"), where)
    try:
        make_simulation(settings)
    except (ValueError, OSError) as error:
        raise ValueError(f"{where}: {error}") from error
    statistics = found.get("statistics")
    if statistics is not None:
        statistics = _mapping(statistics, f"{where}.statistics")
    return DataSet(name, settings, training, statistics)


def _method(name: str, given: Any, datasets: list[str], restarts: int, file: Path) -> Method:  # noqa: ANN401
    """A method of the file."""
    where = f"{file}: methods.{name}"
    found = _mapping(given, where)
    kind = found.get("kind", "training")
    if kind not in KINDS:
        raise ValueError(f"{where}: kind must be one of {', '.join(KINDS)}, found {kind!r}")
    on = _on(found.get("on"), datasets, where)
    if kind == "training":
        own = ("restarts", "sees_held_out", *_PARTS)
        _refuse_unknown(found, ("kind", "on", *own), where)
        sees = found.get("sees_held_out", False)
        if not isinstance(sees, bool):
            raise ValueError(f"{where}: sees_held_out must be true or false, found {sees!r}")
        training = {part: found[part] for part in _PARTS if part in found}
        count = _positive(found.get("restarts", restarts), f"{where}.restarts")
        return Method(name, kind, on, _training(training, where), count, sees)
    if kind == "subspace":
        _refuse_unknown(found, ("kind", "on"), where)
        return Method(name, kind, on)
    needed = "of" if kind in READINGS else "folder"
    _refuse_unknown(found, ("kind", "on", needed), where)
    if not isinstance(found.get(needed), str):
        raise ValueError(f"{where}: {needed} expected, found {found.get(needed)!r}")
    if needed == "of":
        named = found.get("on") is not None
        return Method(name, kind, on if named else {}, sees_held_out=True, of=found["of"])
    folder = (file.parent / found["folder"]).resolve()
    return Method(name, kind, on, sees_held_out=True, folder=folder)


def _resolve_reading(method: Method, methods: Mapping[str, Method], file: Path) -> Method:
    """A reading of another method's latents is on that one's data sets."""
    if method.of is None:
        return method
    where = f"{file}: methods.{method.name}"
    read = methods.get(method.of)
    if read is None or read.of is not None:
        trained = [name for name, other in methods.items() if other.of is None]
        raise ValueError(f"{where}: of must be one of {', '.join(trained)}, found {method.of!r}")
    missing = [name for name in method.on if name not in read.on]
    if missing:
        raise ValueError(f"{where}: {method.of} is not on the data set {missing[0]}")
    return Method(
        method.name,
        method.kind,
        method.on or read.on,
        sees_held_out=read.sees_held_out,
        of=method.of,
    )


def _on(given: Any, datasets: list[str], where: str) -> dict[str, dict[str, Any]]:  # noqa: ANN401
    """Data sets of a method, with what is special there."""
    if given is None:
        return {name: {} for name in datasets}
    if isinstance(given, list):
        given = dict.fromkeys(given)
    found = _mapping(given, f"{where}.on")
    for name in found:
        if name not in datasets:
            raise ValueError(f"{where}: on names {name!r}, the data sets are {', '.join(datasets)}")
    return {
        name: _training(_mapping(own, f"{where}.on.{name}"), f"{where}.on.{name}")
        for name, own in found.items()
    }


def _training(found: dict[str, Any], where: str) -> dict[str, Any]:
    """Parts of a training's configuration."""
    _refuse_unknown(found, _PARTS, where)
    return {name: _mapping(part, f"{where}.{name}") for name, part in found.items()}


def _named(settings: Mapping[str, Any], what: str, file: Path) -> dict[str, Any]:
    """Things by names that folders can have."""
    found = _mapping(settings.get(what), f"{file}: {what}")
    if not found:
        raise ValueError(f"{file}: {what}: at least one expected, found none")
    for name in found:
        if not re.fullmatch(r"\w[\w.+-]*", str(name)):
            raise ValueError(
                f"{file}: {what}: names have letters, digits and _ . + - alone, found {name!r}"
            )
    return {str(name): value for name, value in found.items()}


def _mapping(found: Any, where: str) -> dict[str, Any]:  # noqa: ANN401
    """A mapping, or nothing."""
    if found is not None and not isinstance(found, dict):
        raise ValueError(f"{where}: a mapping expected, found {found!r}")
    return dict(found or {})


def _refuse_unknown(found: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Refuses an unknown key."""
    for name in found:
        if name not in known:
            raise ValueError(f"{where}: keys are {', '.join(known)}, found {name!r}")


def _positive(found: Any, where: str) -> int:  # noqa: ANN401
    """A whole number above 0."""
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ValueError(f"{where}: a whole number above 0 expected, found {found!r}")
    return found


def _seeds(found: Any, file: Path) -> list[int]:  # noqa: ANN401
    """Different whole numbers."""
    whole = isinstance(found, list) and all(type(seed) is int and seed >= 0 for seed in found)
    if not whole or not found or len(set(found)) < len(found):
        raise ValueError(f"{file}: seeds: a list of different numbers from 0 on, found {found!r}")
    return list(found)


def _held_out(found: Any, datasets: Mapping[str, DataSet], file: Path) -> int:  # noqa: ANN401
    """Number of particles that are scored, of which each stack has more."""
    count = _positive(found, f"{file}: held_out")
    for name, dataset in datasets.items():
        if not _FEWEST_HELD_OUT <= count < dataset.n_images:
            raise ValueError(
                f"{file}: held_out must be at least {_FEWEST_HELD_OUT} and below the "
                f"{dataset.n_images} particles of {name}, found {count}"
            )
    return count

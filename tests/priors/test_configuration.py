"""Priors can be written in a configuration file."""

from __future__ import annotations

from typing import Any

import pytest
from jsonargparse import ArgumentError, ArgumentParser

from cryo_disentangle.priors import (
    ArrheniusLaw,
    Boltzmann,
    LaplaceTransition,
    LevelTable,
    StandardNormal,
    TemperatureNormal,
)
from cryo_disentangle.protocols import ConformationPrior

_PRIORS = "cryo_disentangle.priors"


def _build(config: dict[str, Any]) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--prior", type=ConformationPrior)
    parsed = parser.parse_object({"prior": config})
    return parser.instantiate(parsed).prior


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("StandardNormal", {}, StandardNormal),
        ("LaplaceTransition", {"rate": 3, "gamma": 1, "symmetric": False}, LaplaceTransition),
        ("LaplaceTransition", {"learnable": True, "conformation_dim": 2}, LaplaceTransition),
        ("Boltzmann", {"conformation_dim": 2, "reference_kelvin": 290}, Boltzmann),
    ],
)
def test_priors_are_built(name: str, arguments: dict[str, Any], expected: type) -> None:
    prior = _build({"class_path": f"{_PRIORS}.{name}", "init_args": arguments})
    assert type(prior) is expected


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("LevelTable", {"conformation_dim": 2, "levels_kelvin": [280, 310]}, LevelTable),
        (
            "ArrheniusLaw",
            {"conformation_dim": 2, "coldest_kelvin": 280, "hottest_kelvin": 310},
            ArrheniusLaw,
        ),
    ],
)
def test_laws_are_built(name: str, arguments: dict[str, Any], expected: type) -> None:
    law = {"class_path": f"{_PRIORS}.{name}", "init_args": arguments}
    prior = _build({"class_path": f"{_PRIORS}.TemperatureNormal", "init_args": {"law": law}})
    assert type(prior) is TemperatureNormal
    assert type(prior.law) is expected
    assert list(prior.parameters())


def test_what_is_no_law_is_refused() -> None:
    law = {"class_path": f"{_PRIORS}.StandardNormal"}
    with pytest.raises(ArgumentError, match="TemperatureLaw"):
        _build({"class_path": f"{_PRIORS}.TemperatureNormal", "init_args": {"law": law}})

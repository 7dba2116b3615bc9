from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml

from cryo_disentangle.simulation import (
    AdenylateKinase,
    Hinge,
    InSolvent,
    LearnedMolecule,
    LinearMixing,
    Microscope,
    RigidDomains,
    ShearMixing,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
    load_molecule,
)
from cryo_disentangle.simulation.configuration import (
    dump_yaml,
    molecule_yaml,
    to_configuration,
)
from cryo_disentangle.simulation.mixing import Mixing
from cryo_disentangle.simulation.molecule import Molecule
from tests.helpers import shared


def described(molecule: Molecule, mixing: Mixing | None = None) -> str:
    process = UniformFactors(molecule.dim, 0.0, 1.0)
    scope = Microscope(UniformViews())
    return molecule_yaml(Simulation(molecule, process, scope, 10, 64, 4.0, mixing))


@pytest.mark.parametrize(
    ("molecule", "mixing"),
    [
        (TwoArms(lengths=[30.0, 20.0, 25.0]), ShearMixing(3, 30.0)),
        (TwoArms(axes=[(0, 0, 1), (1, 1, 0)], directions=[(1, 0, 0), (0, 1, 1)]), None),
        (AdenylateKinase(3.0), LinearMixing(centre=0.5)),
        (InSolvent(TwoArms(), 0.5), None),
    ],
)
def test_a_molecule_is_built_again_from_its_file(
    molecule: TwoArms | AdenylateKinase | InSolvent, mixing: Mixing | None, tmp_path: Path
) -> None:
    (tmp_path / "molecule.yaml").write_text(described(molecule, mixing))
    for path in (tmp_path, tmp_path / "molecule.yaml"):
        again, mixed = load_molecule(path)
        assert isinstance(again, type(molecule))
        assert mixed == mixing
        conformation = torch.rand(3, molecule.dim)
        torch.testing.assert_close(again.centres(conformation), molecule.centres(conformation))


def test_a_molecule_made_from_files_is_built_again(tmp_path: Path) -> None:
    opened = shared("data/adk/adk_open.pdb")
    domains = {"NMP": "30-59", "LID": "122-159"}
    hinges = {"NMP": Hinge((0, 0, 1), (1, 2, 3), 30), "LID": Hinge((0, 1, 0), (0, 0, 0), 20, 1.0)}
    for molecule in (
        RigidDomains.from_structure(opened, domains, hinges),
        RigidDomains.from_conformers(opened, shared("data/adk/adk_closed.pdb"), domains),
    ):
        (tmp_path / "molecule.yaml").write_text(described(molecule))
        again, _ = load_molecule(tmp_path)
        assert isinstance(again, RigidDomains)
        conformation = torch.rand(3, 2)
        torch.testing.assert_close(again.centres(conformation), molecule.centres(conformation))


def test_a_network_is_named_by_its_weights() -> None:
    class Flat(torch.nn.Linear):
        pass

    first, second = Flat(2, 2), Flat(2, 2)
    descriptions = [
        to_configuration(LearnedMolecule(network, 2, 1.0))["init_args"]["decoder"]  # type: ignore[arg-type]
        for network in (first, second, first)
    ]
    assert descriptions[0]["class_path"].endswith("Flat")
    assert descriptions[0] == descriptions[2] != descriptions[1]


def test_yaml_keeps_the_order_of_keys() -> None:
    text = dump_yaml({"b": 1, "a": {"d": [1, 2], "c": None}})
    assert list(yaml.safe_load(text)) == ["b", "a"]
    assert list(yaml.safe_load(text)["a"]) == ["d", "c"]


def test_what_cannot_be_described_or_read_is_refused(tmp_path: Path) -> None:
    class NoDataclass:
        pass

    @dataclass
    class Part:
        value: int = 1

    assert to_configuration(Part())["init_args"] == {"value": 1}
    with pytest.raises(TypeError, match="NoDataclass cannot be written to a configuration"):
        to_configuration(NoDataclass())
    with pytest.raises(FileNotFoundError, match=r"molecule\.yaml: no such file"):
        load_molecule(tmp_path)
    (tmp_path / "molecule.yaml").write_text("molecule: {class_path: json.JSONDecoder}\n")
    with pytest.raises(ValueError, match="not the description of a molecule"):
        load_molecule(tmp_path)

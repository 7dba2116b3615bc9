from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.simulation import load_molecule
from cryo_disentangle.simulation.command import main
from tests.helpers import shared

CONFIGS = Path(__file__).parents[2] / "configs" / "simulate"


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_a_configuration_becomes_a_stack(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    main(["--config", str(CONFIGS / f"{name}.yaml"), "--out", str(out), "--n_images", "60"])
    stack = ParticleStack.open(out / "particles.star")
    truth = np.load(out / "truth.npz")
    assert len(stack) == len(truth["factors"]) == 60
    assert ("temperature" in truth) == (name.startswith("temperature") or name == "adk_dynamics")
    timed = {"time_resolved", "pairs_in_plane", "adk_in_time", "adk_entangled"}
    assert ("time" in truth) == (name in timed)
    # Factors are mixed in all of them but where poses are the question; of dynamics they are
    # angles, and the frames' components move the molecule.
    factors, hinges = truth["factors"], truth["hinges"]
    mixed = factors.shape != hinges.shape or np.abs(factors - hinges).max() > 0.1
    assert mixed == (name != "two_arm_in_plane")
    molecule, _ = load_molecule(out)
    assert molecule.dim == truth["hinges"].shape[1]


def test_a_written_configuration_makes_the_same_stack(tmp_path: Path) -> None:
    config = str(CONFIGS / "two_arm.yaml")
    main(["--config", config, "--out", str(tmp_path / "a"), "--n_images", "40", "--seed", "9"])
    written = tmp_path / "a" / "simulation.yaml"
    main(["--config", str(written), "--out", str(tmp_path / "b")])
    first, second = (
        ParticleStack.open(tmp_path / run / "particles.mrcs").read(np.arange(40)) for run in "ab"
    )
    np.testing.assert_array_equal(first, second)


def test_real_files_and_class_methods_are_named_in_yaml(tmp_path: Path) -> None:
    poses = str(shared("data/poses/empiar_poses_ctf.npz"))
    path = "cryo_disentangle.simulation."
    config = {
        "molecule": {
            "class_path": f"{path}RigidDomains.from_conformers",
            "init_args": {
                "structure": str(shared("data/adk/adk_open.pdb")),
                "target": str(shared("data/adk/adk_closed.pdb")),
                "domains": {"NMP": "30-59", "LID": "122-159"},
            },
        },
        "process": {
            "class_path": f"{path}adenylate_kinase_path",
            "init_args": {"name": "dims1", "spread": 0.02},
        },
        "microscope": {
            "views": {
                "class_path": f"{path}ViewsFromFile",
                "init_args": {"file": poses, "key": "quat_xyzw_10076"},
            },
            "shifts": {
                "class_path": f"{path}ShiftsFromFile",
                "init_args": {"file": poses, "key": "trans_fraction_10076"},
            },
            "ctf": {
                "class_path": f"{path}ContrastTransferFromFile",
                "init_args": {"file": poses, "key": "ctf_10076"},
            },
            "noise": {
                "class_path": f"{path}ColouredNoise.from_file",
                "init_args": {
                    "file": poses,
                    "key": "noise_psd_10076",
                    "spectrum_box_size": 256,
                    "snr": 0.1,
                },
            },
        },
        "n_images": 30,
        "box_size": 64,
        "pixel_size": 1.7,
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    main(["--config", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "out")])
    assert len(ParticleStack.open(tmp_path / "out" / "particles.star")) == 30
    main(["--config", str(tmp_path / "out/simulation.yaml"), "--out", str(tmp_path / "again")])
    first, second = (
        ParticleStack.open(tmp_path / run / "particles.mrcs").read(np.arange(30))
        for run in ("out", "again")
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--microscope.noise.init_args.snr", "0"], "snr must be positive, found 0"),
        (["--pixel_size", "1.0"], "the molecule needs a box of"),
        (["--box_size", "31"], "box_size must be even and positive, found 31"),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=message) as told:
        main(["--config", str(CONFIGS / "two_arm.yaml"), "--out", str(out), *arguments])
    assert len(str(told.value).splitlines()) == 1
    assert not out.exists()


def test_a_folder_in_use_is_refused_and_may_be_overwritten(tmp_path: Path) -> None:
    call = ["--config", str(CONFIGS / "two_arm.yaml"), "--out", str(tmp_path), "--n_images", "10"]
    main(call)
    with pytest.raises(FileExistsError, match="already holds a finished simulation"):
        main(call)
    main([*call, "--overwrite"])

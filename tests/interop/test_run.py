"""Runs of cryoDRGN, opened: the golden models' numbers, every program, and bad folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import torch
from torch import Tensor

from cryo_disentangle.decoders import GaussianEncoding
from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.imaging.observation import Observation
from cryo_disentangle.interop import CryoDRGNRun
from cryo_disentangle.interop.config import read_config
from cryo_disentangle.interop.weights import read_weights
from cryo_disentangle.particles.pickles import read_poses, write_indices, write_latents, write_poses
from cryo_disentangle.types import Pose
from tests import tiny
from tests.helpers import shared
from tests.interop import runs


def assert_near(ours: Any, theirs: Any, tolerance: float = 1e-4) -> None:
    found, expected = (torch.as_tensor(x).detach().double() for x in (ours, theirs))
    assert float((found - expected).abs().max()) < tolerance * float(expected.abs().max())


@pytest.mark.parametrize("name", runs.MODELS)
def test_golden_networks(name: str) -> None:
    folder = shared(f"golden/cryodrgn/{name}")
    run = CryoDRGNRun.open(folder)
    assert (run.epoch, run.box_size, run.conformation_dim) == (2, 32, 3)
    assert run.intensity_scale == pytest.approx(40.3055)
    assert run.learning_rate == pytest.approx(1e-3)
    with np.load(folder / "expected.npz") as archive:
        expected: dict[str, Tensor] = {k: torch.from_numpy(archive[k]) for k in archive.files}
    rotation, z = expected["R"].float(), expected["z"].float()
    assert_near(run.decoder.render(z, rotation, FourierDisc(32)), expected["decoded"].flatten(1))
    with mrcfile.open(folder / "vol.mrc") as file:
        volume = torch.from_numpy(file.data.copy())
    found = run.decoder.volume(expected["vol_z"].float().flatten()) * run.intensity_scale
    assert_near(found, volume)


@pytest.mark.parametrize("name", runs.MODELS)
def test_golden_data_give_the_golden_latents(name: str) -> None:
    data = shared("golden/cryodrgn/dataset")
    run = CryoDRGNRun.open(
        shared(f"golden/cryodrgn/{name}"),
        particles=data / "particles.mrcs",
        poses=data / "poses.pkl",
        ctf=data / "ctf.pkl",
    )
    particles = run.data(batch_size=24)
    batch = next(iter(particles.predict_dataloader()))
    with np.load(shared("golden/cryodrgn/dataset.npz")) as archive:
        assert_near(batch["images"][:8], archive["y_first8"], 1e-5)
        assert_near(batch["translation"], archive["trans_pixels_used"], 1e-5)
    mean, log_variance = run.latents()
    assert log_variance is not None
    seen = Observation.of(batch, FourierDisc(32, 16), 32).phase_flipped()
    assert run.encoder is not None
    for found, theirs in zip(run.encoder(seen), (mean, log_variance), strict=True):
        assert_near(found, theirs)


def test_epochs(tmp_path: Path) -> None:
    run = runs.golden_run(tmp_path)
    for epoch in (1, 3, 10):
        runs.edit_weights(run, epoch)
        write_latents(run / f"z.{epoch}.pkl", np.full((24, 3), float(epoch)))
    assert CryoDRGNRun.open(run, 3).epoch == 3
    assert CryoDRGNRun.open(run, 3).latents()[0][0, 0] == 3
    # weights.pkl is of epoch 2: the run was taken up again afterwards.
    assert CryoDRGNRun.open(run, 2).latents()[1] is not None
    assert CryoDRGNRun.open(run).epoch == 10
    shutil.copyfile(run / "weights.10.pkl", run / "weights.pkl")
    assert CryoDRGNRun.open(run).latents()[1] is not None
    (run / "weights.pkl").unlink()
    assert CryoDRGNRun.open(run).latents()[0][0, 0] == 10


def test_last_weights_without_an_epoch_are_of_the_last_in_the_log(tmp_path: Path) -> None:
    run = runs.golden_run(tmp_path)
    for told in ({}, {"epoch": 0}):
        weights = torch.load(run / "weights.pkl", weights_only=True)
        weights.pop("epoch", None)
        torch.save(weights | told, run / "weights.pkl")
        assert CryoDRGNRun.open(run).epoch == 0
        (run / "run.log").write_text("# =====> Epoch: 1 Average\n# =====> Epoch: 25 Average\n")
        assert CryoDRGNRun.open(run).epoch == CryoDRGNRun.open(run, 25).epoch == 25
        (run / "run.log").unlink()


def test_an_old_configuration() -> None:
    """The keys that were there before version 3, and arrays among the weights."""
    folder = shared("data/cryodrgn_tests")
    config = read_config(folder / "het_config.yaml")
    assert config.networks is not None
    assert config.networks.activation == "relu"
    assert config.images.refined_poses is None
    weights = read_weights(folder / "het_weights.pkl")
    assert weights["search_pose"][0].shape == (100, 3, 3)


def test_old_run_folder(tmp_path: Path) -> None:
    folder = shared("data/cryodrgn_tests")
    shutil.copyfile(folder / "het_config.yaml", tmp_path / "config.yaml")
    shutil.copyfile(folder / "het_weights.pkl", tmp_path / "weights.0.pkl")
    run = CryoDRGNRun.open(tmp_path)
    assert (run.epoch, run.box_size, run.conformation_dim) == (0, 64, 8)
    stack = run.data(particles=folder / "hand.mrcs").stack
    assert (len(stack), stack.rotation) == (100, None)


def test_missing_keys_get_their_defaults(tmp_path: Path) -> None:
    run = runs.golden_run(tmp_path)
    gone: dict[str, Any] = dict.fromkeys(("activation", "feat_sigma", "pe_dim", "tilt_params"))
    unset = dict.fromkeys(("window", "window_r", "keepreal", "do_pose_sgd", "datadir", "ind"))
    runs.edit(run, model_args=gone, dataset_args=unset)
    opened = CryoDRGNRun.open(run)
    assert opened.config.images.window_radius == 0.85
    assert opened.decoder.encoding == GaussianEncoding(0.5, None)


def rotations(run: Path, epoch: int | None = None) -> Any:
    return CryoDRGNRun.open(run, epoch).data().stack.rotation


def test_refined_poses_are_those_of_the_epoch(tmp_path: Path) -> None:
    run = runs.golden_run(tmp_path)
    rotation = np.broadcast_to(np.eye(3, dtype=np.float32), (24, 3, 3))
    write_poses(run / "pose.3.pkl", rotation, np.full((24, 2), 3.3), 32)
    runs.edit_weights(run, 1)
    runs.edit_weights(run, 3)
    # Not told to have been refined, as files of another run may lie about.
    assert not np.allclose(rotations(run), rotation)
    runs.edit(run, dataset_args={"do_pose_sgd": True})
    stack: Any = CryoDRGNRun.open(run).data().stack
    assert np.allclose(stack.rotation, rotation)
    assert np.allclose(stack.translation, 3.3, atol=1e-5)
    # In the first epochs poses are not refined yet.
    assert not np.allclose(rotations(run, 1), rotation)


def test_a_selection(tmp_path: Path) -> None:
    run = runs.golden_run(tmp_path)
    write_indices(tmp_path / "ind.pkl", np.array([5, 2, 9]))
    runs.edit(run, dataset_args={"ind": str(tmp_path / "ind.pkl")})
    whole: Any = read_poses(shared("golden/cryodrgn/dataset/poses.pkl"))[0]
    np.testing.assert_allclose(rotations(run), whole[[5, 2, 9]], atol=1e-6)


def test_train_dec(tmp_path: Path) -> None:
    run = CryoDRGNRun.open(runs.decoder_run(tmp_path))
    assert run.encoder is None
    assert run.config.program == "train_dec"
    whole = CryoDRGNRun.open(shared("golden/cryodrgn/model_fourier"))
    for name, value in whole.decoder.state_dict().items():
        assert torch.equal(run.decoder.state_dict()[name], value)
    mean, log_variance = run.latents()
    assert (mean.shape, log_variance) == ((24, 3), None)


def test_train_nn_has_no_conformations(tmp_path: Path) -> None:
    run = CryoDRGNRun.open(runs.homogeneous_run(tmp_path))
    assert run.conformation_dim == 0
    assert run.decoder.volume(torch.zeros(0)).shape == (32, 32, 32)
    with pytest.raises(ValueError, match="a run without z, as train_nn makes them"):
        run.latents()


def test_abinit(tmp_path: Path) -> None:
    folder = runs.abinit_run(tmp_path)
    run = CryoDRGNRun.open(folder)
    assert (run.epoch, run.encoder, run.conformation_dim) == (4, None, 3)
    assert run.intensity_scale == 40
    with pytest.warns(UserWarning, match=r"pose\.4\.pkl: translations of .* abinit are in pixels"):
        data: Any = run.data()
    assert isinstance(data.poses, Pose)
    with np.load(shared("golden/cryodrgn/dataset.npz")) as archive:
        np.testing.assert_allclose(data.stack.translation, archive["trans_pixels_used"], atol=1e-5)
    # The features in DRGN-AI's order: sines, cosines, conformation.
    state = torch.load(folder / "weights.4.pkl", weights_only=True)["hypervolume_state_dict"]
    point, z = torch.tensor([[[0.1, -0.2, 0.3]]]), torch.tensor([[0.5, -1.0, 2.0]])
    phase = point @ (state["rand_freqs"] * 16).T
    x = torch.cat([phase.sin(), phase.cos(), z[None]], -1)[0]
    x = torch.relu(x @ state["mlp.main.0.weight"].T + state["mlp.main.0.bias"])
    hidden = x @ state["mlp.main.2.linear.weight"].T + state["mlp.main.2.linear.bias"]
    x = torch.relu(x + hidden)
    expected = x @ state["mlp.main.4.weight"].T + state["mlp.main.4.bias"]
    torch.testing.assert_close(run.decoder.evaluate(point, z), expected, rtol=1e-4, atol=1e-4)


Spoil = Callable[[Path], object]


def _without(key: str) -> Spoil:
    return lambda run: runs.edit(run, model_args={key: None})


def _model(**changes: Any) -> Spoil:
    return lambda run: runs.edit(run, model_args=changes)


def _images(**changes: Any) -> Spoil:
    return lambda run: runs.edit(run, dataset_args=changes)


def _truncate(name: str) -> Spoil:
    def spoil(run: Path) -> None:
        raw = (run / name).read_bytes()
        (run / name).write_bytes(raw[: len(raw) // 2])

    return spoil


def _write(name: str, text: str) -> Spoil:
    return lambda run: (run / name).write_text(text)


BAD: list[tuple[Spoil, str]] = [
    (_model(encode_mode="tilt"), "encode_mode tilt is not supported, only resid, mlp"),
    (_model(encode_mode="conv"), "encode_mode conv is not supported"),
    (_model(pe_type="none"), "pe_type none is not supported, only gaussian, geom_ft"),
    (_model(domain="real"), "domain real is not supported"),
    (_model(activation="gelu"), "activation gelu is not supported"),
    (_model(qdim="wide"), "model_args.qdim must be of type int, found 'wide'"),
    (_images(keepreal=True), r"images in real space \(keepreal, --use-real\) are not supported"),
    (_images(ntilts=10), r"tilt series \(ntilts\) are not supported"),
    (_images(norm=[0.0]), r"a mean and a positive standard deviation, found \[0.0\]"),
    (_without("enc_mask"), "model_args has no enc_mask, and there is no default"),
    (_images(norm=None), "dataset_args has no norm, and there is no default"),
    (lambda run: runs.edit(run, lattice_args={"D": 32}), "box size plus one and so odd, found 32"),
    (_model(qdim=32), r"of another network than its configuration describes: encoder\.main\.0\."),
    (_model(zdim=2), r"encoder\.main\.6\.weight should have shape \(4, 64\), found shape \(6, 64"),
    (_model(players=3), r"decoder\.main\.6\.linear\.weight should have shape .* there is none"),
    (_model(qlayers=1), r"encoder\.main\.4\.weight should have shape .* there is none"),
    (_model(pe_type="geom_lowf"), r"which has no decoder\.rand_freqs"),
    (_truncate("weights.pkl"), "weights.pkl: refused as weights: it is damaged, truncated"),
    (_write("weights.pkl", ""), "weights.pkl: the file is empty, expected weights"),
    (lambda run: torch.save({"epoch": 1}, run / "weights.pkl"), "it has no model_state_dict"),
    (_write("config.yaml", "a: [1"), "config.yaml: refused as YAML: while parsing"),
    (_write("config.yaml", "words"), "refused as a configuration of cryoDRGN"),
    (_write("config.yaml", "cmd: [x]"), "expected a section lattice_args of keys and values"),
]


@pytest.mark.parametrize(("spoil", "told"), BAD, ids=[told[:30] for _, told in BAD])
def test_runs_that_are_refused(spoil: Spoil, told: str, tmp_path: Path) -> None:
    run = runs.golden_run(tmp_path)
    spoil(run)
    with pytest.raises(ValueError, match=told):
        CryoDRGNRun.open(run)


def test_missing_files_and_epochs(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.yaml: no such file, so there is no cryo"):
        CryoDRGNRun.open(tmp_path)
    run = runs.golden_run(tmp_path)
    runs.edit_weights(run, 1)
    with pytest.raises(FileNotFoundError, match=r"no weights\.7\.pkl, found epochs 1, 2"):
        CryoDRGNRun.open(run, 7)
    for file in run.glob("weights*.pkl"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match=r"no weights.pkl or weights.N.pkl, found no weigh"):
        CryoDRGNRun.open(run)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    run = runs.golden_run(tmp_path)
    torch.save({"model_state_dict": {}, "command": shutil.rmtree}, run / "weights.pkl")
    with pytest.raises(ValueError, match=r"it wants to import shutil\.rmtree, and only"):
        CryoDRGNRun.open(run)


def test_data_that_lie_elsewhere(tmp_path: Path) -> None:
    folder = runs.golden_run(tmp_path)
    runs.edit(folder, dataset_args={"particles": "/nowhere/p.mrcs"})
    told = r"its particles /nowhere/p.mrcs cannot be found here: give particles \(--particles PATH"
    with pytest.raises(FileNotFoundError, match=told):
        CryoDRGNRun.open(folder).data()
    particles = shared("golden/cryodrgn/dataset/particles.mrcs")
    assert len(CryoDRGNRun.open(folder, particles=particles).data().stack) == 24
    runs.edit(folder, dataset_args={"particles": str(particles), "ctf": "/nowhere/ctf.pkl"})
    with pytest.raises(FileNotFoundError, match=r"its ctf /nowhere/ctf\.pkl cannot be"):
        CryoDRGNRun.open(folder).data()


def test_stacks_of_another_box_size(tmp_path: Path) -> None:
    folder = runs.golden_run(tmp_path)
    others = tiny.write_stack(tmp_path / "others", 24)["particles"]
    with pytest.raises(ValueError, match=r"the run is of box size 32, .*\.mrcs has box size 16"):
        _ = CryoDRGNRun.open(folder, particles=others).data().stack


def test_poses_in_pixels_where_fractions_are_expected(tmp_path: Path) -> None:
    folder = runs.golden_run(tmp_path)
    poses = runs.abinit_run(tmp_path) / "pose.4.pkl"
    with pytest.raises(ValueError, match="expected fractions of the box, not pixels"):
        _ = CryoDRGNRun.open(folder, poses=poses).data().stack


def test_latents_of_another_dimension(tmp_path: Path) -> None:
    folder = runs.golden_run(tmp_path)
    write_latents(folder / "z.pkl", np.zeros((24, 2)))
    with pytest.raises(ValueError, match="decoder has 3 conformation coordinates, found 2"):
        CryoDRGNRun.open(folder).latents()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hypervolume_params": None}, "expected a section hypervolume_params"),
        ({"hypervolume_state_dict": None}, "no hypervolume_state_dict"),
    ],
)
def test_other_weights_in_a_run_of_abinit(changes: Any, told: str, tmp_path: Path) -> None:
    folder = runs.abinit_run(tmp_path)
    weights = torch.load(folder / "weights.4.pkl", weights_only=True)
    for key in changes:
        del weights[key]
    torch.save(weights, folder / "weights.4.pkl")
    with pytest.raises(ValueError, match=told):
        CryoDRGNRun.open(folder)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"resolution": 65}, "weights are of lattice side 65, .* describes 33"),
        ({"pe_type_conf": "geom"}, r"conformations \(pe_type_conf geom\) is not supported"),
    ],
)
def test_hypervolumes_that_are_refused(changes: Any, told: str, tmp_path: Path) -> None:
    folder = runs.abinit_run(tmp_path)
    weights = torch.load(folder / "weights.4.pkl", weights_only=True)
    weights["hypervolume_params"] |= changes
    torch.save(weights, folder / "weights.4.pkl")
    with pytest.raises(ValueError, match=told):
        CryoDRGNRun.open(folder)

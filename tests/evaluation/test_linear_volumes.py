"""Runs whose maps are linear in z are judged by what images tell of these maps."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from cryo_disentangle.cli import main
from cryo_disentangle.embeddings import open_embedding
from cryo_disentangle.evaluation.linear_volumes import run_of_volumes
from cryo_disentangle.evaluation.runs import DataFiles
from cryo_disentangle.files import read_volume, write_volume
from cryo_disentangle.statistics import make_statistics
from cryo_disentangle.statistics.settings import SubspaceSettings
from tests.embeddings import written
from tests.statistics.simulated import Silent, open_rows, write_stack

COUNT = 600


@pytest.fixture(scope="module")
def recovar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as RECOVAR writes it, of all but ten particles, its maps in units of its own."""
    folder = tmp_path_factory.mktemp("recovar")
    stack = write_stack(folder / "stack", count=COUNT)
    made = make_statistics(
        open_rows(stack), folder / "made", SubspaceSettings(rank=2, radius=6), Silent()
    )
    assert made is not None
    maps = folder / "output/volumes"
    maps.mkdir(parents=True)
    names = {"mean": "mean", "volume_1": "eigen_pos0000", "volume_2": "eigen_pos0001"}
    for name, theirs in names.items():
        volume, pixel = read_volume(folder / f"made/{name}.mrc")
        write_volume(maps / f"{theirs}.mrc", 50 * volume, pixel or 1)
    used = np.arange(COUNT - 10)
    (folder / "model/zdim_2").mkdir(parents=True)
    factors = np.load(stack / "truth.npz")["factors"]
    noise = np.random.default_rng(0).normal(0, 0.2, (len(used), 2))
    np.save(folder / "model/zdim_2/latent_coords.npy", factors[used] + noise)
    arguments = argparse.Namespace(particles=str(stack / "particles.star"))
    parameters = {"version": "0.7", "input_args": arguments}
    written.pickled(folder / "model/params.pkl", parameters)
    written.pickled(folder / "model/particles_halfsets.pkl", [used[::2], used[1::2]])
    return folder


def test_images_are_asked_for_coefficients_of_the_runs_own_maps(
    recovar: Path, tmp_path: Path
) -> None:
    page = (Path(__file__).parents[2] / "docs/evaluate.md").read_text()
    command = next(line for line in page.splitlines() if "RECOVAR_OUT --inference" in line)
    command = command.replace("RECOVAR_OUT", str(recovar))
    words = command.replace("particles.star", str(recovar / "stack/particles.star")).split()[1:]
    main([*words, "--resamples=0", "--sample=100", "--states=0", f"--out={tmp_path}"])
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["run"]["inference"] == "statistics"
    assert found["run"]["kind"] == "linear volumes of RECOVAR"
    assert float(found["run"]["agreement with the run's z"].split()[0]) > 0.7
    assert found["scores"]["decoding"]["decoding_p_value"]["value"] < 0.01
    assert "pose_leak" in found["scores"]
    assert any("intervention" in name for name in found["scores"])
    # Statistics turn with the image.
    turned = found["scores"]["rotation"]["rotation_normalized"]["value"]
    assert turned == pytest.approx(0, abs=1e-3)
    page = (tmp_path / "report.html").read_text()
    assert "cryo-disentangle select" in page


def test_what_statistics_of_maps_need_is_said(recovar: Path, tmp_path: Path) -> None:
    embedding = open_embedding(recovar)
    lost = Path("lost.star")
    with pytest.raises(FileNotFoundError, match=r"lost\.star"):
        run_of_volumes(recovar, embedding, DataFiles(lost), tmp_path / "s")
    assert embedding.volumes is not None
    write_volume(tmp_path / "mean.mrc", np.zeros((8, 8, 8)), 1)
    small = embedding.volumes.__class__(tmp_path / "mean.mrc", embedding.volumes.components)
    object.__setattr__(embedding, "volumes", small)
    with pytest.raises(ValueError, match=r"mean\.mrc: a map of 8 x 8 x 8 voxels, and the images"):
        run_of_volumes(recovar, embedding, DataFiles(), tmp_path / "s")
    object.__setattr__(embedding, "particles", None)
    with pytest.raises(ValueError, match="statistics reads images: give the particle file"):
        run_of_volumes(recovar, embedding, DataFiles(), tmp_path / "s")
    np.save(tmp_path / "z.npy", embedding.latents)
    with pytest.raises(SystemExit, match="takes maps that are linear in z, of 3D variability"):
        main(["evaluate", str(tmp_path / "z.npy"), "--inference", "statistics"])

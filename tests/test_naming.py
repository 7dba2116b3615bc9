from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryo_disentangle.embeddings import open_embedding
from cryo_disentangle.evaluation.axes_command import axes_command
from tests.axes.simulated import Table, heated, pairs


def write_pairs(folder: Path, table: Table, count: int) -> None:
    order = np.random.default_rng(0).permutation(2 * count)
    mean = table.mean.flatten(0, 1).numpy()
    covariance = table.covariance.flatten(0, 1).numpy()
    # Latents lie in another order than the particle file.
    np.savez(folder / "z.npz", mean=mean[order], covariance=covariance[order], row=order)
    np.savez(
        folder / "labels.npz",
        time=np.repeat([0.0, 2.0], count),
        trajectory=np.tile(np.arange(count), 2),
    )


@pytest.mark.parametrize("way", [[], ["--by", "evidence"]])
def test_axes_by_time(tmp_path: Path, way: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    table = pairs(0, 1500)
    write_pairs(tmp_path, table, 1500)
    out = tmp_path / "out"
    words = [str(tmp_path / "z.npz"), "--labels", str(tmp_path / "labels.npz"), "--out", str(out)]
    axes_command([*words, *way])
    assert "Determined by time" in capsys.readouterr().out
    assert (out / "axes.txt").read_text().startswith("Determined by time")
    assert (out / "axes.png").read_bytes().startswith(b"\x89PNG")
    with np.load(out / "axes.npz") as found:
        assert bool(found["determined"])
        assert str(found["by"]) == (way[-1] if way else "time")
        matrix, offset = found["matrix"], found["offset"]
        assert found["angle"].shape == (2,)
    named = open_embedding(out / "latents.npz")
    assert named.rows is not None
    assert named.covariance is not None
    original = table.mean.flatten(0, 1).numpy()[named.rows]
    np.testing.assert_allclose(named.latents, (original - offset) @ matrix.T)
    factors = table.factors.flatten(0, 1).numpy()[named.rows]
    correlation = np.abs(np.corrcoef(named.latents.T, factors.T)[:2, 2:])
    assert correlation.max(1).min() > 0.93


def test_axes_by_temperature_and_by_neither(tmp_path: Path) -> None:
    table, kelvin = heated(0, 1500)
    np.savez(tmp_path / "z.npz", z=table.mean.numpy(), row=np.arange(1500))
    np.savez(tmp_path / "labels.npz", temperature=kelvin.numpy())
    latents, out = str(tmp_path / "z.npz"), str(tmp_path / "out")
    axes_command([latents, "--labels", str(tmp_path / "labels.npz"), "--out", out])
    assert (tmp_path / "out/axes.txt").read_text().startswith("Determined by temperature")
    # Of fewer, since nothing is determined.
    np.savez(tmp_path / "z.npz", z=table.mean[:200].numpy(), row=np.arange(200))
    for way in ([], ["--by", "principal"]):
        axes_command([latents, "--out", out, *way])
        assert "without times or temperatures" in (tmp_path / "out/axes.txt").read_text()
    np.save(tmp_path / "one.npy", table.mean[:200, :1].numpy())
    axes_command([str(tmp_path / "one.npy"), "--out", out])
    with np.load(tmp_path / "out/axes.npz") as found:
        assert found["matrix"].shape == (1, 1)


def test_bad_input(tmp_path: Path) -> None:
    table = pairs(0, 300)
    write_pairs(tmp_path, table, 300)
    labels, latents = str(tmp_path / "labels.npz"), str(tmp_path / "z.npz")
    with pytest.raises(ValueError, match="--by temperature needs --labels with an array temp"):
        axes_command([latents, "--labels", labels, "--by", "temperature"])
    with pytest.raises(ValueError, match="--by time needs --labels with arrays time and traj"):
        axes_command([latents, "--by", "time"])
    np.savez(tmp_path / "few.npz", time=np.arange(9.0), trajectory=np.zeros(9, dtype=int))
    with pytest.raises(ValueError, match=r"few.npz: 9 labels, but .*z.npz has latents of row 600"):
        axes_command([latents, "--labels", str(tmp_path / "few.npz")])
    both = {"time": np.arange(600.0), "trajectory": np.zeros(600, dtype=int)}
    np.savez(tmp_path / "both.npz", temperature=np.full(600, 300.0), **both)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="times and temperatures: choose by --by"):
        axes_command([latents, "--labels", str(tmp_path / "both.npz")])
    np.save(tmp_path / "bare.npy", table.mean.flatten(0, 1).numpy())
    np.save(tmp_path / "part.npy", table.mean[0].numpy())
    with pytest.raises(ValueError, match=r"600 labels, but .*part.npy has 300 latents that do not"):
        axes_command([str(tmp_path / "part.npy"), "--labels", labels])
    bare = str(tmp_path / "bare.npy")
    with pytest.raises(ValueError, match="--by evidence needs posterior covariances"):
        axes_command([bare, "--labels", labels, "--by", "evidence"])

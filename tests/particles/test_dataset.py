from __future__ import annotations

import numpy as np
import pytest
import torch

from cryo_disentangle.imaging import contrast_transfer, shift_hartley
from cryo_disentangle.imaging.lattice import lattice_frequencies
from cryo_disentangle.particles import HartleyPreprocessing, ParticleStack, RealPreprocessing
from cryo_disentangle.particles.dataset import ParticleDataset, collated
from tests.helpers import shared
from tests.particles.conftest import Files


def _golden(**options: object) -> ParticleDataset:
    folder = shared("golden/cryodrgn/dataset")
    stack = ParticleStack.open(
        folder / "particles.mrcs",
        poses=folder / "poses.pkl",
        ctf=folder / "ctf.pkl",
        indices=options.pop("indices", None),  # type: ignore[arg-type]
    )
    return ParticleDataset(stack, HartleyPreprocessing(**options))  # type: ignore[arg-type]


def test_images_agree_with_cryodrgn() -> None:
    golden = np.load(shared("golden/cryodrgn/dataset.npz"))
    images = _golden().__getitems__(range(24))["images"].numpy()
    np.testing.assert_allclose(images[:8], golden["y_first8"], atol=1e-5)
    np.testing.assert_allclose(images.sum(axis=(1, 2)), golden["y_sum"], atol=1e-3)
    squares = np.square(images, dtype=np.float64).sum(axis=(1, 2))
    np.testing.assert_allclose(squares, golden["y_sqsum"], rtol=1e-6)


def test_variants_agree_with_cryodrgn() -> None:
    golden = np.load(shared("golden/cryodrgn/dataset.npz"))
    plain = _golden(invert=False, window_radius=None).__getitems__([0, 1])["images"]
    np.testing.assert_allclose(plain, golden["y_uninvert_nowindow_first2"], atol=1e-5)
    chosen = _golden(indices=golden["ind"]).__getitems__([0, 1])["images"]
    np.testing.assert_allclose(chosen, golden["y_ind_first2"], atol=1e-5)


def test_what_the_encoder_sees_agrees_with_cryodrgn() -> None:
    golden = np.load(shared("golden/cryodrgn/dataset.npz"))
    batch = _golden().__getitems__(range(8))
    np.testing.assert_allclose(batch["translation"], golden["trans_pixels_used"][:8], atol=1e-6)
    frequencies = lattice_frequencies(32)
    centred = shift_hartley(batch["images"].flatten(1), frequencies, batch["translation"])
    np.testing.assert_allclose(centred, golden["y_centred_first8"].reshape(8, -1), atol=2e-5)
    transfer = contrast_transfer(frequencies, batch["ctf"], 32)
    flipped = centred * torch.sign(transfer)
    np.testing.assert_allclose(
        flipped[:4], golden["encoder_input_first4"].reshape(4, -1), atol=2e-5
    )


def test_a_batch_holds_what_is_known(files: Files) -> None:
    stack = ParticleStack.open(files.stack, poses=files.poses, ctf=files.ctf_file)
    dataset = ParticleDataset(stack, RealPreprocessing(invert=False, window_radius=None))
    assert len(dataset) == 12
    batch = dataset.__getitems__([5, 0, 5])
    assert {key: tuple(value.shape) for key, value in batch.items()} == {  # type: ignore[attr-defined]
        "images": (3, 8, 8),
        "index": (3,),
        "rotation": (3, 3, 3),
        "translation": (3, 2),
        "ctf": (3, 9),
    }
    assert batch["index"].tolist() == [5, 0, 5]
    torch.testing.assert_close(batch["rotation"], torch.from_numpy(files.rotation[[5, 0, 5]]))
    torch.testing.assert_close(batch["images"][0], batch["images"][2])
    single = dataset[5]
    torch.testing.assert_close(single["images"], batch["images"][0])
    assert collated(batch) is batch


def test_unknown_poses_and_ctf_are_left_out(files: Files) -> None:
    dataset = ParticleDataset(ParticleStack.open(files.stack))
    assert set(dataset.__getitems__([1])) == {"images", "index"}


def test_beyond_the_end(files: Files) -> None:
    dataset = ParticleDataset(ParticleStack.open(files.stack))
    with pytest.raises(IndexError, match=r"index 12 is out of range"):
        dataset[12]

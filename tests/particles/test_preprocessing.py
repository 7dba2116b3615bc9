from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.imaging.hartley import hartley2, symmetrize
from cryo_disentangle.imaging.window import soft_window
from cryo_disentangle.particles import HartleyPreprocessing, ParticleStack, RealPreprocessing
from cryo_disentangle.particles.preprocessing import Preprocessing, _statistics, hartley_lattice
from tests.helpers import shared

_KINDS = [HartleyPreprocessing, RealPreprocessing]


class _Noise:
    """An image source that remembers what was read."""

    def __init__(self, count: int, box_size: int = 4) -> None:
        rng = np.random.default_rng(0)
        self.images = rng.normal(3, 2, (count, box_size, box_size)).astype(np.float32)
        self.read_rows: list[int] = []

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: npt.ArrayLike) -> npt.NDArray[np.float32]:
        rows = np.asarray(indices)
        self.read_rows.extend(rows.tolist())
        return self.images[rows]


@given(st.sampled_from([2, 4, 6, 10, 16]), st.integers(1, 3), st.integers(0, 100))
def test_one_pass_equals_transform_then_symmetrisation(
    box_size: int, count: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, box_size, box_size, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(hartley_lattice(images), symmetrize(hartley2(images)))


def _chunks(values: Tensor, size: int) -> list[Tensor]:
    return list(values.split(size))


@given(st.integers(2, 40), st.integers(1, 40), st.integers(0, 100))
def test_streamed_statistics_do_not_depend_on_chunks(count: int, size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = 1e3 + torch.randn(count, 3, generator=generator)
    mean, std = _statistics(iter(_chunks(values, size)))
    assert mean == pytest.approx(float(values.double().mean()))
    assert std == pytest.approx(float(values.double().std()))


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, 1), (999, 999), (1000, 1000), (1999, 1999), (2000, 1000), (2500, 1250)],
)
def test_statistics_take_the_images_that_cryodrgn_takes(count: int, expected: int) -> None:
    source = _Noise(count)
    RealPreprocessing().fit(source)
    assert len(set(source.read_rows)) == expected


def test_hartley_equals_its_definition() -> None:
    source = _Noise(5, 8)
    images = torch.from_numpy(source.images)
    fitted = HartleyPreprocessing().fit(source)
    assert fitted.norm == pytest.approx((0, float(symmetrize(hartley2(images)).std())), rel=1e-5)
    expected = symmetrize(hartley2(-images * soft_window(8))) / fitted.fitted_norm[1]
    torch.testing.assert_close(fitted(images), expected)
    other = HartleyPreprocessing(invert=False, window_radius=None, norm=(2.0, 4.0))
    torch.testing.assert_close(other(images), (symmetrize(hartley2(images)) - 2) / 4)


def test_real_images_are_standardised() -> None:
    source = _Noise(50, 8)
    images = torch.from_numpy(source.images)
    plain = RealPreprocessing(invert=False, window_radius=None).fit(source)(images)
    assert float(plain.mean()) == pytest.approx(0, abs=1e-5)
    assert float(plain.std()) == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(RealPreprocessing().fit(source)(images), -plain * soft_window(8))


@pytest.mark.parametrize("kind", _KINDS)
def test_a_given_normalisation_is_kept(kind: type[Preprocessing]) -> None:
    source = _Noise(5)
    fitted = kind().with_norm((0.0, 2.0)).fit(source)
    assert fitted.norm == (0.0, 2.0)
    assert not source.read_rows


@pytest.mark.parametrize("kind", _KINDS)
def test_images_as_stored_are_not_changed(kind: type[Preprocessing]) -> None:
    images = torch.randn(2, 4, 4)
    before = images.clone()
    kind().with_norm((0.5, 2.0))(images)
    torch.testing.assert_close(images, before)


@pytest.mark.parametrize("kind", _KINDS)
def test_missing_or_odd_normalisation_is_refused(kind: type[Preprocessing]) -> None:
    with pytest.raises(ValueError, match=r"no normalisation: call fit\(stack\) or give norm"):
        kind()(torch.randn(2, 4, 4))
    with pytest.raises(ValueError, match=r"positive standard deviation, found 0\.0"):
        kind().with_norm((0.0, 0.0))(torch.randn(2, 4, 4))


def test_statistics_agree_with_cryodrgn() -> None:
    folder, golden = (
        shared("golden/cryodrgn/dataset"),
        np.load(shared("golden/cryodrgn/dataset.npz")),
    )
    stack = ParticleStack.open(folder / "particles.mrcs")
    chosen = ParticleStack.open(folder / "particles.mrcs", indices=folder / "ind.pkl")
    uninverted = HartleyPreprocessing(invert=False, window_radius=None)
    for fitted, name in (
        (HartleyPreprocessing().fit(stack), "norm"),
        (HartleyPreprocessing().fit(chosen), "norm_ind"),
        (uninverted.fit(stack), "norm_uninvert_nowindow"),
        (RealPreprocessing().fit(stack), "norm_real"),
    ):
        np.testing.assert_allclose(fitted.fitted_norm, golden[name], rtol=1e-6, atol=1e-8)

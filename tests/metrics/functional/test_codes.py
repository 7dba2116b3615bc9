from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from cryo_disentangle.metrics import MIG
from cryo_disentangle.metrics.functional import mcc, r2_linear, spline_mcc
from cryo_disentangle.metrics.functional.circular import circular_linear_r2
from cryo_disentangle.metrics.functional.codes import (
    average_ranks,
    check_codes,
    check_columns,
    constant_columns,
    split_rows,
    standardize,
)
from cryo_disentangle.metrics.functional.correlation import (
    mean_canonical_correlation,
    spearman_matrix,
)
from cryo_disentangle.metrics.functional.dci import dci
from cryo_disentangle.metrics.functional.explicitness import explicitness
from cryo_disentangle.metrics.functional.gauge import check_poses
from cryo_disentangle.metrics.functional.infomec import infomec
from cryo_disentangle.metrics.functional.information import med, mig, modularity
from cryo_disentangle.metrics.functional.irs import irs
from cryo_disentangle.metrics.functional.leak import nuisance_leak
from cryo_disentangle.metrics.functional.neighbourhood import (
    information_imbalance,
    neighbourhood_similarity,
)
from cryo_disentangle.metrics.functional.sap import sap
from cryo_disentangle.metrics.functional.unsupervised import (
    gaussian_total_correlation,
    pairwise_mutual_information,
)

few = settings(max_examples=20)


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int16, torch.bool]
)
def test_any_real_dtype_becomes_detached_float64(dtype: torch.dtype) -> None:
    z = torch.tensor([[0, 1], [1, 0], [1, 1]]).to(dtype)
    latents, truth = check_codes(z.requires_grad_(z.is_floating_point()), torch.arange(3))
    assert latents.dtype == truth.dtype == torch.float64
    assert not latents.requires_grad
    assert latents.tolist() == [[0, 1], [1, 0], [1, 1]]
    assert truth.shape == (3, 1)


def test_numpy_arrays_of_any_layout_are_taken() -> None:
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    x.setflags(write=False)
    latents, truth = check_codes(x[::-1].astype(">f4"), x[:, 0].tolist())
    assert latents.tolist() == [[4, 5], [2, 3], [0, 1]]
    assert truth.tolist() == [[0], [2], [4]]


@pytest.mark.parametrize(
    ("z", "factors", "message"),
    [
        (torch.ones(3, 2), torch.ones(4, 2), "as many samples, got 3 and 4"),
        (torch.ones(1, 2), torch.ones(1, 2), "z must have at least 2 samples, got 1"),
        (torch.ones(3, 2), torch.ones(3, 0), "factors must have at least one column"),
        (torch.ones(3, 0), torch.ones(3, 2), "z must have at least one column"),
        (torch.ones(3, 2, 2), torch.ones(3, 2), r"z must have shape .*got \(3, 2, 2\)"),
        (torch.ones(3, 2), torch.tensor(1.0), r"factors must have shape .*got \(\)"),
        (
            torch.tensor([[0.0, 1.0], [0.0, math.nan]]),
            torch.ones(2),
            "z must be finite, got nan at row 1, column 1",
        ),
        (
            torch.ones(2),
            torch.tensor([math.inf, 0.0]),
            "factors must be finite, got inf at row 0, column 0",
        ),
    ],
)
def test_what_is_no_code_is_refused(z: torch.Tensor, factors: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_codes(z, factors)


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (torch.ones(3, 2) * 1j, "z must be real numbers, got torch.complex64"),
        (np.ones((3, 2)) * 1j, "z must be real numbers, got values of type complex128"),
        (np.full((3, 2), None), "z must be real numbers, got values of type object"),
        ([["a"], ["b"]], "z must be real numbers, got values of type <U1"),
        (np.zeros(3, "datetime64[s]"), "z must be real numbers, got values of type datetime64"),
        (
            np.ma.masked_greater(np.arange(6.0).reshape(3, 2), 3),
            "z must have no masked values, got 2: leave their samples out",
        ),
    ],
)
def test_what_is_no_number_is_refused_by_every_metric(z: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_codes(z, np.ones(len(z)))
    with pytest.raises(ValueError, match=message):
        MIG().update(z, np.ones(len(z)))
    with pytest.raises(ValueError, match=message.replace("z must", "pose must")):
        check_poses(z, "pose")


def test_a_mask_that_hides_nothing_and_all_sizes_of_numbers_are_taken() -> None:
    whole = np.ma.masked_greater(np.arange(6.0).reshape(3, 2), 9)
    assert check_columns(whole, "z").tolist() == [[0, 1], [2, 3], [4, 5]]
    for kind in (np.longdouble, np.uint16, np.uint64, ">i4"):
        assert check_columns(np.arange(3).astype(kind), "z")[:, 0].tolist() == [0, 1, 2]


def latents_and_factors() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    factors = torch.rand(400, 2, generator=generator, dtype=torch.float64) - 0.5
    noise = torch.randn(400, 2, generator=generator, dtype=torch.float64)
    curved = factors[:, 0] + 0.3 * factors[:, 1].square()
    return torch.stack([curved, factors[:, 1] + 0.1 * noise[:, 0], noise[:, 1]], 1), factors


SCORES: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    function.__name__: function
    for function in (
        mcc,
        mean_canonical_correlation,
        r2_linear,
        spearman_matrix,
        spline_mcc,
        dci,
        explicitness,
        infomec,
        mig,
        med,
        modularity,
        irs,
        sap,
        information_imbalance,
        neighbourhood_similarity,
    )
}
SCORES["gaussian_total_correlation"] = lambda z, _: gaussian_total_correlation(z)
SCORES["pairwise_mutual_information"] = lambda z, _: pairwise_mutual_information(z)
SCORES["circular"] = lambda z, _: circular_linear_r2(z, latents_and_factors()[1])
SCORES["nuisance_leak"] = lambda z, f: nuisance_leak(z, {"f": f})["f"]


@pytest.mark.parametrize("name", list(SCORES))
def test_no_unit_is_preferred(name: str) -> None:
    z, factors = latents_and_factors()
    scores = SCORES[name](z, factors)
    for of_z, of_factors in ((1e-30, 1.0), (1.0, 1e-30), (1e-30, 1e30)):
        again = SCORES[name](of_z * z, of_factors * factors)
        torch.testing.assert_close(again, scores, rtol=1e-5, atol=1e-6)


def test_the_least_number_of_samples_can_be_chosen() -> None:
    assert check_columns(torch.ones(1), "x", minimum=1).shape == (1, 1)
    with pytest.raises(ValueError, match="x must have at least 5 samples, got 4"):
        check_columns(torch.ones(4), "x", minimum=5)


@few
@given(st.integers(0, 10**6), st.floats(-1e3, 1e3), st.floats(1e-5, 1e6))
def test_standardising_forgets_offset_and_scale(seed: int, offset: float, scale: float) -> None:
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(50, 3)))
    done = standardize(x)
    torch.testing.assert_close(done.mean(0), torch.zeros(3).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(done.std(0, correction=0), torch.ones(3).double())
    # An offset 1e8 times the spread leaves eight digits.
    torch.testing.assert_close(standardize(offset + scale * x), done, atol=1e-6, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9, 1e-30])
def test_constant_columns_are_found_and_become_zero(value: float) -> None:
    x = torch.stack([torch.full((7,), value), torch.arange(7.0)], dim=1).double()
    assert constant_columns(x).tolist() == [True, False]
    assert standardize(x)[:, 0].tolist() == [0.0] * 7


@few
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_ranks_are_those_of_scipy_with_and_without_ties(seed: int, values: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.stack([rng.integers(values, size=30), rng.normal(size=30)], axis=1).astype(np.float64)
    np.testing.assert_array_equal(average_ranks(torch.from_numpy(x)), rankdata(x, axis=0))


@few
@given(st.integers(4, 60), st.integers(0, 5))
def test_a_division_of_rows_uses_each_once_and_repeats(rows: int, seed: int) -> None:
    fit, score = split_rows(rows, seed=seed)
    assert sorted(torch.cat([fit, score]).tolist()) == list(range(rows))
    assert len(score) == max(2, round(rows / 3))
    assert torch.equal(split_rows(rows, seed=seed)[1], score)


def test_a_given_division_of_rows_has_no_chance() -> None:
    fit, score = split_rows(5, n_train=3)
    assert (fit.tolist(), score.tolist()) == ([0, 1, 2], [3, 4])


@pytest.mark.parametrize(("rows", "n_train"), [(3, None), (10, 9), (10, 1), (10, 11)])
def test_a_division_that_leaves_a_side_empty_is_refused(rows: int, n_train: int | None) -> None:
    with pytest.raises(ValueError, match=f"at least 2 samples each, got .* of {rows}"):
        split_rows(rows, n_train=n_train)

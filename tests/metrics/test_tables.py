"""Tables of pandas, whose own types numpy knows as objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cryo_disentangle.metrics.functional.codes import check_columns

pd = pytest.importorskip("pandas")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.array([1, 2, 3], dtype="Int64"), [1, 2, 3]),
        (pd.array([0.5, 1, 2], dtype="Float64"), [0.5, 1, 2]),
        (pd.array([True, False, True], dtype="boolean"), [1, 0, 1]),
        (pd.Categorical([3, 1, 3]), [3, 1, 3]),
    ],
)
def test_columns_of_numbers_are_taken(column: Any, expected: list[float]) -> None:
    table = pd.DataFrame({"a": column, "b": pd.array([7, 8, 9], dtype="Int8")})
    found = check_columns(table, "z")
    assert torch.equal(found, torch.tensor([expected, [7, 8, 9]], dtype=torch.float64).T)
    assert torch.equal(check_columns(pd.Series(column), "z")[:, 0], found[:, 0])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.array([1, None, 3], dtype="Int64"), "factors, column 'a' must have no missing values"),
        (
            pd.Categorical(["x", "y", "x"]),
            r"'a' must be real numbers, got .* category; .*cat\.codes",
        ),
        (["x", "y", "x"], "factors, column 'a' must be real numbers"),
        (pd.date_range("2020", periods=3), "factors, column 'a' must be real numbers, .*datetime"),
        (np.array([1j, 2j, 3j], object), "factors, column 'a' must be real numbers"),
    ],
)
def test_columns_of_anything_else_are_named(column: Any, message: str) -> None:
    table = pd.DataFrame({"a": column, "b": pd.array([1, 2, 3], dtype="Int64")})
    with pytest.raises(ValueError, match=message):
        check_columns(table, "factors")

"""Models in the order of their mean rank."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.metrics.ranking import rank_models


def row(model: str, seed: int, **metrics: float) -> dict[str, Any]:
    return {"model": model, "seed": seed, **metrics}


def test_ranks_over_metrics_and_seeds() -> None:
    table = [
        row("pose-vae", 0, mcc=0.9, mig=0.5),
        row("pose-vae", 1, mcc=0.8, mig=0.3),
        row("vae", 0, mcc=0.7, mig=0.5),
        row("vae", 1, mcc=0.6, mig=0.4),
        row("slow-vae", 0, mcc=0.1, mig=0.9),
        row("slow-vae", 1, mcc=0.2, mig=0.2),
    ]
    best, *others = rank_models(table)
    assert best.model == "pose-vae"
    # mcc 1 and 1, mig 2.5 (a tie) and 2.
    assert best.metrics == {"mcc": 1.0, "mig": 2.25}
    assert best.mean_rank == 1.625
    assert best.spread == pytest.approx((1.75 - 1.5) / 2**0.5)
    assert [(other.model, other.mean_rank) for other in others] == [
        ("vae", 1.875),
        ("slow-vae", 2.5),
    ]


def test_equal_ranks_stand_by_name() -> None:
    table = [row("b", 0, mcc=0.9, mig=0.1), row("a", 0, mcc=0.8, mig=0.2)]
    assert [(r.model, r.mean_rank) for r in rank_models(table)] == [("a", 1.5), ("b", 1.5)]


def test_values_may_be_read_from_text() -> None:
    table = [{"model": m, "seed": "0", "mcc": v} for m, v in (("a", "0.9"), ("b", "0.10"))]
    assert [r.model for r in rank_models(table)] == ["a", "b"]


def test_small_values_may_be_good_and_values_may_be_tensors() -> None:
    table = [{"model": m, "seed": 0, "leak": torch.tensor(v)} for m, v in (("a", 0.3), ("b", 0.1))]
    assert [r.model for r in rank_models(table)] == ["a", "b"]
    assert [r.model for r in rank_models(table, lower_is_better=("leak",))] == ["b", "a"]
    assert rank_models(table)[0].spread == 0.0


@settings(max_examples=25)
@given(values=st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=2, max_size=5))
def test_mean_ranks_keep_their_sum_and_the_order_of_rows_is_nothing(
    values: list[tuple[int, int, int]],
) -> None:
    table = [row(f"m{i}", seed, a=v[seed], b=v[2]) for i, v in enumerate(values) for seed in (0, 1)]
    ranks = rank_models(table)
    assert sum(r.mean_rank for r in ranks) == pytest.approx(len(values) * (len(values) + 1) / 2)
    assert [r.mean_rank for r in ranks] == sorted(r.mean_rank for r in ranks)
    backwards = rank_models(table[::-1])
    assert [r.model for r in backwards] == [r.model for r in ranks]
    assert [r.mean_rank for r in backwards] == pytest.approx([r.mean_rank for r in ranks])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "table must have at least one row, got none"),
        ([{"seed": 0, "mcc": 1.0}], "row 0 of the table lacks 'model'"),
        ([{"model": "a", "mcc": 1.0}], "row 0 of the table lacks 'seed'"),
        ([row("a", 0)], "table must have at least one metric beside 'model' and 'seed'"),
        ([row("a", 0, mcc=1), row("b", 0)], "row 1 of the table lacks 'mcc'"),
        ([row("a", 0, mcc=1), row("b", 0, mcc=1, mig=1)], "row 0 of the table lacks 'mig'"),
        ([row("a", 0, mcc=1), row("a", 0, mcc=1)], "row 1 of the table repeats model a, seed 0"),
        (
            [row("a", 0, mcc=1), row("a", 1, mcc=1), row("b", 0, mcc=1)],
            "table must have every seed for every model: b lacks 1",
        ),
        ([row("a", 3, mcc=math.nan)], "mcc of model a, seed 3 must be finite, got nan"),
        ([{"model": "a", "seed": 3, "mcc": None}], "mcc of model a, seed 3 .* finite, got None"),
    ],
)
def test_bad_tables(table: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rank_models(table)


def test_unknown_metric_that_should_be_low() -> None:
    with pytest.raises(ValueError, match="lower_is_better names 'lek', which the table lacks"):
        rank_models([row("a", 0, leak=1.0)], lower_is_better=["lek"])

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.benchmark.cells import Cell
from cryo_disentangle.benchmark.leaderboard import Findings, draw_leaderboard, write_summary
from cryo_disentangle.benchmark.tables import Entry, median_interval, rank_methods

MCC, MIG, LEAK = (
    "disentanglement/mcc_pearson",
    "disentanglement/mig",
    "pose_leak/pose_leak_nonlinear_r2",
)


def cell(method: str, dataset: str = "arms", seed: int = 0, *, seen: bool = False) -> Cell:
    return Cell(method, dataset, seed, Path("out"), {"sees_held_out": seen})


@settings(max_examples=25)
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=8))
def test_intervals_hold_the_median_and_lie_within_the_values(values: list[float]) -> None:
    found = median_interval(values)
    assert found.value == statistics.median(values)
    assert found.low is not None
    assert found.high is not None
    assert min(values) - 1e-9 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= max(values) + 1e-9
    assert found == median_interval(values)


def test_one_seed_has_no_interval_and_none_no_median() -> None:
    assert median_interval([0.3]) == (0.3, None, None, 1)
    with pytest.raises(ValueError, match="at least one value"):
        median_interval([])


def test_methods_are_ranked_by_what_all_of_them_have() -> None:
    cells = [cell(method, seed=seed) for method in ("good", "bad", "broken") for seed in (0, 1)]
    entries = [
        Entry(method, "arms", seed, metric, value)
        for seed in (0, 1)
        for method, scores in {
            "good": {MCC: 0.9, LEAK: 0.1, MIG: 0.5},
            "bad": {MCC: 0.4, LEAK: 0.6},
        }.items()
        for metric, value in scores.items()
    ]
    entries.append(Entry("broken", "arms", 0, MCC, 1.0))
    ranks, metrics = rank_methods(entries, cells, ["arms"])
    assert [(rank.model, rank.mean_rank) for rank in ranks] == [("good", 1.0), ("bad", 2.0)]
    assert metrics == [MCC, LEAK]
    assert rank_methods([], cells, ["arms"]) == ([], [])


def test_pages_tell_ranks_medians_failures_and_who_has_seen_what() -> None:
    cells = [cell("a"), cell("b", seen=True), cell("a", "legs")]
    entries = [
        Entry("a", "arms", 0, MCC, 0.91),
        Entry("b", "arms", 0, MCC, 0.42),
        Entry("a", "legs", 0, MCC, 0.77),
    ]
    found = Findings("B<1>", cells, entries, {"b on legs": "x < y"}, {"seeds": "0"})
    summary, page = write_summary(found), draw_leaderboard(found)
    assert "| b † | 1 | 2.00 (0.00) | 0.42 |" in summary
    assert "| a | 1.00 (0.00) |" in summary
    assert "- seeds: 0" in summary
    assert "b on legs: x < y" in summary
    assert "may have, been trained on the particles" in summary
    assert "<h1>B&lt;1&gt;</h1>" in page
    assert "x &lt; y" in page
    assert page.count("<table>") == 4
    assert 'src="data:image/png;base64,' in page
    assert "http" not in page
    assert 'name="viewport"' in page


def test_nothing_finished_makes_pages_all_the_same() -> None:
    found: Any = Findings("none", [cell("a")], [], {"a": "failed"}, {})
    assert "Nothing is finished." in write_summary(found)
    assert "<img" not in draw_leaderboard(found)

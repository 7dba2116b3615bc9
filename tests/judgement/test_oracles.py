"""Scores beside the best that any method can reach."""

from __future__ import annotations

import pytest
import torch

from cryo_disentangle.judgement.oracles import SUBSPACE, TRUTH, keep_oracle, oracle_scores_of
from cryo_disentangle.judgement.score_names import headlines
from cryo_disentangle.judgement.scores import Measurement, Score


def test_each_score_has_its_share_of_the_best() -> None:
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(400, 2, generator=generator)
    means = factors + 0.3 * torch.randn(400, 2, generator=generator)
    best = oracle_scores_of(means, factors)
    assert len(best) == 15
    assert 0.9 < best["mcc_pearson"] < 1
    found = Measurement()
    found.scores["disentanglement"] = {"mcc_pearson": Score(0.5), "sap": Score(0.1)}
    keep_oracle(found, TRUTH, {"mcc_pearson": 0.8, "r2_linear": 0.7, "sap": 0.0})
    assert set(found.scores[TRUTH]) == {"mcc_pearson", "r2_linear", "sap"}
    # Of what was not measured, and of nothing, there is no share.
    shares = found.scores["oracle_share"]
    assert {name: score.value for name, score in shares.items()} == {
        "mcc_pearson": pytest.approx(0.625)
    }


def test_rows_tell_what_images_allow() -> None:
    found = Measurement()
    found.scores["disentanglement"] = {"mcc_pearson": Score(0.5), "sap": Score(0.1)}
    keep_oracle(found, TRUTH, {"mcc_pearson": 0.8})
    rows = {row.name: row.best for row in headlines(found.scores)}
    assert rows == {"MCC (Pearson)": "0.8 by the true molecule: 62 %", "SAP": "1"}
    keep_oracle(found, SUBSPACE, {"mcc_pearson": 0.625})
    rows = {row.name: row.best for row in headlines(found.scores)}
    assert rows["MCC (Pearson)"] == "0.8 by the true molecule: 62 %; 0.625 by these volumes: 80 %"

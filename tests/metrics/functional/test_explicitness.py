from __future__ import annotations

import numpy as np
import pytest
import torch

from cryo_disentangle.metrics.functional.correlation import r2_linear
from cryo_disentangle.metrics.functional.explicitness import explicitness
from tests.metrics.golden import CASES, load

# The reference fails where the samples to score lack a class, or a latent is constant.
SOUND = [c for c in CASES if ("uniform" in c or "grid" in c) and not c.startswith("const")]


@pytest.mark.parametrize("case", SOUND)
def test_the_reference_form_is_the_references(case: str) -> None:
    golden = load(case)
    expected = golden.score("dlib_modularity_explicitness", "explicitness_score_test")
    score = explicitness(golden.z, golden.labels, reference=True, n_train=golden.n_train)
    assert float(score) == pytest.approx(expected, abs=1e-3)
    z, labels = golden.z[: golden.n_train], golden.labels[: golden.n_train]
    twice = np.concatenate([z, z]), np.concatenate([labels, labels])
    fitted = explicitness(*twice, reference=True, n_train=golden.n_train)
    expected = golden.score("dlib_modularity_explicitness", "explicitness_score_train")
    assert float(fitted) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("case", ["const_uniform_D3", "rot45_gaussian_D2"])
def test_what_the_reference_fails_on_has_a_score(case: str) -> None:
    golden = load(case)
    score = explicitness(golden.z, golden.labels, reference=True, n_train=golden.n_train)
    assert 0.8 < float(score) <= 1


def test_the_default_is_the_linear_ceiling() -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(300, 2))
    z = factors @ rng.normal(size=(2, 3)) + 0.1 * rng.normal(size=(300, 3))
    assert float(explicitness(z, factors, seed=3)) == float(r2_linear(z, factors, seed=3))


def test_edge_cases_of_the_reference_form() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(300, 2)))
    labels = (x > 0).long()
    assert float(explicitness(x, labels, reference=True)) == pytest.approx(1, abs=0.01)
    assert float(explicitness(torch.full((300, 1), 0.1), labels, reference=True)) == 0.5
    assert float(explicitness(x.flip(0), labels, reference=True)) == pytest.approx(0.5, abs=0.15)
    one_class_to_score = torch.tensor([0, 1, 0, 1, 1, 1])
    score = explicitness(x[:6], one_class_to_score, reference=True, n_train=4)
    assert float(score) == 0.5


def test_what_shows_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="a factor must show 2 classes or more"):
        explicitness(torch.arange(9), torch.ones(9), reference=True)
    with pytest.raises(ValueError, match="z must have at least 4 samples, got 3"):
        explicitness(torch.arange(3), torch.arange(3), reference=True)

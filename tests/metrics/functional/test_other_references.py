"""Golden scores of the published code that also cuts factors into bins (Zaidi et al. 2020)."""

from __future__ import annotations

import pytest

from cryo_disentangle.metrics.functional.binning import bin_codes
from cryo_disentangle.metrics.functional.information import modularity
from cryo_disentangle.metrics.functional.sap import sap
from tests.metrics.golden import CASES, load

# A value on the edge of a bin: min-max scaling moves it to the other side.
_ON_AN_EDGE = {"rot45_grid_D3": 1e-4}


@pytest.mark.parametrize("case", CASES)
def test_modularity_in_ten_bins_on_both_sides(case: str) -> None:
    golden = load(case)
    expected = golden.score("ubi_modularity_10bins", "score")
    labels = bin_codes(golden.factors, 10, rule="width")
    found = modularity(golden.z, labels, bins=10, reference=True)
    assert float(found) == pytest.approx(expected, abs=_ON_AN_EDGE.get(case, 1e-6))


@pytest.mark.parametrize("case", CASES)
def test_regression_form_of_sap(case: str) -> None:
    golden = load(case)
    expected = golden.score("ubi_sap_regression", "score")
    assert float(sap(golden.z, golden.factors)) == pytest.approx(expected, abs=1e-6)

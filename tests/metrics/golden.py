"""The reference scores that the metrics' tests compare with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import shared

CASES = (
    "const_uniform_D3",
    "dup_gaussian_D1",
    "dup_gaussian_D3",
    "dup_grid_D3",
    "dup_uniform_D3",
    "extra2_grid_D3",
    "extra2_uniform_D3",
    "extra3_laplace_D5",
    "fewer_uniform_D3",
    "monotone_gaussian_D3",
    "monotone_grid_D3",
    "monotone_laplace_D2",
    "monotone_laplace_D5",
    "monotone_uniform_D3",
    "noise_gaussian_D2",
    "noise_grid_D3",
    "noise_uniform_D3",
    "noisy0p9_gaussian_D3",
    "noisy0p9_grid_D5",
    "noisy0p9_laplace_D5",
    "noisy0p9_uniform_D3",
    "permsign_gaussian_D2",
    "permsign_grid_D3",
    "permsign_laplace_D5",
    "permsign_uniform_D3",
    "rot15_gaussian_D2",
    "rot15_uniform_D3",
    "rot30_laplace_D2",
    "rot30_laplace_D5",
    "rot30_uniform_D3",
    "rot45_gaussian_D2",
    "rot45_gaussian_D3",
    "rot45_grid_D3",
    "rot45_uniform_D3",
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Golden:
    """One case: stored arrays and what the references say of them.

    ``labels`` are the factors as the references were given them: integers, continuous factors cut
    into 20 bins of equal width on all rows. ``arrays`` holds everything else that is stored.
    """

    case: str
    z: Floats  # (N, K)
    factors: Floats  # (N, D)
    labels: NDArray[np.int64]  # (N, D)
    n_train: int
    scores: dict[str, Any]
    own_formulas: dict[str, Any]
    population_values: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    def score(self, *keys: str) -> Any:
        """Looks a score up; skips the test where the reference failed or gave no number."""
        found: Any = self.scores
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if found is None or (isinstance(found, dict) and "error" in found):
            pytest.skip(f"{self.case}: the reference has no {'/'.join(keys)}: {found}")
        return found

    def matrix(self, *keys: str) -> Floats:
        """Looks a matrix up; the reference's nan and inf (null) become nan."""
        return np.array(self.score(*keys), dtype=np.float64)


def equal_width_labels(x: Floats, bins: int = 20) -> NDArray[np.int64]:
    """Cuts each column into bins of equal width between its extremes, numbered 1 to ``bins``."""
    columns = [np.digitize(c, np.histogram(c, bins)[1][:-1]) for c in x.T]
    return np.stack(columns, axis=1).astype(np.int64)


def load(case: str) -> Golden:
    """Reads a case; skips the test where the reference data are absent."""
    notes = json.loads(shared(f"golden/metrics/{case}.json").read_text())
    with np.load(shared(f"golden/metrics/{case}.npz")) as stored:
        arrays = {key: stored[key] for key in stored.files}
    factors = arrays.pop("factors")
    continuous = notes["continuous_factors"]
    labels = equal_width_labels(factors.astype(np.float64)) if continuous else factors
    return Golden(
        case=case,
        z=arrays.pop("z").astype(np.float64),
        factors=factors.astype(np.float64),
        labels=labels.astype(np.int64),
        n_train=notes["n_train"],
        scores=notes["scores"],
        own_formulas=notes["own_formulas"],
        population_values=notes["population_values"],
        arrays=arrays,
    )

"""The published forms of the metrics, plainly written: what the fast ones are timed against.

Each is the algorithm of the reference implementations (disentanglement_lib; slow_disentanglement
for MCC) in the library calls that they make: one scikit-learn call a pair for mutual information,
one covariance a pair for SAP, factors padded with noise to a square assignment for MCC. They take
arrays as the references do: rows are variables, columns samples. The assignment itself is
SciPy's, which is faster than the Munkres in Python that the reference brings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import spearmanr
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import mutual_info_score

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

BINS = 20


def equal_width(rows: Floats) -> Labels:
    """Cuts every row into 20 bins of equal width."""
    labels = np.zeros(rows.shape, dtype=np.int64)
    for i, row in enumerate(rows):
        labels[i] = np.digitize(row, np.histogram(row, BINS)[1][:-1])
    return labels


def information_matrix(z: Labels, factors: Labels) -> Floats:
    """Mutual information of all pairs in nats, (K, D)."""
    found = np.zeros((len(z), len(factors)))
    for i, a in enumerate(z):
        for j, b in enumerate(factors):
            found[i, j] = mutual_info_score(b, a)
    return found


def mig(z: Floats, factors: Labels) -> float:
    """Mutual information gap (Chen et al. 2018)."""
    ordered = np.sort(information_matrix(equal_width(z), factors), axis=0)[::-1]
    entropy = np.array([mutual_info_score(row, row) for row in factors])
    return float(np.mean((ordered[0] - ordered[1]) / entropy))


def modularity(z: Floats, factors: Labels) -> float:
    """Modularity (Ridgeway and Mozer 2018)."""
    squared = information_matrix(equal_width(z), factors) ** 2
    best = squared.max(axis=1)
    return float(np.mean(1 - (squared.sum(axis=1) - best) / (best * (len(factors) - 1))))


def mcc(z: Floats, factors: Floats, *, rank: bool) -> float:
    """Mean correlation coefficient after assignment (Hyvärinen and Morioka 2016)."""
    count = len(factors)
    noise = np.random.default_rng(0).normal(size=(len(z) - count, factors.shape[1]))
    padded = np.concatenate([factors, noise])
    if rank:
        full: Any = spearmanr(z, padded, axis=1).statistic
    else:
        full = np.corrcoef(z, padded)
    matrix = np.abs(full[: len(z), len(z) :])
    rows, columns = linear_sum_assignment(-matrix)
    return float(matrix[rows, columns][np.argsort(columns)][:count].mean())


def sap(z: Floats, factors: Floats) -> float:
    """Separated attribute predictability, continuous factors (Kumar et al. 2018)."""
    scores = np.zeros((len(z), len(factors)))
    for i, a in enumerate(z):
        for j, b in enumerate(factors):
            covariance = np.cov(a, b)
            scores[i, j] = covariance[0, 1] ** 2 / (covariance[0, 0] * covariance[1, 1])
    ordered = np.sort(scores, axis=0)
    return float(np.mean(ordered[-1] - ordered[-2]))


def boosted_importance(z: Floats, labels: Labels) -> Floats:
    """What DCI (Eastwood and Williams 2018) fits to each factor: importances, (K,)."""
    return GradientBoostingClassifier().fit(z.T, labels).feature_importances_

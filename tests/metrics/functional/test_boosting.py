"""The boosted trees against scikit-learn's exact ones, where bins lose nothing."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor
from torch import Tensor

from cryo_disentangle.metrics.functional._boosting import boosted_regression


def _grid_data(samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Latents on a grid of 20 values, so that no split is lost to binning; two noisy factors."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 20, (samples, 3), generator=generator).double()
    noise = torch.randn(samples, 2, generator=generator, dtype=torch.float64)
    y = torch.stack([x[:, 0] * x[:, 1] / 10, (x[:, 2] - 9).square() / 20], 1)
    return x, y + noise


def _gains(model: GradientBoostingRegressor) -> NDArray[np.float64]:
    """Fall of the squared error by feature, as the trees of scikit-learn tell it."""
    gains = np.zeros(model.n_features_in_)
    for tree in (stage[0].tree_ for stage in model.estimators_):
        error = tree.impurity * tree.weighted_n_node_samples
        split = np.flatnonzero(tree.feature >= 0)
        fall = error[split] - error[tree.children_left[split]] - error[tree.children_right[split]]
        np.add.at(gains, tree.feature[split], fall)
    return gains / gains.sum()


def test_same_trees_as_exact_boosting() -> None:
    """On the training rows: between values that a node lacks both choose freely."""
    x, y = _grid_data(1000, seed=0)
    fitted = boosted_regression(x, y, x)
    for j in range(2):
        exact = GradientBoostingRegressor(min_samples_leaf=20, random_state=0)
        exact.fit(x.numpy(), y[:, j].numpy())
        np.testing.assert_allclose(fitted.prediction[:, j], exact.predict(x.numpy()), rtol=1e-9)
        np.testing.assert_allclose(fitted.gain[:, j], _gains(exact), rtol=1e-9)


def test_without_splits_the_mean_is_predicted() -> None:
    x, y = _grid_data(30, seed=1)
    fitted = boosted_regression(x[:20], y[:20], x[20:])
    assert torch.equal(fitted.gain, torch.zeros(3, 2, dtype=torch.float64))
    torch.testing.assert_close(fitted.prediction, y[:20].mean(0).expand(10, 2))


def test_constant_latents_and_factors_gain_nothing() -> None:
    x, y = _grid_data(400, seed=2)
    x[:, 1], y[:, 1] = 0.1, 0.1
    fitted = boosted_regression(x, y, x)
    assert fitted.gain[1, 0] == 0
    assert torch.equal(fitted.gain[:, 1], torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(fitted.prediction[:, 1], y[:, 1])

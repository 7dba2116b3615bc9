"""The encoder's posterior."""

from __future__ import annotations

import torch

from cryo_disentangle.encoders import MLPEncoder


def test_an_isotropic_posterior_has_the_geometric_mean_of_variances() -> None:
    plain = MLPEncoder(20, 3, width=8, layers=1)
    isotropic = MLPEncoder(20, 3, width=8, layers=1, isotropic=True)
    isotropic.load_state_dict(plain.state_dict())
    coefficients = torch.randn(5, 20)
    mean, log_variance = plain(coefficients)
    shared_mean, shared = isotropic(coefficients)
    assert torch.equal(shared_mean, mean)
    torch.testing.assert_close(shared, log_variance.mean(1, keepdim=True).expand(5, 3))

"""The prior of SlowVAE."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from torch import Tensor
from torch.distributions import Laplace, Normal

from cryo_disentangle.priors import LaplaceTransition
from cryo_disentangle.priors.laplace_transition import kl_laplace
from cryo_disentangle.priors.standard_normal import kl_standard_normal
from cryo_disentangle.types import Inference, ParticleBatch

Make = Callable[..., ParticleBatch]


def _integral(mean: float, deviation: float, location: float, rate: float) -> float:
    grid = mean + deviation * torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    posterior, prior = Normal(mean, deviation), Laplace(location, 1 / rate)
    integrand = posterior.log_prob(grid).exp() * (posterior.log_prob(grid) - prior.log_prob(grid))
    return float(torch.trapezoid(integrand, grid))


@settings(max_examples=25)
@given(st.floats(-3, 3), st.floats(-6, 3), st.floats(-3, 3), st.floats(0.1, 30))
def test_divergence_is_the_integral(
    mean: float, log_variance: float, location: float, rate: float
) -> None:
    mu, nu, m, lam = torch.tensor([[mean], [log_variance], [location], [rate]]).double()
    expected = _integral(mean, math.exp(0.5 * log_variance), location, rate)
    found = float(kl_laplace(mu, nu, m, lam))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert found > 0.048


@settings(max_examples=25)
@given(st.floats(-1e4, 1e4), st.floats(-80, 20), st.sampled_from([torch.float32, torch.float64]))
def test_gradients_are_finite(mean: float, log_variance: float, dtype: torch.dtype) -> None:
    mu, nu = torch.tensor([[mean], [log_variance]], dtype=dtype).requires_grad_().unbind(0)
    location = torch.zeros(1, dtype=dtype, requires_grad=True)
    kl = kl_laplace(mu, nu, location, torch.full((1,), 6.0, dtype=dtype))
    gradients = torch.autograd.grad(kl, [mu, nu, location])
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert kl.dtype == dtype


@pytest.fixture
def inference() -> Inference:
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 7, 2, 3, generator=generator, dtype=torch.float64)
    return Inference(mean, log_variance)


def test_forward_form_is_the_paper_objective(inference: Inference, particles: Make) -> None:
    kl = LaplaceTransition(rate=4, gamma=3, symmetric=False).kl(inference, particles((7, 2)))
    mean, log_variance = inference.mean, inference.log_variance
    torch.testing.assert_close(kl[:, 0], kl_standard_normal(mean[:, 0], log_variance[:, 0]))
    step = kl_laplace(mean[:, 1], log_variance[:, 1], mean[:, 0], torch.tensor(4.0).double())
    torch.testing.assert_close(kl[:, 1], 3 * step, rtol=1e-6, atol=1e-6)


def test_symmetric_form_is_the_mean_of_both_directions(
    inference: Inference, particles: Make
) -> None:
    batch = particles((7, 2))
    forward = LaplaceTransition(symmetric=False)
    reversed_ = Inference(inference.mean.flip(1), inference.log_variance.flip(1))
    both = 0.5 * (forward.kl(inference, batch) + forward.kl(reversed_, batch).flip(1))
    found = LaplaceTransition().kl(inference, batch)
    torch.testing.assert_close(found.sum(1), both.sum(1))
    torch.testing.assert_close(found.flip(1), LaplaceTransition().kl(reversed_, batch))


def test_gradients_flow_into_both_frames(inference: Inference, particles: Make) -> None:
    mean = inference.mean.requires_grad_()
    kl = LaplaceTransition(symmetric=False).kl(inference, particles((7, 2)))
    (gradient,) = torch.autograd.grad(kl[:, 1].sum(), mean)
    torch.testing.assert_close(gradient[:, 0], -gradient[:, 1])
    assert bool((gradient != 0).all())


def test_steps_widen_with_the_square_root_of_the_interval(
    inference: Inference, particles: Make
) -> None:
    time = torch.tensor([[1.0, 5.0]]).expand(7, 2)
    slow = LaplaceTransition(rate=6).kl(inference, particles((7, 2), time=time))
    torch.testing.assert_close(
        slow, LaplaceTransition(rate=3).kl(inference, particles((7, 2))), rtol=1e-6, atol=1e-6
    )
    drift = LaplaceTransition(rate=6, reference_interval=2, power=1)
    torch.testing.assert_close(drift.kl(inference, particles((7, 2), time=time)), slow)


def test_learned_rates_are_fitted_and_move_fast(particles: Make) -> None:
    prior = LaplaceTransition(rate=2, learnable=True, conformation_dim=2)
    optimizer = torch.optim.Adam(prior.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(1)
    scale = torch.tensor([0.5, 0.1])
    waits = torch.empty(2, 4000, 2).exponential_(generator=generator)
    conformation = torch.stack([torch.zeros(4000, 2), scale * (waits[0] - waits[1])], dim=1)
    batch = particles((4000, 2))
    for _ in range(600):
        optimizer.zero_grad()
        (-prior.log_prob(conformation, batch).mean()).backward()
        optimizer.step()
    torch.testing.assert_close(prior.rate.detach(), 1 / scale, rtol=0.05, atol=0)


def test_fixed_rates_are_not_learned() -> None:
    assert not [p for p in LaplaceTransition().parameters() if p.requires_grad]
    assert LaplaceTransition(rate=1e-3).rate.tolist() == pytest.approx([1e-3])
    assert LaplaceTransition(rate=200).rate.tolist() == pytest.approx([200])


def test_samples_follow_the_density(particles: Make) -> None:
    time = torch.tensor([[0.0, 4.0]]).expand(4000, 2)
    batch = particles((4000, 2), time=time)
    prior = LaplaceTransition(rate=6)
    draw = prior.sample(batch, 2, torch.Generator().manual_seed(0))
    assert draw.shape == (4000, 2, 2)
    step = (draw[:, 1] - draw[:, 0]).flatten().numpy()
    assert kstest(draw[:, 0].flatten().numpy(), "norm").pvalue > 0.01
    assert kstest(step, "laplace", args=(0, 2 / 6)).pvalue > 0.01
    density = prior.log_prob(draw, batch)
    expected = Laplace(draw[:, 0], 2 / 6).log_prob(draw[:, 1]).sum(-1)
    torch.testing.assert_close(density[:, 1], expected)
    torch.testing.assert_close(density[:, 0], Normal(0, 1).log_prob(draw[:, 0]).sum(-1))


@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 2)])
def test_refuses_single_particles(shape: tuple[int, ...], particles: Make) -> None:
    inference = Inference(torch.zeros(shape), torch.zeros(shape))
    with pytest.raises(ValueError, match=r"needs pairs of frames.*set data\.pairs"):
        LaplaceTransition().kl(inference, particles(5))


@pytest.mark.parametrize("later", [0.0, -1.0, math.nan])
def test_refuses_frames_out_of_order(later: float, particles: Make) -> None:
    time = torch.tensor([[0.0, 1.0], [0.0, later]])
    inference = Inference(torch.zeros(2, 2, 1), torch.zeros(2, 2, 1))
    with pytest.raises(ValueError, match=r"found an interval of .* in pair 1"):
        LaplaceTransition().kl(inference, particles((2, 2), time=time))


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"gamma": -1}, {"reference_interval": 0}])
def test_refuses_wrong_numbers(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="needs rate > 0, reference_interval > 0 and gamma >= 0"):
        LaplaceTransition(**wrong)  # type: ignore[arg-type]


def test_refuses_learned_rates_of_unknown_number(particles: Make) -> None:
    with pytest.raises(ValueError, match="needs conformation_dim to learn"):
        LaplaceTransition(learnable=True)
    with pytest.raises(ValueError, match="conformation_dim 2, found conformations with 3"):
        LaplaceTransition(learnable=True, conformation_dim=2).log_prob(
            torch.zeros(4, 2, 3), particles((4, 2))
        )
    with pytest.raises(ValueError, match="learning_rate_scale must be positive, found 0"):
        LaplaceTransition(learning_rate_scale=0)


def test_parameters_survive_a_checkpoint(particles: Make, inference: Inference) -> None:
    prior = LaplaceTransition(learnable=True, conformation_dim=3)
    torch.nn.init.uniform_(next(prior.parameters()))
    other = LaplaceTransition(learnable=True, conformation_dim=3)
    other.load_state_dict(prior.state_dict())
    batch: ParticleBatch = particles((7, 2))
    first: Tensor = prior.kl(inference, batch)
    torch.testing.assert_close(other.kl(inference, batch), first)

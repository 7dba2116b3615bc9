"""The posterior found by rendering, instead of one that an encoder learned to guess."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from cryo_disentangle.protocols.inference import EncoderSetting, Evidence
from cryo_disentangle.types import Inference

__all__ = ["RenderedPosterior"]

# Step of the finite differences of renderings, in units of z, of the order 1 under the prior.
_DIFFERENCE = 0.01
# A Gauss-Newton step longer than the prior's spread leaves where its linearisation holds.
_LARGEST_STEP = 1.0
# Coefficients at once: 64 MB in single precision.
_RENDERED_AT_ONCE = 2**24
# Weight of the newest batch in the running noise, an average over some 20 batches.
_NEWS = 0.05
_SMALLEST_SPREAD = 1e-3


class RenderedPosterior(nn.Module):
    """Finds each particle's conformation by rendering it from the particle's own pose.

    An encoder has to learn what every conformation looks like from everywhere; where it has not,
    its result depends on the pose. Here nothing is learned. The minimum of

        -2 log p(z | image, pose) = |image - CTF · slice(z, pose)|² / σ² + |z - m|² / s² + constant

    is found by Gauss-Newton steps from the best points of a grid (a step that does not decrease it
    is halved and tried again). The posterior is the normal distribution with the curvature at the
    minimum, for each coordinate separately (Laplace's method). The prior is the standard normal, m
    = 0 and s = 1, or that set by `match_prior`. σ² is the unexplained variance of the images, a
    running mean over training steps, so that posteriors are wide until the model can distinguish
    conformations.

    It requires known poses, few coordinates, and a decoder that renders fast. Each particle
    and step costs ``(newton_steps + 1) (Z + 1) starts`` slices and one for every point of the grid,
    without gradients. A decoder whose slices are linear in z needs one step from 0.

    Args:
        n_coefficients: Number of coefficients of an image, which all encoders are given; not used.
        conformation_dim: Number Z of conformation coordinates.
        grid: Values of each coordinate to begin from, in units of the prior's spread s from its
            mean m; all combinations make the grid.
        starts: Number of points of the grid from which steps begin; the best of their ends counts.
        newton_steps: Number of Gauss-Newton steps.

    Attributes:
        noise_variance: σ², of a coefficient; starts at 1, all of a normalised image.
        prior_mean: m, shape (Z,).
        prior_std: s, shape (Z,).

    Raises:
        ValueError: If a number is not positive, the grid is empty or has fewer points than
            ``starts``.

    References:
        Punjani and Fleet 2021 (3D variability analysis, Eq. 4) for slices linear in z; Björck 1996,
        section 9.2.1, for Gauss-Newton steps that are halved; MacKay 2003, chapter 27, for
        Laplace's method.
    """

    points: Tensor
    noise_variance: Tensor
    prior_mean: Tensor
    prior_std: Tensor
    _batches: Tensor

    def __init__(
        self,
        n_coefficients: int,
        conformation_dim: int,
        grid: Sequence[float] = (0.0,),
        starts: int = 1,
        newton_steps: int = 3,
    ) -> None:
        super().__init__()
        if min(n_coefficients, conformation_dim, starts, newton_steps, len(grid)) < 1:
            raise ValueError(
                "a posterior found by rendering needs positive numbers and a grid, found "
                f"conformation_dim={conformation_dim}, grid={list(grid)}, starts={starts}, "
                f"newton_steps={newton_steps}"
            )
        axes = [torch.tensor(grid, dtype=torch.float32)] * conformation_dim
        points = torch.cartesian_prod(*axes).reshape(-1, conformation_dim)
        if starts > len(points):
            raise ValueError(f"starts is {starts}, but the grid has {len(points)} points")
        self.register_buffer("points", points, persistent=False)
        self.register_buffer("noise_variance", torch.ones(()))
        self.register_buffer("prior_mean", torch.zeros(conformation_dim))
        self.register_buffer("prior_std", torch.ones(conformation_dim))
        self.register_buffer("_batches", torch.zeros(()))
        self.starts = starts
        self.newton_steps = newton_steps

    def match_prior(self, mean: Tensor, log_variance: Tensor | None = None) -> None:
        """Takes the mean and spread of conformations that are known as the prior's.

        Args:
            mean: Conformations, or means of their posteriors, shape (N, Z).
            log_variance: Log-variances of the posteriors, shape (N, Z); None counts none.

        Raises:
            ValueError: If there are fewer than two, or they are of another dimension.
        """
        dim = len(self.prior_mean)
        if mean.ndim != 2 or len(mean) < 2 or mean.shape[1] != dim:
            raise ValueError(
                f"a prior is matched to conformations of shape (N, {dim}), N at least 2, found "
                f"{tuple(mean.shape)}"
            )
        variance = mean.var(0)
        if log_variance is not None:
            variance = variance + log_variance.exp().mean(0)
        self.prior_mean.copy_(mean.mean(0))
        self.prior_std.copy_(variance.sqrt().clamp_min(_SMALLEST_SPREAD))

    def bind(self, setting: EncoderSetting) -> None:
        """Refuses a model in which there is no known pose to render from.

        Args:
            setting: The model's setting.

        Raises:
            ValueError: If the model infers poses, or features are to contain them.
        """
        if setting.infers_pose or setting.reads_pose:
            raise ValueError(
                f"{type(self).__name__} renders from known poses: it goes with no pose "
                "head, and there is nothing to set encoder_reads_pose for"
            )

    def posterior(self, evidence: Evidence) -> Inference:
        """Finds the posteriors of B particles.

        Args:
            evidence: What is known of the particles.

        Returns:
            The posterior, mean (B, Z), without gradients.
        """
        return Inference(*self(evidence.coefficients, evidence.render))

    @torch.no_grad()
    def forward(
        self, coefficients: Tensor, render: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Finds posteriors, without gradients and in full precision under autocast too.

        Args:
            coefficients: Hartley coefficients of the centred images, shape (B, M).
            render: Renders P conformations of each particle from its pose and with its CTF,
                (B, P, Z) to (B, P, M).

        Returns:
            Mean and log-variance, each (B, Z).
        """
        with torch.autocast(coefficients.device.type, enabled=False):
            mean, log_variance = self._search(
                coefficients.float(), lambda points: render(self._conformation(points))
            )
        return self._conformation(mean), log_variance + 2 * self.prior_std.log()

    def _conformation(self, points: Tensor) -> Tensor:
        """From units of the prior to those of the decoder."""
        return self.prior_mean + self.prior_std * points

    def _search(
        self, coefficients: Tensor, render: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        best = self._best_of_grid(coefficients, render)
        error, step, curvature = self._newton(best, coefficients, render)
        for _ in range(self.newton_steps):
            tried = best + step
            found, further, curved = self._newton(tried, coefficients, render)
            down = self._energy(tried, found) < self._energy(best, error)
            error = torch.where(down, found, error)
            best = torch.where(down[..., None], tried, best)
            step = torch.where(down[..., None], further, step / 2)
            curvature = torch.where(down[..., None], curved, curvature)
        winner = self._energy(best, error).argmin(1, keepdim=True)
        if self.training:
            left = error.gather(1, winner).mean() / coefficients.shape[1]
            self._batches += 1
            # A plain mean until it is a long one.
            self.noise_variance.lerp_(left, (1 / self._batches).clamp_min(_NEWS))
        taken = winner[..., None].expand(-1, 1, best.shape[-1])
        return best.gather(1, taken)[:, 0], -curvature.gather(1, taken)[:, 0].log()

    def _best_of_grid(self, coefficients: Tensor, render: Callable[[Tensor], Tensor]) -> Tensor:
        """The likeliest points of the grid, shape (B, starts, Z)."""
        everybody = len(coefficients)
        if self.starts == len(self.points):
            return self.points.expand(everybody, -1, -1)
        at_once = max(1, _RENDERED_AT_ONCE // coefficients.numel())
        energies = []
        for part in self.points.split(at_once):
            images = render(part.expand(everybody, -1, -1))
            energies.append(self._energy(part, _squared(coefficients[:, None] - images)))
        return self.points[torch.cat(energies, 1).topk(self.starts, largest=False).indices]

    def _energy(self, points: Tensor, error: Tensor) -> Tensor:
        """-2 log posterior up to a constant, shape (B, P)."""
        return error / self.noise_variance + points.square().sum(-1)

    def _newton(
        self, points: Tensor, coefficients: Tensor, render: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Squared error (B, P), Gauss-Newton step and curvature's diagonal, both (B, P, Z)."""
        dim, variance = points.shape[-1], self.noise_variance
        shifts = _DIFFERENCE * torch.eye(dim + 1, dim, device=points.device).roll(1, 0)
        images = render((points[:, :, None] + shifts).flatten(1, 2)).unflatten(1, (-1, dim + 1))
        slopes = (images[:, :, 1:] - images[:, :, :1]) / _DIFFERENCE
        residual = coefficients[:, None] - images[:, :, 0]
        curvature = slopes @ slopes.mT / variance + torch.eye(dim, device=points.device)
        force = (slopes @ residual[..., None])[..., 0] / variance - points
        # Positive definite, so there is no error to look for, which would wait for a GPU.
        step = torch.linalg.solve_ex(curvature, force).result.clamp(-_LARGEST_STEP, _LARGEST_STEP)
        return _squared(residual), step, curvature.diagonal(dim1=-2, dim2=-1)


def _squared(residual: Tensor) -> Tensor:
    return residual.square().sum(-1)

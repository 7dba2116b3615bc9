"""The posterior found by rendering, instead of one that an encoder learned to guess."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

__all__ = ["RenderedPosterior"]

_DIFFERENCE = 0.05
_LARGEST_STEP = 1.0
_RENDERED_AT_ONCE = 2**24
_NEWS = 0.05


class RenderedPosterior(nn.Module):
    """Finds each particle's conformation by rendering it from the particle's own pose.

    An encoder has to learn what every conformation looks like from everywhere, and where it has
    not, its answer depends on the pose. Here nothing is learned: of

        -2 log p(z | image, pose) = |image - CTF · slice(z, pose)|² / σ² + |z|² + constant

    the minimum is looked for by Gauss-Newton steps from the best points of a grid (a step that does
    not go down is halved and tried again), and the posterior is the normal that has the curvature
    there, coordinates apart (Laplace's method). The prior is the standard normal; σ² is what the
    model leaves unexplained of the images, a running mean over the steps of training, so that
    posteriors are wide until there is something to tell conformations by.

    What it asks for: known poses, few coordinates, and a decoder that renders fast. Each particle
    and step costs ``(newton_steps + 1) (Z + 1) starts`` slices and one for every point of the grid,
    without gradients. A decoder whose slices are linear in z needs one step from 0.

    Args:
        n_coefficients: Number of coefficients of an image, as encoders are told; any will do.
        conformation_dim: Number Z of conformation coordinates.
        grid: Values of each coordinate to begin from; all combinations make the grid.
        starts: Number of points of the grid from which steps begin; the best of their ends counts.
        newton_steps: Number of Gauss-Newton steps.

    Attributes:
        renders: Tells a model to give the means of rendering besides the image.
        noise_variance: σ², of a coefficient; starts at 1, all of a normalised image.

    Raises:
        ValueError: If a number is not positive, the grid is empty or has fewer points than
            ``starts``.

    References:
        Punjani and Fleet 2021 (3D variability analysis, Eq. 4) for slices linear in z; Björck 1996,
        section 9.2.1, for Gauss-Newton steps that are halved; MacKay 2003, chapter 27, for
        Laplace's method.
    """

    renders = True
    points: Tensor
    noise_variance: Tensor

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
        self.starts = starts
        self.newton_steps = newton_steps

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
            return self._search(coefficients.float(), render)

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
            self.noise_variance.lerp_(left, _NEWS)
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
        step = torch.linalg.solve(curvature, force).clamp(-_LARGEST_STEP, _LARGEST_STEP)
        return _squared(residual), step, curvature.diagonal(dim1=-2, dim2=-1)


def _squared(residual: Tensor) -> Tensor:
    return residual.square().sum(-1)

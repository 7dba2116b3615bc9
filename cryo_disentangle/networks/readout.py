"""Linear readings of a trained latent: principal and independent components, fitted afterwards."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["LinearReadout", "negentropy"]


def negentropy(components: Tensor) -> Tensor:
    """Estimates how far from normal each component is.

    J(y) ≈ k₁ E[y exp(-y²/2)]² + k₂ (E[exp(-y²/2)] - √½)² of the standardised y, with
    k₁ = 36 / (8√3 - 9) and k₂ = 24 / (16√3 - 27).

    Args:
        components: Shape (N, K).

    Returns:
        Negentropy in nats, shape (K,): 0 for a normal component, else positive; 0 for a constant.

    References:
        Hyvärinen 1998, New approximations of differential entropy for independent
        component analysis and projection pursuit; Gao et al. 2020.
    """
    y = components.double()
    centred = y - y.mean(0)
    deviation = centred.square().mean(0).sqrt()
    y = centred / deviation.clamp_min(torch.finfo(torch.float64).tiny)
    bell = torch.exp(-y.square() / 2)
    odd = (y * bell).mean(0).square()
    even = (bell.mean(0) - math.sqrt(0.5)).square()
    root = math.sqrt(3)
    found = 36 / (8 * root - 9) * odd + 24 / (16 * root - 27) * even
    return torch.where(deviation > 0, found, torch.zeros_like(found)).to(components.dtype)


class LinearReadout(nn.Module):
    """Components of a conformation, (z - centre) @ matrixᵀ, with a state dict.

    Args:
        conformation_dim: Number Z of coordinates.
        components: Number K of components; None is Z.

    Attributes:
        centre: Shape (Z,).
        matrix: Rows read one component each, shape (K, Z).
        negentropy: Of each component over the fitted latents in nats, shape (K,).

    Raises:
        ValueError: If not 1 <= components <= conformation_dim.
    """

    centre: Tensor
    matrix: Tensor
    negentropy: Tensor

    def __init__(self, conformation_dim: int, components: int | None = None) -> None:
        super().__init__()
        count = conformation_dim if components is None else components
        if not 1 <= count <= conformation_dim:
            raise ValueError(
                f"a reading of {conformation_dim} coordinates has 1 to {conformation_dim} "
                f"components, found {count}"
            )
        self.register_buffer("centre", torch.zeros(conformation_dim))
        self.register_buffer("matrix", torch.eye(count, conformation_dim))
        self.register_buffer("negentropy", torch.zeros(count))

    @classmethod
    def pca(cls, conformation: Tensor, components: int | None = None) -> LinearReadout:
        """Fits principal components, in order of variance, in the units of z.

        Args:
            conformation: Latents of a data set, shape (N, Z).
            components: Number K of components; None is Z.

        Returns:
            The reading; its rows are orthonormal.

        Raises:
            ValueError: If there are not more than Z rows, an entry is not finite, all rows are the
                same, or K is not in 1 .. Z.
        """
        from sklearn.decomposition import PCA

        readout = cls(conformation.shape[-1], components)
        values = _checked(conformation)
        if bool((values == values[:1]).all()):
            raise ValueError(
                "the conformations of all particles are the same: no axis is principal"
            )
        found = PCA(len(readout.matrix), svd_solver="full").fit(values.numpy())
        return readout._filled(values, torch.from_numpy(found.components_))

    @classmethod
    def ica(
        cls, conformation: Tensor, components: int | None = None, seed: int = 0
    ) -> LinearReadout:
        """Fits independent components of variance one, in order of negentropy.

        Args:
            conformation: Latents of a data set, shape (N, Z).
            components: Number K of components; None is Z.
            seed: Seed of FastICA's start.

        Returns:
            The reading.

        Raises:
            ValueError: If there are not more than Z rows, an entry is not finite, or K is not in
                1 .. Z.

        References:
            Hyvärinen 1999, FastICA; Gao et al. 2020.
        """
        from sklearn.decomposition import FastICA

        readout = cls(conformation.shape[-1], components)
        values = _checked(conformation)
        found = FastICA(
            len(readout.matrix),
            whiten="unit-variance",
            whiten_solver="eigh",
            max_iter=1000,
            random_state=seed,
        ).fit(values.numpy())
        rows = torch.from_numpy(found.components_)
        order = negentropy((values - values.mean(0)) @ rows.T).argsort(descending=True)
        return readout._filled(values, rows[order])

    def forward(self, conformation: Tensor) -> Tensor:
        """Reads the components.

        Args:
            conformation: Shape (..., Z).

        Returns:
            Shape (..., K).
        """
        return (conformation - self.centre) @ self.matrix.T

    def _filled(self, values: Tensor, rows: Tensor) -> LinearReadout:
        """Takes over what was fitted; a component's sign is that of its largest loading."""
        largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
        rows = rows * largest.sign()
        self.centre.copy_(values.mean(0))
        self.matrix.copy_(rows)
        self.negentropy.copy_(negentropy((values - values.mean(0)) @ rows.T))
        return self


def _checked(conformation: Tensor) -> Tensor:
    """Latents that can be fitted, in double precision on the CPU."""
    if conformation.ndim != 2 or len(conformation) <= conformation.shape[1]:
        raise ValueError(
            "a reading is fitted to latents (N, Z) with more rows than coordinates, found shape "
            f"{tuple(conformation.shape)}"
        )
    if not bool(conformation.isfinite().all()):
        raise ValueError("a reading is fitted to finite latents, found NaN or infinity")
    return conformation.detach().double().cpu()

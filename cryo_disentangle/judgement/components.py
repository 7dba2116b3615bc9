"""Linear readings of latents that may have no clear directions."""

from __future__ import annotations

import warnings

from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from cryo_disentangle.networks import LinearReadout

__all__ = ["fit_independent"]


def fit_independent(conformation: Tensor) -> LinearReadout:
    """Fits independent components, whether or not the directions of z are clear.

    Args:
        conformation: Latents, shape (N, Z).

    Returns:
        The reading. Where z is nearly normal FastICA finds no direction better than another and
        does not converge; the negentropies near 0 say so.

    Raises:
        ValueError: As `LinearReadout.ica`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LinearReadout.ica(conformation)

"""InfoMEC: modularity, explicitness and compactness by information."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional._contingency import compare
from cryo_disentangle.metrics.functional._mixed_information import mixed_information
from cryo_disentangle.metrics.functional.binning import bin_codes, classes
from cryo_disentangle.metrics.functional.codes import (
    Array,
    check_codes,
    constant_columns,
    integer_labels,
    standardize,
)
from cryo_disentangle.metrics.functional.correlation import r2_linear
from cryo_disentangle.metrics.functional.information import entropy

__all__ = ["InfoMECScores", "infomec"]

# Neighbours of more samples cost seconds and change the third digit.
_LARGEST_SAMPLE = 10_000
# Smallest range of an active latent relative to the largest one's, in the reference's form.
_RANGE = 1 / 20
# Parts equal numbers, which have no nearest neighbour; in standard deviations.
_DITHER = 1e-10


class InfoMECScores(NamedTuple):
    """The three scores and what they are made of.

    All scores are scalars.

    Attributes:
        modularity: Whether each latent encodes one factor only (InfoM), in [0, 1].
        explicitness: How well a linear map of the latents predicts the factors (InfoE), in [0, 1].
        compactness: Whether each factor is encoded by one latent only (InfoC), in [0, 1].
        information: Mutual information of each latent and factor over the factor's entropy,
            shape (K, D).
        active: Which latents were counted, shape (K,), bool.
    """

    modularity: Tensor
    explicitness: Tensor
    compactness: Tensor
    information: Tensor
    active: Tensor


def infomec(
    z: Array,
    factors: Array,
    *,
    seed: int = 0,
    neighbors: int = 10,
    bins: int = 20,
    reference: bool = False,
) -> InfoMECScores:
    """InfoMEC: modularity (InfoM), explicitness (InfoE) and compactness (InfoC).

    With N_ij = I(z_i; f_j) / H(f_j) of factors cut into bins of equal mass, estimated by nearest
    neighbours (`mixed_information`)::

        modularity  = mean over active latents i of (max_j N_ij / Σ_j N_ij − 1/D) / (1 − 1/D)
        compactness = mean over factors j of (max_i N_ij / Σ_i N_ij − 1/A) / (1 − 1/A)

    with A active latents, over which the second maximum and sum go. N_ij counts as 0 where a test
    of independence (that of `modularity`) can't tell it from chance; active are the latents for
    which it tells one at least. explicitness is the share of the factors' variance that a linear
    map tells of held-out samples (`r2_linear`, at least 0): the linear predictive information
    that the paper normalises, for continuous factors.

    Edge cases: constant latents are not active; without active latents (noise, constant latents
    or factors, few samples) modularity and compactness are 0, as is what a factor without any
    information contributes. With one factor, active latents are modular; with one active latent
    the factors it tells are compact. Equal latents share their factor and lower compactness,
    equal factors lower modularity, fewer latents than factors lower compactness and explicitness
    by what is not told.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D), continuous or classes; with ``reference`` integer
            labels.
        seed: Draws the held-out samples, the dither that parts equal numbers (1e-10 standard
            deviations), and 10,000 samples to estimate information from if there are more.
        neighbors: Number of neighbours of the estimate.
        bins: Number of bins of a factor; a factor of no more distinct values keeps them.
        reference: The published code's form: every label is a class; active are the latents
            whose range exceeds a 20th of the largest one; no test of independence; explicitness
            is 1 - (cross entropy / log C) of an unpenalised logistic regression with balanced
            classes on the training samples themselves, C being the number of classes.

    Returns:
        Scores, float64 scalars, with the information they are made of.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples, ``neighbors`` is less
            than 1, or the reference's factors are no integers.

    References:
        Hsu, Dorrell, Whittington, Wu and Finn, Disentanglement via latent quantization,
        NeurIPS 2023, section 4; Xu et al., A theory of usable information, ICLR 2020,
        proposition 1.5 (linear regression).
    """
    if neighbors < 1:
        raise ValueError(f"neighbors must be at least 1, got {neighbors}")
    latents, truth = check_codes(z, factors, minimum=4)
    if reference:
        labels = classes(integer_labels(truth), "factors")
        pairs = (~constant_columns(latents))[:, None].expand(-1, labels.shape[1])
        ranges = latents.amax(0) - latents.amin(0)
        active = ranges > _RANGE * ranges.max()
        explicitness = _classifier_explicitness(latents, labels)
    else:
        labels = bin_codes(truth, bins)
        pairs = compare(bin_codes(latents, bins), labels).evident > 0
        active = pairs.any(1)
        explicitness = r2_linear(latents, truth, seed=seed).clamp(min=0)
    information = _normalised_information(latents, labels, pairs, neighbors=neighbors, seed=seed)
    return InfoMECScores(
        modularity=_mean_lead(information[active]),
        explicitness=explicitness,
        compactness=_mean_lead(information[active].T),
        information=information,
        active=active,
    )


def _normalised_information(
    z: Tensor, labels: Tensor, pairs: Tensor, *, neighbors: int, seed: int
) -> Tensor:
    """I(z_i; f_j) / H(f_j) of the pairs (K, D) asked for, of at most so many samples; else 0."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(z), generator=generator)[:_LARGEST_SAMPLE].sort().values
    latents, chosen = standardize(z[rows]), labels[rows]
    noise = torch.randn(latents.shape, generator=generator, dtype=latents.dtype)
    dithered = (latents + _DITHER * noise.to(latents.device)).T.contiguous()
    columns = chosen.T.contiguous()
    information = torch.zeros(pairs.shape, dtype=z.dtype, device=z.device)
    for i, j in pairs.nonzero().tolist():
        information[i, j] = mixed_information(dithered[i], columns[j], neighbors)
    uncertainty = entropy(chosen)
    return information / uncertainty.masked_fill(uncertainty == 0, torch.inf)


def _mean_lead(information: Tensor) -> Tensor:
    """Mean over rows of the largest entry's share, rescaled from [1/columns, 1] to [0, 1]."""
    rows, columns = information.shape
    if rows == 0 or columns == 0:
        return information.new_zeros(())
    total = information.sum(1)
    informed = total > 0
    share = information.amax(1) / total.masked_fill(~informed, 1.0)
    lead = (share - 1 / columns) / (1 - 1 / columns) if columns > 1 else share
    return lead.masked_fill(~informed, 0.0).mean()


def _classifier_explicitness(z: Tensor, labels: Tensor) -> Tensor:
    """Mean over factors of 1 - cross entropy / log C of a logistic regression, shape ()."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    x = standardize(z).cpu().numpy()
    scores = []
    for y in labels.T.cpu():
        occupied, target = y.unique(return_inverse=True)
        if len(occupied) < 2:
            scores.append(0.0)
            continue
        with warnings.catch_warnings():
            # Separable classes have no optimum; the reference stops after 100 steps as well.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=math.inf, class_weight="balanced")
            probabilities = torch.from_numpy(model.fit(x, target.numpy()).predict_proba(x))
        own = probabilities.gather(1, target[:, None]).clamp(min=torch.finfo(torch.float64).eps)
        scores.append(1 + float(own.log().mean()) / math.log(len(occupied)))
    return torch.tensor(scores, dtype=torch.float64, device=z.device).mean()

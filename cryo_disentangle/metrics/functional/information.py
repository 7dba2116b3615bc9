"""Metrics of mutual information between binned latents and factors."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional._contingency import Dependence, compare, count
from cryo_disentangle.metrics.functional._memo import remember_last
from cryo_disentangle.metrics.functional.binning import bin_codes, classes
from cryo_disentangle.metrics.functional.codes import Array, check_codes

__all__ = [
    "ModularityDetails",
    "entropy",
    "med",
    "mig",
    "modularity",
    "modularity_details",
    "mutual_information",
]


def entropy(labels: Array, *, miller_madow: bool = False) -> Tensor:
    """Entropy of the distinct values of every column, in nats.

    H = -Σ p log p, plus (m - 1)/(2N) for m occupied classes by Miller and Madow (1955).

    Args:
        labels: Classes, shape (N, C) or (N,).
        miller_madow: Whether to correct the bias of the plug-in estimate.

    Returns:
        Shape (C,), float64; a constant column has 0.
    """
    found = classes(labels, "labels")
    rows = len(found)
    counts = count(found)
    plug_in = (math.log(rows) - counts.n_log_n / rows).clamp(min=0)
    return plug_in + (counts.occupied - 1) / (2 * rows) if miller_madow else plug_in


def mutual_information(labels_a: Array, labels_b: Array, *, miller_madow: bool = False) -> Tensor:
    """Mutual information of all pairs of columns, in nats.

    I = Σ p_ab log(p_ab / (p_a p_b)) with relative frequencies p (plug-in), which is about
    (B_a - 1)(B_b - 1)/(2N) too high for independent columns. Miller and Madow (1955) take
    (m_ab - m_a - m_b + 1)/(2N) off, with m occupied classes.

    Args:
        labels_a: Classes, shape (N, K) or (N,).
        labels_b: Classes, shape (N, D) or (N,).
        miller_madow: Whether to correct the bias; negative results become 0.

    Returns:
        Shape (K, D), float64; exactly 0 where a column is constant.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples.
    """
    check_codes(labels_a, labels_b, minimum=1)
    a = classes(labels_a, "labels_a")
    found = compare(a, classes(labels_b, "labels_b").to(a.device))
    return found.corrected if miller_madow else found.plug_in


def mig(
    z: Array,
    factors: Array,
    *,
    bins: int = 20,
    miller_madow: bool = True,
    reference: bool = False,
) -> Tensor:
    """Mutual information gap.

    MIG = mean over factors j of (I(z_first; f_j) - I(z_second; f_j)) / H(f_j), first and second
    being the two latents that know most of f_j. Latents and factors are cut into bins of equal
    mass, so monotone maps of either change nothing.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D), continuous or classes.
        bins: Number of bins.
        miller_madow: Whether informations and entropies are corrected for small samples.
        reference: disentanglement_lib's form: latents in bins of equal width, every distinct value
            of a factor a class of its own, no correction. Bin continuous factors before.

    Returns:
        Scalar in [0, 1]; 1 where one latent alone knows each factor.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples.

    Edge cases: a constant latent knows nothing and a single latent has a second of 0 (K < D costs
    the factors that no latent knows); a constant factor contributes 0; duplicate latents give 0;
    duplicate factors are no fault; with fewer samples than bins all pairs look alike: 0.

    References:
        Chen, Li, Grosse and Duvenaud 2018, Isolating sources of disentanglement, Eq. 6.
    """
    shared = _share(*check_codes(z, factors), bins, reference)
    corrected = miller_madow and not reference
    information = shared.dependence.corrected if corrected else shared.dependence.plug_in
    top = torch.cat([information, torch.zeros_like(information[:1])]).topk(2, dim=0).values
    uncertainty = shared.corrected_entropy if corrected else shared.entropy
    gap = (top[0] - top[1]) / uncertainty.masked_fill(uncertainty == 0, 1.0)
    return gap.mean()


class _Shared(NamedTuple):
    """What latents and factors share, and the uncertainty of the factors (D,) in nats."""

    dependence: Dependence
    entropy: Tensor
    corrected_entropy: Tensor


@remember_last
def _share(latents: Tensor, truth: Tensor, bins: int, reference: bool) -> _Shared:
    """Cuts latents and factors as the default or as the reference does, and compares them."""
    if reference:
        labels = bin_codes(latents, bins, rule="width"), classes(truth, "factors")
    else:
        labels = bin_codes(latents, bins), bin_codes(truth, bins)
    uncertainty = (entropy(labels[1], miller_madow=corrected) for corrected in (False, True))
    return _Shared(compare(*labels), *uncertainty)


class ModularityDetails(NamedTuple):
    """Modularity and what it was made of.

    Attributes:
        score: Mean modularity of the informative latents, scalar.
        per_latent: Modularity of each latent, shape (K,); 0 for latents without information.
        informative: Which latents know something of a factor, shape (K,), bool.
        pruned: How many latents know nothing and were left out, scalar, int64.
    """

    score: Tensor
    per_latent: Tensor
    informative: Tensor
    pruned: Tensor


def modularity_details(
    z: Array, factors: Array, *, bins: int = 20, reference: bool = False
) -> ModularityDetails:
    """Modularity with the latents it was averaged over; see `modularity`.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D), continuous or classes.
        bins: Number of bins.
        reference: disentanglement_lib's form, which averages over all latents.

    Returns:
        Score, modularity of each latent, which are informative and how many are not.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples.
    """
    found = _share(*check_codes(z, factors), bins, reference).dependence
    information = found.plug_in if reference else found.evident
    best = information.amax(1)
    informative = best > 0
    relative = information / best.masked_fill(~informative, 1.0)[:, None]
    # D = 1 leaves no other factor to know of: an informative latent is modular.
    others = max(1, information.shape[1] - 1)
    per_latent = (1 - (relative.square().sum(1) - 1) / others).masked_fill(~informative, 0.0)
    averaged = len(best) if reference else informative.sum().clamp(min=1)
    return ModularityDetails(
        per_latent.sum() / averaged, per_latent, informative, (~informative).sum()
    )


def modularity(z: Array, factors: Array, *, bins: int = 20, reference: bool = False) -> Tensor:
    """Modularity: whether each latent knows of one factor only.

    Mean over latents i of 1 - Σ_{j ≠ best} I(z_i; f_j)² / (I(z_i; f_best)² (D - 1)). Latents and
    factors are cut into bins of equal mass, informations are corrected for few samples (Miller and
    Madow), and pairs that a test of independence (Pearson's χ² with its exact mean and variance,
    level 1e-4) can't tell from chance count as 0. Latents without information are left out:
    `modularity_details` says how many.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D), continuous or classes.
        bins: Number of bins.
        reference: disentanglement_lib's form: latents in bins of equal width, every distinct value
            of a factor a class of its own, no correction and no test; latents without information
            count 0. Bin continuous factors before.

    Returns:
        Scalar in [0, 1]; 1 where each informative latent knows of one factor. Says nothing of
        accuracy or completeness.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples.

    Edge cases: 0 where no latent is informative (constant latents, noise, fewer samples than
    bins); 1 for one factor that some latent knows; duplicate latents cost nothing, duplicate
    factors do (a latent that knows one knows both); K < D is no fault.

    References:
        Ridgeway and Mozer 2018, Learning deep disentangled embeddings, Eq. 2.
    """
    return modularity_details(z, factors, bins=bins, reference=reference).score


def med(z: Array, factors: Array, *, bins: int = 20) -> Tensor:
    """Mutual information based entropy disentanglement.

    R_ij = I(z_i; f_j) / Σ_k I(z_k; f_j); MED = Σ_i ρ_i (1 - H_D(R_i·)), with the entropy H_D to
    base D of row i brought to sum 1 and ρ_i its share of ΣR: the disentanglement of DCI with
    information for importance. Informations are those of `modularity`: corrected, and 0 where
    they are not above chance.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D), continuous or classes.
        bins: Number of bins.

    Returns:
        Scalar in [0, 1]; 1 where each informative latent knows of one factor.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples.

    Edge cases: 0 where no latent is informative (constant latents, noise, fewer samples than
    bins); 1 for one factor that some latent knows; duplicate factors cost, duplicate latents and
    K < D don't.

    References:
        Cao et al. 2022, An empirical study on disentanglement of negative-free contrastive
        learning, Section 3.2.
    """
    information = _share(*check_codes(z, factors), bins, False).dependence.evident
    known = information.sum(0)
    importance = information / known.masked_fill(known == 0, 1.0)
    weight = importance.sum(1)
    shares = importance / weight.masked_fill(weight == 0, 1.0)[:, None]
    base = math.log(max(2, importance.shape[1]))
    order = 1 + torch.xlogy(shares, shares).sum(1) / base
    return (weight * order).sum() / weight.sum().clamp(min=1e-12)

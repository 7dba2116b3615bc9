"""What the table of inferred particles says of its latents; no image is looked at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.judgement.components import fit_independent
from cryo_disentangle.judgement.identifiability import following_frames, judge_identifiability
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.scores import Measurement
from cryo_disentangle.judgement.use import IN_USE, predicted_spread, share_known
from cryo_disentangle.metrics import PoseLeak, SpreadLeak, disentanglement_metrics
from cryo_disentangle.metrics.functional import r2_linear
from cryo_disentangle.metrics.functional.probes import (
    deal_rows,
    nonlinear_predictions,
    r_squared,
)
from cryo_disentangle.networks import LinearReadout, negentropy
from cryo_disentangle.priors.standard_normal import kl_standard_normal

__all__ = [
    "describe_components",
    "describe_coordinates",
    "judge_labels",
    "measure_disentanglement",
    "measure_leaks",
    "measure_truth",
]

_ICA_ROWS = 20_000
# The smallest number that makes p-values of 0.01.
_PERMUTATIONS = 99
# Relative rounding of latents in single precision.
_CONSTANT = 1e-6
# What labels are called on the page: what slows down is known by the time of frames.
_LABELS = {"temperature": "temperature", "slowness": "time"}


def measure_leaks(found: Measurement, particles: InferredParticles) -> None:
    """Measures what z knows of view, defocus, shift, time and temperature, by mean and by spread.

    Args:
        found: Gets the groups ``pose_leak`` and ``spread_leak``.
        particles: The particles that probes are fitted to.
    """
    batch = particles.as_batch()
    if not {"rotation", "translation", "ctf", "time", "temperature"} & batch.keys():
        reason = "the particles have neither poses nor anything else that could leak"
        found.missing |= dict.fromkeys(("pose_leak", "spread_leak"), reason)
        return
    with found.attempt("pose_leak"):
        leak = PoseLeak()
        leak.update(particles.mean, batch)
        found.keep_metric("pose_leak", leak, intervals=True)
        # What z knows of something is never less than nothing.
        group = found.scores["pose_leak"]
        found.scores["pose_leak"] = {name: s.at_least_zero() for name, s in group.items()}
    with found.attempt("spread_leak"):
        spread, width = SpreadLeak(), predicted_spread(particles)
        spread.update(particles.mean, batch, width)
        found.keep_metric("spread_leak", spread, intervals=False)
        divided = torch.tensor(float(width is not None))
        found.keep("spread_leak", {"divided_by_posterior": divided})


def describe_coordinates(found: Measurement, particles: InferredParticles) -> None:
    """Describes how much each coordinate is used.

    Args:
        found: Gets the group ``conformations`` and ``coordinates``.
        particles: All particles.
    """
    mean, log_variance = particles.mean.double(), particles.log_variance
    found.coordinates["std"] = mean.std(0).tolist()
    # Latents that all particles share, to single precision.
    constant = (mean - mean[:1]).abs().amax() <= _CONSTANT * mean.abs().amax()
    dimension = torch.tensor(float(mean.shape[1]))
    found.keep("conformations", {"dimension": dimension, "collapsed": constant.double()})
    if log_variance is None:
        found.missing["posterior_collapse"] = "the run keeps no posterior variances"
        return
    share = share_known(mean, log_variance)
    kl = kl_standard_normal(mean[..., None], log_variance.double()[..., None]).mean(0)
    found.coordinates |= {
        "kl_nats": kl.tolist(),
        "posterior_std": log_variance.double().exp().mean(0).sqrt().tolist(),
        "share_known": share.tolist(),
    }
    used = (share > IN_USE).double().sum()
    collapsed = (constant | (used == 0)).double()
    found.keep(
        "conformations",
        {"coordinates_in_use": used, "collapsed": collapsed, "kl_nats": kl.sum()},
    )


def describe_components(found: Measurement, particles: InferredParticles) -> None:
    """Reads principal and independent components of z.

    Args:
        found: Gets ``components``.
        particles: All particles.
    """
    mean = particles.mean
    with found.attempt("components"):
        principal = LinearReadout.pca(mean)
        found.components |= {
            "pca_variance_share": _variance_shares(principal(mean)),
            "pca_negentropy": principal.negentropy.tolist(),
            "coordinate_negentropy": negentropy(mean.double()).tolist(),
        }
        independent = fit_independent(mean[evenly(len(mean), _ICA_ROWS)])
        found.components["ica_negentropy"] = negentropy(independent(mean)).tolist()


def _variance_shares(components: Tensor) -> list[float]:
    """Share of each component (N, Z) in the variance of all."""
    variance = components.double().var(0)
    if not float(variance.sum()) > 0:
        raise ValueError("the conformations of all particles are the same")
    shares: list[float] = (variance / variance.sum()).tolist()
    return shares


def measure_disentanglement(found: Measurement, particles: InferredParticles) -> None:
    """Scores z against true factors in every way there is.

    Args:
        found: Gets the group ``disentanglement``.
        particles: The particles that are scored.
    """
    factors = particles.factors
    if factors is None:
        found.missing["disentanglement"] = "the particles' true factors are not known"
        return
    with found.attempt("disentanglement"):
        codes = particles.mean, factors
        if found.resamples:
            intervals = disentanglement_metrics(
                *codes, with_interval=True, resamples=found.resamples
            )
            found.keep("disentanglement", intervals)
        else:
            found.keep("disentanglement", disentanglement_metrics(*codes))


def measure_truth(found: Measurement, particles: InferredParticles) -> None:
    """Tests whether z says anything of the true factors.

    Args:
        found: Gets the group ``truth``: ``r2_linear``, held-out R² of the factors from z, mean over
            factors, ``r2_nonlinear`` of the factor that is predicted best, and ``p_value`` of the
            latter by permuted particles.
        particles: The particles that are scored.
    """
    factors = particles.factors
    if factors is None:
        return
    with found.attempt("truth"):
        generator = torch.Generator().manual_seed(0)
        orders = [torch.randperm(len(factors), generator=generator) for _ in range(_PERMUTATIONS)]
        # Of the particles as they are, and permuted; one fit serves all.
        every = [factors, *(factors[order] for order in orders)]
        best, *permuted = _best_r2(particles.mean, torch.stack(every, 1))
        as_good = sum(float(each) >= float(best) for each in permuted)
        found.keep(
            "truth",
            {
                "r2_linear": r2_linear(particles.mean, factors),
                "r2_nonlinear": best,
                "p_value": torch.tensor((1 + as_good) / (1 + _PERMUTATIONS)),
            },
        )


def judge_labels(found: Measurement, particles: InferredParticles) -> None:
    """Tests whether temperature or time distinguish the coordinates.

    Args:
        found: Gets the group ``identifiability`` and ``verdicts``.
        particles: All particles.
    """
    if particles.frames is None:
        with found.attempt("slowness_identifiability"):
            particles = replace(particles, frames=following_frames(particles))
    for name, judgement in judge_identifiability(particles).items():
        label = _LABELS[name]
        found.verdicts[label] = judgement.words
        scores = {f"{label}_{key}": torch.tensor(v) for key, v in judgement.scores.items()}
        if scores:
            found.keep("identifiability", scores)


def evenly(total: int, count: int) -> npt.NDArray[np.int64]:
    """Chooses places evenly spread over all.

    Args:
        total: How many there are.
        count: How many are wanted, at most.

    Returns:
        Places, ascending.
    """
    count = min(count, total)
    return np.arange(count, dtype=np.int64) * total // max(count, 1)


def _best_r2(latents: Tensor, factors: Tensor) -> Tensor:
    """Held-out nonlinear R² from z of the best predicted factor of each set, (N, S, F)."""
    x, y = latents.double(), factors.double().flatten(1)
    split = deal_rows(len(x), seed=0, device=x.device)
    told = r_squared(y[split.test], nonlinear_predictions(x, y, split, seed=0))
    return told.unflatten(0, factors.shape[1:]).amax(1)

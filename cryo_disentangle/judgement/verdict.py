"""The verdict: does z encode its particle, and is what it encodes the viewing direction?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from cryo_disentangle.judgement.alarms import alarms, mean_follows_view
from cryo_disentangle.judgement.entanglement import ENTANGLED
from cryo_disentangle.judgement.scores import Score

__all__ = ["Verdict", "judge"]

# Shares of z that follow the view. Limits of this package, for words only.
_SLIGHT, _STRONG = 0.05, 0.25
_SIGNIFICANT = 0.01
# The smallest ratio of spreads between views that is reported.
_WIDER = 1.2
# With fewer images the test of decoding misses latents that are honest but noisy.
_FEWEST_IMAGES = 100
# What is not noise is taken for this share of z at least: a quotient of two noises says nothing.
_LEAST_SIGNAL = 0.2

Groups: TypeAlias = Mapping[str, Mapping[str, Score]]
Kind: TypeAlias = Literal[
    "conformation", "partly viewing direction", "viewing direction", "nothing", "unknown"
]

_HEADLINES: dict[Kind, str] = {
    "conformation": "z encodes conformation, and hardly the viewing direction.",
    "partly viewing direction": "z encodes the viewing direction in part.",
    "viewing direction": "z encodes the viewing direction: the same molecule seen from another "
    "direction has another z.",
    "nothing": "z does not encode the particle.",
    "unknown": "It is not known whether z encodes anything.",
}


class Verdict(NamedTuple):
    """Verdict on what a latent space encodes.

    Attributes:
        verdict: ``conformation``, ``partly viewing direction``, ``viewing direction``, ``nothing``
            or ``unknown``.
        headline: The answer in a sentence.
        reasons: What it rests on, a sentence each, with the numbers.
    """

    verdict: Kind
    headline: str
    reasons: list[str]


class _Finding(NamedTuple):
    """Whether something holds, None where it is not known, and the sentence that says why."""

    holds: bool | None
    reason: str


def judge(scores: Groups, sample: str | None = None) -> Verdict:
    """Judges a latent space by two findings.

    The first is whether z says anything of its particle: against true factors where they are known,
    else by the test of decoding (`DecodingTest`). The second is whether what it says is the viewing
    direction: the largest of three shares, each 0 for a z that knows no view and 1 for one that is
    nothing else, the R² of z from the pose; how far z moves when an image is rotated; and how far
    when the molecule is rendered from another direction, the last two without what the noise of
    images moves z by. Up to 0.05 is no encoding of the view, up to 0.25 is one in part, and so is a
    spread of z that follows the view, or 2 % of a coordinate that do so beyond doubt
    (`mean_follows_view`). Where the true conformations depend on the view, the R² is of what of z
    the true factors do not explain, and mean and spread at single views do not count. Without the
    first finding it is not known whether z encodes anything; where the first fails, z does not
    encode the particle.

    Args:
        scores: As `Measurement.scores`.
        sample: What the numbers are of, for the reasons: ``held-out`` or ``training`` particles;
            None says nothing.

    Returns:
        The verdict.
    """
    if _collapsed(scores):
        used = scores.get("conformations", {}).get("coordinates_in_use")
        unused = "Images determine less than half of the variance of every coordinate of z."
        reasons = [unused] if used is not None and used.value == 0 else []
        return Verdict("nothing", "z encodes nothing: it has collapsed.", reasons)
    encodes = _encodes(scores, seen=sample == "training")
    leak = _leak(scores)
    shares = [share for share in (leak, _turning(scores), _trading(scores)) if share is not None]
    spread = _spread(scores)
    # Where conformations depend on the view, so do the mean and the spread of a perfect z.
    slightly = not _entangled(scores) and (spread.holds is True or mean_follows_view(scores))
    kind = _decide(encodes.holds, leak, shares, slightly=slightly)
    reasons = [encodes.reason, *(reason for _, reason in shares), spread.reason, _noise(scores)]
    reasons += alarms(scores)
    reasons.append({None: "", "held-out": _HELD_OUT, "training": _TRAINING}.get(sample, ""))
    headline = _HEADLINES[kind]
    if encodes.holds is None and kind == "partly viewing direction":
        headline += " It is not known whether it encodes anything else."
    return Verdict(kind, headline, [reason for reason in reasons if reason])


_HELD_OUT = "Scores are those of held-out particles, which were not used in training."
_TRAINING = "Scores are those of training particles; on new particles they may be worse."


def _decide(
    encodes: bool | None,
    leak: tuple[float, str] | None,
    shares: list[tuple[float, str]],
    *,
    slightly: bool,
) -> Kind:
    """The verdict of both findings."""
    if encodes is False:
        # What moves when images are rotated may be noise; what a pose predicts is not.
        known = leak is not None and leak[0] > _SLIGHT
        return "viewing direction" if known else "nothing"
    worst = max((share for share, _ in shares), default=None)
    if worst is not None and worst > _STRONG:
        return "viewing direction"
    if slightly or (worst is not None and worst > _SLIGHT):
        return "partly viewing direction"
    return "conformation" if encodes and worst is not None else "unknown"


def _collapsed(scores: Groups) -> bool:
    """Whether z says the same of all particles."""
    used = scores.get("conformations", {}).get("coordinates_in_use")
    flagged = any(
        scores.get(group, {}).get(name, Score(0.0)).value > 0
        for group, name in (
            ("conformations", "collapsed"),
            ("rotation", "rotation_collapsed"),
            ("interventions", "collapsed"),
        )
    )
    return flagged or (used is not None and used.value == 0)


def _encodes(scores: Groups, *, seen: bool) -> _Finding:
    """The first finding: whether z says anything of its particle."""
    truth, decoding = scores.get("truth"), scores.get("decoding")
    if truth:
        return _tells_truth(scores, truth, seen=seen)
    if decoding:
        gain, p_value = decoding["decoding_gain"].value, decoding["decoding_p_value"].value
        count = decoding["decoding_particles"].value
        holds = p_value <= _SIGNIFICANT and gain > 0
        compared = (
            f"with its own z than with another particle's (permutation test, p = {p_value:.2g})."
        )
        if not holds and count < _FEWEST_IMAGES:
            text = f"{count:.0f} images are too few to tell whether decoding explains one better "
            return _Finding(None, text + compared)
        words = "better" if holds else "no better"
        return _Finding(holds, f"Decoding explains an image {words} {compared}")
    return _Finding(
        None,
        "Whether z encodes its particle could not be tested: it takes true factors, "
        "or images and a decoder.",
    )


def _tells_truth(scores: Groups, truth: Mapping[str, Score], *, seen: bool) -> _Finding:
    """Whether z says anything of the true factors, on new images, too, where training saw all."""
    r2, p_value = truth["r2_nonlinear"].value, truth["p_value"].value
    holds = p_value <= _SIGNIFICANT and r2 > _SLIGHT
    told = f"R² {r2:.2g} of the factor that is predicted best (permutation test, p = {p_value:.2g})"
    error = scores.get("true_interventions", {}).get("conformation_encoder_consistency_normalized")
    if seen and error is not None:
        new = max(0.0, 1 - error.value)
        holds = holds and new > _SLIGHT
        told += f", R² {new:.2g} from new images of the true molecule"
    return _Finding(
        holds, f"z {'encodes' if holds else 'does not encode'} the true factors: {told}."
    )


def _leak(scores: Groups) -> tuple[float, str] | None:
    """What the pose predicts of z, beyond the true factors where these depend on it."""
    score = scores.get("pose_leak", {}).get("pose_leak_nonlinear_r2")
    if score is None:
        return None
    if _entangled(scores):
        told, beyond = scores["entanglement"].values()
        return beyond.value, (
            f"The true conformations depend on the view (R² {told.value:.2g}), so that a perfect z "
            f"has a pose leak, too, and {_percent(score)} predicted from the view are no fault. "
            f"Beyond the true factors views explain {_percent(beyond)} of z (0 % is best). Rotated "
            "images, permuted poses and populations keep their meaning."
        )
    return score.value, (
        f"The viewing direction alone predicts {_percent(score)} of the variance of z "
        "(0 % is best)."
    )


def _entangled(scores: Groups) -> bool:
    """Whether views depend on the conformation in the truth."""
    group = scores.get("entanglement", {})
    return bool(group) and group["factors_from_view"].value > ENTANGLED


def _spread(scores: Groups) -> _Finding:
    """Whether the spread of z follows the view."""
    group = scores.get("spread_leak", {})
    if "view_spread_p_value" not in group:
        return _Finding(None, "")
    p_value, ratio = group["view_spread_p_value"].value, group["view_spread_ratio"].value
    if p_value > _SIGNIFICANT or ratio < _WIDER:
        return _Finding(False, "")
    divided = group.get("divided_by_posterior", Score(0.0)).value > 0
    why = (
        "beyond what the posteriors' widths allow: a leak"
        if divided
        else "which is a leak unless some views determine z less well: no uncertainties are known"
    )
    return _Finding(
        True,
        f"At some views the spread of z is {ratio:.1f} times that at others (p = {p_value:.2g}), "
        f"{why}.",
    )


def _noise(scores: Groups) -> str:
    """How much of z is noise of images."""
    score = _redrawn(scores, "redrawn_noise")
    if score is None:
        return ""
    return (
        f"Redrawing the noise at the same view moves z by {100 * score:.0f} % of the squared "
        "distance between two particles: this share of z is noise, and is subtracted above."
    )


def _turning(scores: Groups) -> tuple[float, str] | None:
    """What happens when images are rotated."""
    group = scores.get("rotation", {})
    score, floor = group.get("rotation_normalized"), group.get("rotation_noise_floor")
    if score is None or floor is None:
        return None
    redrawn = _redrawn(scores, "redrawn_noise")
    # The metric's floor is E Σσ² over 2 tr Cov.
    noise = _expected(2 * floor.value) if redrawn is None else redrawn
    return _beyond(score.value, noise), (
        f"When an image is rotated, z moves by {_percent(score)} of the squared distance between "
        f"two particles, though the molecule is the same; {_source(noise, redrawn)}."
    )


def _trading(scores: Groups) -> tuple[float, str] | None:
    """What happens when the molecule is rendered from elsewhere."""
    true = scores.get("true_interventions")
    group = true if true is not None else scores.get("interventions", {})
    score = group.get("conformation_pose_invariance_normalized")
    if score is None:
        return None
    whose = "the model's volume" if true is None else "the true molecule"
    redrawn = _redrawn(scores, "redrawn_noise" if true is None else "true_redrawn_noise")
    width, spread = (group[name].value for name in ("posterior_std", "conformation_std"))
    noise = _expected((width / spread) ** 2) if redrawn is None else redrawn
    return _beyond(score.value, noise), (
        f"When {whose} is rendered from two directions, the two z differ by {_percent(score)} of "
        f"the squared distance between two particles; {_source(noise, redrawn)}."
    )


def _redrawn(scores: Groups, group: str) -> float | None:
    """The share of z that another draw of the noise moves."""
    score = scores.get(group, {}).get("noise_normalized")
    return None if score is None else min(score.value, 1.0)


def _source(noise: float, redrawn: float | None) -> str:
    """How much of a movement noise explains, and who says so."""
    if redrawn is None:
        return f"up to {100 * noise:.0f} % may be uncertainty, according to the posterior"
    return f"{100 * noise:.0f} % are due to noise in images"


def _expected(ratio: float) -> float:
    """Normalised distance of the means of two images of one molecule, of a perfect encoder.

    Of a normal z whose posterior has variance σ² the means of all images have variance 1 - σ²,
    those of the images of one molecule σ²(1 - σ²): the quotient is σ².

    Args:
        ratio: Posterior variance over the variance of the means, σ² / (1 - σ²).
    """
    return ratio / (1 + ratio)


def _beyond(value: float, noise: float) -> float:
    """What of z that is no noise moves: 0 nothing, 1 all of it."""
    return max(0.0, value - noise) / max(1 - noise, _LEAST_SIGNAL)


def _percent(score: Score) -> str:
    """A share with its interval."""
    text = f"{100 * score.value:.0f} %"
    if score.low is None or score.high is None:
        return text
    return f"{text} ({100 * max(score.low, 0):.0f} to {100 * max(score.high, 0):.0f} %)"

"""What the numbers say, for somebody who looks at molecules rather than at models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from cryo_disentangle.evaluation.scores import Score

__all__ = ["Judgement", "judge", "next_steps"]

_SLIGHT, _STRONG = 0.05, 0.25

Groups = Mapping[str, Mapping[str, Score]]


class Judgement(NamedTuple):
    """Whether z is about shape.

    Attributes:
        verdict: ``shape``, ``partly pose``, ``pose``, ``nothing`` or ``unknown``.
        headline: The answer in a sentence.
        reasons: What it rests on, a sentence each, with the numbers.
    """

    verdict: Literal["shape", "partly pose", "pose", "nothing", "unknown"]
    headline: str
    reasons: list[str]


def judge(scores: Groups) -> Judgement:
    """Judges a latent space by how much of it is pose.

    The largest of three numbers decides, each 0 for a z that is about shape alone and 1 for one
    that is about pose alone: the R² of z from the pose; how far z moves when an image is turned;
    and how far it moves when the molecule is rendered from another direction, of both what is
    beyond the posterior's width.
    Up to 0.05 z counts as shape, up to 0.25 as partly pose; limits of this package, for words only.

    Args:
        scores: As `Measurement.scores`.

    Returns:
        The judgement.
    """
    used = scores.get("conformations", {}).get("coordinates_in_use")
    collapsed = any(
        scores.get(group, {}).get(name, Score(0.0)).value > 0
        for group, name in (("rotation", "rotation_collapsed"), ("interventions", "collapsed"))
    )
    if collapsed or (used is not None and used.value == 0):
        text = "z tells nothing about single particles: it has collapsed to the prior."
        return Judgement("nothing", text, [])
    shares, reasons = [], []
    for share, reason in filter(None, (_leak(scores), _turning(scores), _trading(scores))):
        shares.append(share)
        reasons.append(reason)
    if not shares:
        text = "Whether z is about shape or pose can't be told from what is at hand."
        return Judgement("unknown", text, [])
    worst = max(shares)
    if worst <= _SLIGHT:
        return Judgement(
            "shape", "z is about shape: it hardly knows where a particle is seen from.", reasons
        )
    if worst <= _STRONG:
        text = (
            "z is partly about pose: some of its order is where particles are seen from, not shape."
        )
        return Judgement("partly pose", text, reasons)
    text = "z is to a large part about pose: the same molecule seen from elsewhere gets another z."
    return Judgement("pose", text, reasons)


def _leak(scores: Groups) -> tuple[float, str] | None:
    """What the pose tells of z."""
    score = scores.get("pose_leak", {}).get("pose_leak_nonlinear_r2")
    if score is None:
        return None
    return score.value, (
        f"From the direction of view alone {_percent(score)} of the differences in z can be "
        "predicted (0 % is best)."
    )


def _turning(scores: Groups) -> tuple[float, str] | None:
    """What happens when images are turned."""
    group = scores.get("rotation", {})
    score, floor = group.get("rotation_normalized"), group.get("rotation_noise_floor")
    if score is None or floor is None:
        return None
    # The metric's floor is E Σσ² over 2 tr Cov.
    expected = _expected(2 * floor.value)
    return _beyond(score.value, expected), (
        f"When an image is turned, z moves by {_percent(score)} of the squared distance between "
        f"two particles, though the molecule is the same; up to {100 * expected:.0f} % may be the "
        "model's uncertainty."
    )


def _trading(scores: Groups) -> tuple[float, str] | None:
    """What happens when the molecule is rendered from elsewhere."""
    true = scores.get("true_interventions")
    group = true if true is not None else scores.get("interventions", {})
    score = group.get("conformation_pose_invariance_normalized")
    if score is None:
        return None
    whose = "the true molecule" if true is not None else "the model's own molecule"
    width, spread = (group[name].value for name in ("posterior_std", "conformation_std"))
    expected = _expected((width / spread) ** 2)
    return _beyond(score.value, expected), (
        f"When {whose} is imaged from two directions, the two z differ by {_percent(score)} of the "
        f"squared distance between two particles; up to {100 * expected:.0f} % may be the model's "
        "uncertainty."
    )


def _expected(ratio: float) -> float:
    """Normalised distance of the means of two images of one molecule, of a perfect encoder.

    Of a normal z whose posterior has variance σ² the means of all images have variance 1 - σ²,
    those of the images of one molecule σ²(1 - σ²): the quotient is σ².

    Args:
        ratio: Posterior variance over the variance of the means, σ² / (1 - σ²).
    """
    return ratio / (1 + ratio)


def _beyond(value: float, expected: float) -> float:
    """What a movement of z has beyond its uncertainty: 0 nothing, 1 all that is possible."""
    return max(0.0, (value - expected) / (1 - expected)) if expected < 1 else 0.0


def _percent(score: Score) -> str:
    """A share with its interval."""
    text = f"{100 * score.value:.0f} %"
    if score.low is None or score.high is None:
        return text
    return f"{text} ({100 * max(score.low, 0):.0f} to {100 * max(score.high, 0):.0f} %)"


def next_steps(
    judgement: Judgement, folder: str, *, cryodrgn: bool, rendered: bool = False
) -> list[tuple[str, str]]:
    """Advises how to go on.

    Args:
        judgement: The judgement.
        folder: The run's folder.
        cryodrgn: Whether it is a cryoDRGN run.
        rendered: Whether z was found by rendering.

    Returns:
        What to do, and its command, which may be empty.
    """
    steps: list[tuple[str, str]] = []
    in_doubt = judgement.verdict in ("partly pose", "pose")
    if in_doubt and not rendered:
        steps.append(
            (
                "Look whether the decoder knows better than the encoder: find z by rendering, "
                "without any training.",
                f"cryo-disentangle evaluate {folder} --inference rendering --out rendered",
            )
        )
    if in_doubt:
        if cryodrgn:
            steps.append(
                (
                    "Go on training with pose interventions, which take pose out of z.",
                    "cryo-disentangle fit --config configs/cryodrgn_finetune.yaml "
                    f"--model.checkpoint {folder}",
                )
            )
        else:
            steps.append(
                (
                    "Train with pose interventions: add PoseInterventionPenalty to the callbacks "
                    "of the run's configuration (docs/callbacks.md).",
                    "",
                )
            )
    if judgement.verdict == "nothing":
        steps.append(
            ("Train with a smaller kl_weight (cryoDRGN: --beta), or look for more particles.", "")
        )
    if judgement.verdict == "shape":
        steps.append(("Look at volumes along z, and for states in the histograms above.", ""))
    if not cryodrgn:
        steps.append(
            (
                "Hand the run to cryoDRGN's tools.",
                f"cryo-disentangle export {folder} --format cryodrgn --out cryodrgn_run",
            )
        )
    return steps

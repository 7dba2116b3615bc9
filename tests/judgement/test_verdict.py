"""What is said of numbers: whether z encodes its particle, and whether that is the view."""

from __future__ import annotations

import pytest
import torch

from cryo_disentangle.judgement.advice import next_steps
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.particle_scores import describe_coordinates
from cryo_disentangle.judgement.score_names import headlines
from cryo_disentangle.judgement.scores import Measurement, Score
from cryo_disentangle.judgement.verdict import Verdict, judge

DECODED = {
    "decoding": {
        "decoding_gain": Score(0.01),
        "decoding_p_value": Score(0.001),
        "decoding_particles": Score(500),
    }
}


def scores(
    leak: float = 0.0, turned: float = 0.0, noise: float | None = None, floor: float = 0.0
) -> dict[str, dict[str, Score]]:
    found = {
        "pose_leak": {"pose_leak_nonlinear_r2": Score(leak, leak - 0.01, leak + 0.01)},
        "rotation": {"rotation_normalized": Score(turned), "rotation_noise_floor": Score(floor)},
    }
    if noise is not None:
        found["redrawn_noise"] = {"noise_normalized": Score(noise)}
    return found


@pytest.mark.parametrize(
    ("leak", "turned", "noise", "verdict"),
    [
        (0.01, 0.02, 0.0, "conformation"),
        (0.1, 0.0, 0.0, "partly viewing direction"),
        (0.0, 0.6, 0.0, "viewing direction"),
        (0.0, 0.6, 0.59, "conformation"),
        (0.0, 0.98, 0.53, "viewing direction"),
        (0.0, 0.97, 0.97, "conformation"),
    ],
)
def test_the_worst_share_beyond_noise_decides(
    leak: float, turned: float, noise: float, verdict: str
) -> None:
    found = judge(scores(leak, turned, noise) | DECODED)
    assert found.verdict == verdict
    assert any(f"{100 * noise:.0f} % are due to noise in images" in text for text in found.reasons)


def test_without_a_decoder_the_posterior_has_to_be_believed() -> None:
    found = judge(scores(0.0, 0.6, floor=1.0) | DECODED)
    assert found.verdict == "conformation"
    assert any("according to the posterior" in reason for reason in found.reasons)


def test_without_a_test_of_its_particle_nothing_is_known() -> None:
    found = judge(scores(0.0))
    assert found.verdict == "unknown"
    assert found.headline == "It is not known whether z encodes anything."
    assert judge({}).verdict == "unknown"
    part = judge(scores(0.1))
    assert part.verdict == "partly viewing direction"
    assert part.headline.endswith("It is not known whether it encodes anything else.")
    assert judge(scores(0.9)).verdict == "viewing direction"


@pytest.mark.parametrize(("leak", "verdict"), [(0.01, "nothing"), (0.1, "viewing direction")])
def test_where_decoding_gains_nothing_z_does_not_encode_the_particle(
    leak: float, verdict: str
) -> None:
    failed = {"decoding": DECODED["decoding"] | {"decoding_p_value": Score(0.4)}}
    # What moves with the noise of images is no viewing direction.
    assert judge(scores(leak, turned=0.9) | failed).verdict == verdict
    few = {"decoding": failed["decoding"] | {"decoding_particles": Score(20)}}
    assert judge(scores() | few).verdict == "unknown"


@pytest.mark.parametrize(
    ("r2", "p_value", "verdict"),
    [(0.001, 0.4, "nothing"), (0.02, 0.01, "nothing"), (0.5, 0.01, "conformation")],
)
def test_the_truth_counts_before_all_else(r2: float, p_value: float, verdict: str) -> None:
    truth = {"truth": {"r2_nonlinear": Score(r2), "p_value": Score(p_value)}}
    assert judge(scores() | DECODED | truth).verdict == verdict


def test_of_an_over_fitted_encoder_new_images_count() -> None:
    truth = {"truth": {"r2_nonlinear": Score(0.3), "p_value": Score(0.01)}}
    new = {
        "true_interventions": {
            "conformation_encoder_consistency_normalized": Score(0.98),
            "conformation_pose_invariance_normalized": Score(0.98),
            "posterior_std": Score(0.2),
            "conformation_std": Score(1.0),
        },
        "true_redrawn_noise": {"noise_normalized": Score(0.53)},
    }
    found = judge(scores(0.01) | truth | new, "training")
    assert found.verdict == "nothing"
    assert any("R² 0.02 from new images" in reason for reason in found.reasons)
    assert any("98 % of the squared" in text and "53 %" in text for text in found.reasons)


@pytest.mark.parametrize(("divided", "words"), [(0.0, "no uncertainties"), (1.0, "a leak")])
def test_a_spread_that_follows_the_view(divided: float, words: str) -> None:
    spread = {
        "view_spread_p_value": Score(0.005),
        "view_spread_ratio": Score(5.0),
        "divided_by_posterior": Score(divided),
    }
    found = judge(scores() | DECODED | {"spread_leak": spread})
    assert found.verdict == "partly viewing direction"
    assert any("is 5.0 times that" in reason and words in reason for reason in found.reasons)
    even = {"spread_leak": spread | {"view_spread_p_value": Score(0.3)}}
    assert judge(scores() | DECODED | even).verdict == "conformation"


@pytest.mark.parametrize(
    ("sample", "said"), [("held-out", "held-out particles"), ("training", "training particles")]
)
def test_what_the_numbers_are_of_is_told(sample: str, said: str) -> None:
    assert said in judge(scores() | DECODED, sample).reasons[-1]
    assert not any(said in reason for reason in judge(scores() | DECODED).reasons)


def test_intervals_are_told() -> None:
    assert any("30 % (29 to 31 %)" in reason for reason in judge(scores(0.3)).reasons)


def test_the_true_molecule_counts_before_the_model_s() -> None:
    def group(value: float) -> dict[str, Score]:
        return {
            "conformation_pose_invariance_normalized": Score(value),
            "posterior_std": Score(0.1),
            "conformation_std": Score(1.0),
        }

    own, true = {"interventions": group(0.9)}, {"true_interventions": group(0.01)}
    assert judge(own | DECODED).verdict == "viewing direction"
    both = judge(own | true | DECODED)
    assert both.verdict == "conformation"
    assert any("the true molecule" in reason for reason in both.reasons)


def test_collapse() -> None:
    collapsed = {"conformations": {"coordinates_in_use": Score(0.0)}}
    found = judge(scores(0.9) | DECODED | collapsed)
    assert found.verdict == "nothing"
    assert "collapsed" in found.headline
    assert "less than half" in found.reasons[0]
    broad = InferredParticles.of(torch.randn(50, 2), torch.full((50, 2), 3.0))
    measured = Measurement()
    describe_coordinates(measured, broad)
    assert measured.scores["conformations"]["collapsed"].value == 1
    assert measured.scores["conformations"]["coordinates_in_use"].value == 0


def test_advice_fits_the_program() -> None:
    view, shape = Verdict("viewing direction", "", []), Verdict("conformation", "", [])
    ours = [command for _, command in next_steps(view, "runs/x", cryodrgn=False, exports=True)]
    theirs = [command for _, command in next_steps(view, "work", cryodrgn=True)]
    assert any("export runs/x --format cryodrgn" in command for command in ours)
    assert any("--model.checkpoint work" in command for command in theirs)
    assert not any("export" in command for command in theirs)
    assert not any("fit" in command for _, command in next_steps(shape, "x", cryodrgn=True))


@pytest.mark.parametrize(
    ("value", "shown"), [(-0.3, "none"), (0.0, "none"), (0.004, "none"), (0.256, "0.256")]
)
def test_a_share_of_nothing_is_none(value: float, shown: str) -> None:
    measured = {"disentanglement": {"r2_linear": Score(value), "mcc_pearson": Score(value)}}
    names = {row.name: row.shown for row in headlines(measured)}
    assert names == {"R² of factors from z, linear": shown, "MCC (Pearson)": f"{value:.3g}"}

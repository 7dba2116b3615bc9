"""What is said of numbers."""

from __future__ import annotations

import pytest

from cryo_disentangle.evaluation.scores import Score
from cryo_disentangle.evaluation.words import judge, next_steps


def scores(
    leak: float = 0.0, turned: float = 0.0, floor: float = 0.0
) -> dict[str, dict[str, Score]]:
    return {
        "pose_leak": {"pose_leak_nonlinear_r2": Score(leak, leak - 0.01, leak + 0.01)},
        "rotation": {"rotation_normalized": Score(turned), "rotation_noise_floor": Score(floor)},
    }


@pytest.mark.parametrize(
    ("leak", "turned", "floor", "verdict"),
    [
        (0.01, 0.02, 0.0, "shape"),
        (0.1, 0.0, 0.0, "partly pose"),
        (0.0, 0.6, 0.0, "pose"),
        (0.0, 0.6, 1.0, "shape"),
    ],
)
def test_the_worst_number_decides(leak: float, turned: float, floor: float, verdict: str) -> None:
    found = judge(scores(leak, turned, floor))
    assert found.verdict == verdict
    assert len(found.reasons) == 2


def test_intervals_are_told() -> None:
    assert "30 % (29 to 31 %)" in judge(scores(0.3)).reasons[0]


def test_the_true_molecule_counts_before_the_model_s() -> None:
    def group(value: float) -> dict[str, Score]:
        return {
            "conformation_pose_invariance_normalized": Score(value),
            "posterior_std": Score(0.1),
            "conformation_std": Score(1.0),
        }

    own, true = {"interventions": group(0.9)}, {"true_interventions": group(0.01)}
    assert judge(own).verdict == "pose"
    assert judge(own | true).verdict == "shape"
    assert "the true molecule" in judge(own | true).reasons[0]


def test_collapse_and_nothing_at_hand() -> None:
    collapsed = {"conformations": {"coordinates_in_use": Score(0.0)}}
    assert judge(scores(0.9) | collapsed).verdict == "nothing"
    assert judge({}).verdict == "unknown"


def test_advice_fits_the_program() -> None:
    pose, shape = judge(scores(0.9)), judge(scores(0.0))
    ours = [command for _, command in next_steps(pose, "runs/x", cryodrgn=False)]
    theirs = [command for _, command in next_steps(pose, "work", cryodrgn=True)]
    assert any("export runs/x --format cryodrgn" in command for command in ours)
    assert any("--model.checkpoint work" in command for command in theirs)
    assert not any("fit" in command for _, command in next_steps(shape, "x", cryodrgn=True))

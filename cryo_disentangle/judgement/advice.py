"""Next steps after a verdict."""

from __future__ import annotations

from cryo_disentangle.judgement.verdict import Verdict

__all__ = ["embedding_steps", "next_steps"]


def next_steps(
    verdict: Verdict, folder: str, *, cryodrgn: bool, exports: bool = False, rendered: bool = False
) -> list[tuple[str, str]]:
    """Advises how to go on.

    Args:
        verdict: The verdict.
        folder: The run's folder.
        cryodrgn: Whether it is a cryoDRGN run.
        exports: Whether it can be exported as one.
        rendered: Whether z was found by rendering.

    Returns:
        What to do, and its command, which may be empty.
    """
    steps: list[tuple[str, str]] = []
    in_doubt = verdict.verdict in ("partly viewing direction", "viewing direction")
    if in_doubt and not rendered:
        steps.append(
            (
                "Check whether z found by rendering through the decoder is better than the "
                "encoder's; nothing is trained.",
                f"cryo-disentangle evaluate {folder} --inference rendering --out rendered",
            )
        )
    if in_doubt:
        if cryodrgn:
            steps.append(
                (
                    "Continue training with pose interventions, which remove the view from z.",
                    "cryo-disentangle fit --config cryodrgn_finetune.yaml "
                    f"--model.checkpoint {folder}",
                )
            )
        else:
            steps.append(
                (
                    "Train with pose interventions: add PoseInterventionPenalty to the callbacks "
                    "of the run's configuration (documentation: Callbacks).",
                    "",
                )
            )
    if verdict.verdict == "nothing":
        steps.append(
            ("Train with a smaller kl_weight (cryoDRGN: --beta), or look for more particles.", "")
        )
    if verdict.verdict == "conformation":
        steps.append(("Look at volumes along z, and look for states in the histograms above.", ""))
    if exports:
        steps.append(
            (
                "Continue with cryoDRGN's tools.",
                f"cryo-disentangle export {folder} --format cryodrgn --out cryodrgn_run",
            )
        )
    return steps


def embedding_steps(verdict: Verdict, run: str) -> list[tuple[str, str]]:
    """Advises how to go on with latents of another program.

    Args:
        verdict: The verdict.
        run: The run's folder, or the file of its latents.

    Returns:
        What to do, and its command.
    """
    steps = [
        (
            "Select particles: a cluster, a range of an axis, or a lasso drawn on this page.",
            f"cryo-disentangle select {run} --particles particles.star --kmeans 5 --clusters 0 "
            "--out chosen.star",
        ),
        (
            "Test which axes another run reproduces.",
            f"cryo-disentangle compare {run} OTHER_RUN --out comparison",
        ),
    ]
    if verdict.verdict in ("partly viewing direction", "viewing direction"):
        steps.insert(
            0,
            (
                "Check whether axes remain when poses are taken into account: learn from "
                "statistics of the same particles.",
                "cryo-disentangle statistics --help",
            ),
        )
    return steps

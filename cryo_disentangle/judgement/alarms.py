"""What latents alone give away, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from cryo_disentangle.judgement.scores import Score

__all__ = ["alarms", "mean_follows_view"]

_SIGNIFICANT = 0.01
# Shares of variance, and of particles, below which nothing is said.
_LEAST_SHARE, _IS_VIEW, _FEW = 0.02, 0.25, 5e-4

Groups: TypeAlias = Mapping[str, Mapping[str, Score]]

_GROUPS = {
    "view": "viewing direction",
    "in_plane": "in-plane angle",
    "optics_group": "optics group",
    "micrograph": "micrograph",
}


def mean_follows_view(scores: Groups) -> bool:
    """Tests whether the mean of z differs between views, however little.

    Args:
        scores: As `Measurement.scores`.

    Returns:
        Whether at least 2 % of a latent's variance lies between views, p at most 0.01.
    """
    return _share(scores, "view") is not None


def alarms(scores: Groups) -> list[str]:
    """Describes what speaks against latents, found without images.

    Args:
        scores: As `Measurement.scores`.

    Returns:
        Sentences; none where nothing does.
    """
    found = []
    for name, words in _GROUPS.items():
        share = _share(scores, name)
        if share is not None:
            found.append(
                f"The {words} accounts for {100 * share:.0f} % of the variance of the latent that "
                "follows it most (permutation test, p ≤ 0.01)."
            )
    shape = scores.get("shape", {})
    several = shape.get("peaks_p_value", Score(1.0)).value <= _SIGNIFICANT
    view = shape.get("clusters_view_share", Score(0.0)).value
    if several and view > _IS_VIEW:
        found.append(
            f"z has several peaks, and the viewing direction explains {100 * view:.0f} % of which "
            "particle is in which: these are views rather than states."
        )
    elif several:
        found.append("z has several peaks, which are not views.")
    share = shape.get("outlier_share", Score(0.0)).value
    if share > _FEW:
        found.append(
            f"{100 * share:.1f} % of particles are outliers, further from others than any of as "
            "many normally distributed latents: inspect them first (`select --outliers`)."
        )
    return found


def _share(scores: Groups, name: str) -> float | None:
    """Share of variance between groups, or None where it is chance or too little."""
    group = scores.get("group_leak", {})
    if group.get(f"{name}_p_value", Score(1.0)).value > _SIGNIFICANT:
        return None
    share = group[f"{name}_share"].value
    return share if share >= _LEAST_SHARE else None

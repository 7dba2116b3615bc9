"""The main scores, with their names in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cryo_disentangle.judgement.oracles import SUBSPACE, TRUTH
from cryo_disentangle.judgement.scores import Score

__all__ = ["Row", "group_reasons", "headlines"]


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        group: What the rows belong to, in words.
        name: What is measured, in words.
        best: The best value, in words; where the truth is known what images allow, and the share
            of it that is reached.
        score: The number.
    """

    group: str
    name: str
    best: str
    score: Score

    @property
    def shown(self) -> str:
        """The number in words: a held-out R² of 0 or less is none."""
        none = "R²" in self.name and round(self.score.value, 2) <= 0
        return "none" if none else f"{self.score.value:.3g}"


_GROUPS = {
    "pose_leak": "What z should not encode",
    "rotation": "Rotated images (Edelberg and Lederman)",
    "interventions": "Pose intervention, rendered by the model's decoder",
    "true_interventions": "Pose intervention, rendered from the true molecule",
    "redrawn_noise": "Redrawn noise, rendered by the model's decoder",
    "true_redrawn_noise": "Redrawn noise, rendered from the true molecule",
    "decoding": "Does z encode its particle?",
    "truth": "Does z encode the true factors?",
    "entanglement": "Do the true conformations depend on the view?",
    "spread_leak": "Does the spread of z follow view, defocus or shift?",
    "group_leak": "Does z differ between groups of particles?",
    "shape": "Distribution of z",
    "conformations": "Use of the latent space",
    "disentanglement": "Against the true factors",
    "identifiability": "Do labels determine the coordinates?",
}

_NUISANCES = {
    "pose": "the viewing direction",
    "defocus": "the defocus",
    "shift": "the shift",
    "time": "the time",
    "temperature": "the temperature",
}
_LEAKS = {
    f"{key}_leak_{kind}": (f"R² of z from {words}, {how}", "0")
    for key, words in _NUISANCES.items()
    for kind, how in (
        ("linear_r2", "linear"),
        ("nonlinear_r2", "nonlinear"),
        ("nonlinear_r2_max", "nonlinear, worst coordinate"),
    )
}
_PERMUTED = {
    f"{key}{end}": (f"{words}, {how}", "0")
    for key, words in (
        ("volume_consistency", "error of z inferred from rendered images"),
        ("conformation_encoder_consistency", "error of the inferred conformation"),
        ("conformation_pose_invariance", "change of z with the pose"),
        ("volume_pose_invariance", "error of the pose inferred from rendered images"),
        ("pose_encoder_consistency", "error of the inferred pose"),
        ("pose_conformation_invariance", "change of the pose with z"),
    )
    for end, how in (("", "raw"), ("_normalized", "normalised (chance: 1)"))
}
_SPREADS = {
    f"{key}_spread_{name}": (f"{what}, {words}", best)
    for key, words in (("view", "views"), ("defocus", "defoci"), ("shift", "shifts"))
    for name, what, best in (
        ("ratio", "largest over smallest spread", "1"),
        ("p_value", "p-value of equal spreads", ""),
    )
}
_BETWEEN = {
    f"{key}_{name}": (f"{what} {words}", best)
    for key, words in (
        ("view", "views"),
        ("in_plane", "in-plane angles"),
        ("optics_group", "optics groups"),
        ("micrograph", "micrographs"),
    )
    for name, what, best in (
        ("share", "share of variance between", "0"),
        ("p_value", "p-value of equal means of", ""),
    )
}
_NOISE = {"noise_normalized": ("share of z due to noise in images", "0")}
_WORDS = {
    "decoding": {
        "decoding_gain": ("relative error added by another particle's z", "above 0"),
        "decoding_p_value": ("p-value of no added error", ""),
    },
    "truth": {
        "r2_nonlinear": ("R² of the best predicted factor, nonlinear", "1"),
        "p_value": ("p-value of no prediction", ""),
    },
    "entanglement": {
        "factors_from_view": ("largest R² of a true factor from the viewing direction", ""),
        "leak_given_factors": ("share of z that views explain beyond the true factors", "0"),
    },
    "redrawn_noise": _NOISE,
    "true_redrawn_noise": _NOISE,
    "spread_leak": _SPREADS,
    "group_leak": _BETWEEN,
    "shape": {
        "participation_ratio": ("effective dimension (participation ratio)", ""),
        "peaks_p_value": ("p-value of a single peak (dip test)", ""),
        "clusters_view_share": ("share of two clusters explained by view", "0"),
        "outlier_share": ("share of outliers", "0"),
    },
    "pose_leak": _LEAKS,
    "rotation": {
        "rotation_raw": ("movement of z, raw", "0"),
        "rotation_normalized": ("movement of z, normalised (another particle: 1)", "0"),
        "rotation_noise_floor": ("movement within the posterior's width, normalised", ""),
        "rotation_auc": ("AUC of recognising rotated images by z", "0.5"),
    },
    # Of the model's own molecule the encoder's rows would be the same as the volume's.
    "interventions": {k: v for k, v in _PERMUTED.items() if "encoder_consistency" not in k},
    "true_interventions": _PERMUTED,
    "conformations": {
        "dimension": ("coordinates of z", ""),
        "coordinates_in_use": ("coordinates in use", ""),
        "kl_nats": ("KL from the normal prior (nats)", ""),
    },
    "disentanglement": {
        "mcc_pearson": ("MCC (Pearson)", "1"),
        "mcc_spearman": ("MCC (Spearman)", "1"),
        "mcc_spline": ("MCC (spline)", "1"),
        "mean_canonical_correlation": ("mean canonical correlation", "1"),
        "r2_linear": ("R² of factors from z, linear", "1"),
        "mig": ("mutual information gap", "1"),
        "modularity": ("modularity", "1"),
        "sap": ("SAP", "1"),
        "dci_disentanglement": ("DCI disentanglement", "1"),
        "dci_completeness": ("DCI completeness", "1"),
        "dci_informativeness": ("DCI informativeness", "1"),
        "infomec_modularity": ("InfoMEC modularity", "1"),
        "infomec_compactness": ("InfoMEC compactness", "1"),
        "beta_vae": ("BetaVAE score", "1"),
        "factor_vae": ("FactorVAE score", "1"),
    },
    "identifiability": {
        "temperature_rank": ("directions in which the temperature changes z", ""),
        "temperature_required_rank": ("directions needed", ""),
        "temperature_condition_number": ("condition number of these", ""),
        "temperature_smallest_separation": ("smallest difference of two axes", ""),
        "temperature_largest_angle": ("largest uncertainty of an axis (°)", "0"),
        "temperature_largest_half_angle": ("largest angle between half sets' axes (°)", "0"),
        "time_smallest_kurtosis": ("smallest kurtosis of steps (normal 3)", ""),
        "time_largest_exponent": ("largest exponent of steps (Laplace 1, normal 2)", ""),
        "time_largest_dependence": ("largest dependence of two axes' steps", "0"),
        "time_largest_angle": ("largest uncertainty of an axis (°)", "0"),
        "time_largest_half_angle": ("largest angle between half sets' axes (°)", "0"),
    },
}


def headlines(scores: Mapping[str, Mapping[str, Score]]) -> list[Row]:
    """Chooses the main scores.

    Args:
        scores: By group and name.

    Returns:
        Rows in the order of a report.
    """
    return [
        Row(_GROUPS[group], words, _attainable(scores, group, name) or best, scores[group][name])
        for group, names in _WORDS.items()
        for name, (words, best) in names.items()
        if name in scores.get(group, {})
    ]


def _attainable(scores: Mapping[str, Mapping[str, Score]], group: str, name: str) -> str:
    """The best that images allow, and the share of it; nothing where that is not known."""
    if group != "disentanglement":
        return ""
    found = []
    for oracle, whose in ((TRUTH, "the true molecule"), (SUBSPACE, "these volumes")):
        share = scores.get(f"{oracle}_share", {}).get(name)
        if share is not None:
            best = scores[oracle][name].value
            found.append(f"{best:.3g} by {whose}: {100 * share.value:.0f} %")
    return "; ".join(found)


def group_reasons(missing: Mapping[str, str]) -> dict[str, str]:
    """Joins what could not be measured for the same reason.

    Args:
        missing: Reasons by name.

    Returns:
        Names in words, by reason.
    """
    names: dict[str, list[str]] = {}
    for name, reason in missing.items():
        names.setdefault(reason, []).append(name.replace("_", " "))
    return {reason: ", ".join(joined) for reason, joined in names.items()}

"""Writes the tables of README.md anew from the CSV files beside it.

python benchmarks/statistics/table.py
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from settings import SETTINGS
from tables import markdown, read, write_tables

_HERE = Path(__file__).parent
Row = dict[str, str]


@dataclass(frozen=True)
class Bar:
    """What a setting has to reach.

    Attributes:
        share: Of the score of the true molecule's oracle, the median over seeds.
        worst: The same of the worst training of all.
        pose_share: Largest share of the latents' variance due to pose, the median over seeds.
    """

    share: float = 0.0
    worst: float = 0.0
    pose_share: float = 1.0


BARS = {
    "pairs": Bar(0.97, worst=0.93),
    "temperatures_5": Bar(0.97),
    "temperatures_2": Bar(0.97),
    "shear": Bar(0.95),
    "pairs_snr_0.03": Bar(0.95),
    "pairs_snr_0.03_latents": Bar(0.95),
    "pairs_128": Bar(0.90),
    "pairs_10180": Bar(pose_share=0.03),
    "pairs_preferred": Bar(pose_share=0.03),
    "arms_snr_1": Bar(0.97, pose_share=0.02),
    "arms_snr_0.1": Bar(0.97, pose_share=0.02),
    "arms_snr_1_bounded": Bar(0.97, pose_share=0.02),
    "arms_snr_0.1_bounded": Bar(0.97, pose_share=0.02),
    "five_arms": Bar(0.90),
    "five_arms_40": Bar(0.90),
    "five_arms_40_bounded": Bar(0.90),
    "five_arms_40_latents": Bar(0.90),
    "errors_refined": Bar(0.95),
    "rotations_refined": Bar(0.95),
    "shifts_refined": Bar(0.95),
    "contrast_integrated": Bar(0.95),
    "all_errors_refined": Bar(0.95),
}
# Uniform factors without labels have no axes: R² is what can be asked for.
_BY_R2 = ("arms", "five_arms")


def median(rows: Iterable[Row], name: str) -> float | None:
    """Median of what is known of a column."""
    values = [float(row[name]) for row in rows if row.get(name)]
    return statistics.median(values) if values else None


def shown(value: float | None, digits: int = 3) -> str:
    """A number, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def by_setting(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows of each setting, in the order of settings.py."""
    found = {name: [row for row in rows if row["setting"] == name] for name in SETTINGS}
    return {name: mine for name, mine in found.items() if mine}


def _kept(row: Row) -> Row:
    """A row with the scores of the training that has the best held-out bound."""
    kept = {name.removeprefix("kept_"): row[name] for name in row if name.startswith("kept_")}
    return row | {name: value for name, value in kept.items() if value}


def _shares(rows: list[Row], score: str) -> tuple[float, float]:
    """Median and worst share of the true molecule's oracle."""
    each = [float(row[score]) / float(row[f"true_{score}"]) for row in rows]
    worst = "mcc_worst" if score == "mcc" else score
    lowest = min(float(row[worst]) / float(row[f"true_{score}"]) for row in rows)
    return statistics.median(each), lowest


def _verdict(bar: Bar | None, shares: tuple[float, float], pose: float | None) -> tuple[str, str]:
    """A bar, and whether it is met."""
    if bar is None:
        return "-", "-"
    words, met = [], True
    if bar.share:
        words.append(f"{bar.share:.2f}")
        met = met and shares[0] >= bar.share
    if bar.worst:
        words.append(f"worst {bar.worst:.2f}")
        met = met and shares[1] >= bar.worst
    if bar.pose_share < 1:
        words.append(f"pose {bar.pose_share:.2f}")
        met = met and pose is not None and pose <= bar.pose_share
    return ", ".join(words), "yes" if met else "no"


def settings(rows: list[Row]) -> str:
    """Scores of all settings beside their oracles and bars."""
    lines = []
    for name, mine in by_setting(rows).items():
        score = "r2" if name.startswith(_BY_R2) else "mcc"
        if score == "r2":
            mine = [_kept(row) for row in mine]
        shares, pose = _shares(mine, score), median(mine, "pose_share")
        bar, met = _verdict(BARS.get(name), shares, pose)
        trainings = 5 * len(mine)
        determined = sum(int(float(row["determined"])) for row in mine)
        lines.append(
            [
                f"`{name}`",
                str(len(mine)),
                "/".join(sorted({row["rank"] for row in mine}, key=int)),
                "R²" if score == "r2" else "MCC",
                shown(median(mine, f"true_{score}")),
                shown(median(mine, f"oracle_{score}")),
                shown(median(mine, score)),
                f"{shares[0]:.3f} ({shares[1]:.3f})",
                bar,
                met,
                shown(median(mine, "r2")),
                shown(median(mine, "mcc_rotated")),
                f"{shown(pose)} ({shown(median(mine, 'oracle_pose_share'))})",
                f"{determined} of {trainings}",
            ]
        )
    head = ["setting", "seeds", "K", "score", "true molecule", "within the subspace", "found"]
    head += ["share (worst)", "bar", "met", "R²", "MCC, best rotation", "pose share", "determined"]
    return markdown(head, lines)


def calibration(rows: list[Row]) -> str:
    """Whether subspaces say of held-out particles what is so."""
    lines = []
    for name, mine in by_setting(rows).items():
        low, high = median(mine, "covariance_low"), median(mine, "covariance_high")
        excess = median(mine, "excess")
        met = (excess or 0) <= 0.03 and (low or 0) >= 0.9 and (high or 9) <= 1.1
        lines.append(
            [
                f"`{name}`",
                shown(excess),
                f"{shown(low)} to {shown(high)}",
                "yes" if met else "no",
                shown(median(mine, "seconds_subspace"), 0),
                shown(median(mine, "seconds_statistics"), 0),
                shown(median(mine, "seconds_learning"), 0),
            ]
        )
    head = ["setting", "excess of training", "E[m mᵀ] + S", "met", "s, subspace", "s, statistics"]
    return markdown([*head, "s, a training"], lines)


def errors(rows: list[Row]) -> str:
    """Settings with errors: what poses are left with, and what z follows."""
    lines = []
    for name, mine in by_setting(rows).items():
        known = ("shift_leak", "rotation_leak", "contrast_leak", "shift_error", "rotation_error")
        if all(median(mine, column) is None for column in known):
            continue
        line = [f"`{name}`", f"{_shares(mine, 'mcc')[0]:.3f}"]
        for kind in ("shift", "rotation"):
            line.append(shown(median(mine, f"{kind}_error")))
            line.append(shown(median(mine, f"{kind}_over_predicted"), 2))
        for kind in ("shift", "rotation", "contrast"):
            leak, chance = median(mine, f"{kind}_leak"), median(mine, f"{kind}_leak_p")
            line.append("-" if leak is None else f"{leak:.4f} (p = {shown(chance, 2)})")
        lines.append(line)
    head = ["setting", "share of the error-free oracle", "shift error", "over predicted"]
    head += ["rotation error", "over predicted", "leak of shift", "of rotation", "of contrast"]
    return markdown(head, lines)


def interventions(rows: list[Row]) -> str:
    """Algorithm 1, with and without, by number of particles and weight."""
    lines = []
    cells = {(int(row["particles"]), float(row["weight"])) for row in rows if float(row["weight"])}
    for size, weight in sorted(cells):
        mine = [row for row in rows if int(row["particles"]) == size]
        without = [row for row in mine if not float(row["weight"])]
        taught = [row for row in mine if float(row["weight"]) == weight]
        seeds = {row["seed"]: float(row["r2"]) for row in without}
        pairs = [
            (seeds[row["seed"]], float(row["r2"]), float(row["r2_oracle"]))
            for row in taught
            if row["seed"] in seeds
        ]
        higher = sum(after > before for before, after, _ in pairs)
        closed = statistics.median(
            (after - before) / (best - before) for before, after, best in pairs
        )
        line = [f"{size}", f"{weight:g}", shown(median(mine, "r2_oracle"), 4)]
        line += [f"{shown(median(each, 'r2'), 4)}" for each in (without, taught)]
        line += [f"{higher} of {len(pairs)}", f"{closed:.2f}"]
        for name in (
            "total_normalized",
            "volume_consistency_normalized",
            "conformation_encoder_consistency_normalized",
            "conformation_pose_invariance_normalized",
        ):
            line.append(" / ".join(shown(median(each, name)) for each in (without, taught)))
        ratio = statistics.median(
            float(after["step_ms"]) / float(before["step_ms"])
            for before, after in zip(without, taught, strict=False)
        )
        lines.append([*line, f"{ratio:.2f}"])
    head = ["particles", "weight", "oracle", "R² without", "R² with", "higher with", "gap closed"]
    head += ["Eq. 2", "volume consistency", "encoder consistency", "pose invariance"]
    head.append("time of a step")
    return markdown(head, lines)


def cryodrgn(rows: list[Row]) -> str:
    """Rows of cryoDRGN."""
    names = ("images", "seconds", "mcc_unnamed", "mcc_rotated", "r2", "view_leak", "pose_share")
    lines = [
        [row["setting"], row["seed"], *(row[name] for name in names), row["commit"]] for row in rows
    ]
    return markdown(["setting", "seed", *names, "commit"], lines)


def images(rows: list[Row]) -> str:
    """Models of images."""
    names = ("seconds", "mcc_unnamed", "mcc_rotated", "r2", "view_leak", "pose_share", "commit")
    lines = [
        [row["setting"], row["seed"], row["method"], *(row[name] for name in names)] for row in rows
    ]
    return markdown(["setting", "seed", "method", *names], lines)


_POSES = {
    "given": "as given",
    "derivatives": "derivatives",
    "search": "search",
    "true": "true",
}
_HEADS = {
    "head": "images, and the angles found for them",
    "head, interventions": "Algorithm 1",
}


def _of_unknown_poses(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows by setting and box, each of several methods and seeds."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (_by_number(row["setting"]), -int(row["box"]))):
        found.setdefault((row["setting"], row["box"]), []).append(row)
    return found


def _by_number(name: str) -> str:
    """A name that sorts by its number."""
    return re.sub(r"\d+", lambda found: found[0].zfill(3), name)


def unknown_poses(rows: list[Row]) -> str:
    """Errors of poses, and what the subspace found with them holds."""
    lines = []
    for (setting, box), mine in _of_unknown_poses(rows).items():
        best = median((row for row in mine if row["method"] == "true"), "oracle_mcc")
        for method, words in _POSES.items():
            some = [row for row in mine if row["method"] == method]
            if not some:
                continue
            reached = median(some, "oracle_mcc")
            share = None if best is None or reached is None else reached / best
            lines.append(
                [
                    f"`{setting}`",
                    box,
                    str(len(some)),
                    words,
                    shown(median(some, "start_error"), 1),
                    shown(median(some, "end_error"), 1),
                    shown(median(some, "beyond_20")),
                    shown(reached),
                    shown(share, 2),
                    shown(median(some, "linear_r2"), 2),
                ]
            )
    head = ["setting", "box", "seeds", "poses", "start", "end", "beyond 20°", "oracle MCC"]
    return markdown([*head, "share of that with true poses", "linear R²"], lines)


def pose_heads(rows: list[Row]) -> str:
    """Errors of pose heads."""
    lines = []
    for (setting, box), mine in _of_unknown_poses(rows).items():
        for method, words in _HEADS.items():
            some = [row for row in mine if row["method"] == method]
            if some:
                errors = shown(median(some, "end_error"), 1), shown(median(some, "beyond_20"))
                lines.append([f"`{setting}`", box, str(len(some)), words, *errors])
    head = ["setting", "box", "seeds", "trained on", "median error", "beyond 20°"]
    return markdown(head, lines)


def volumes(rows: list[Row]) -> str:
    """Volumes at five conformations."""
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        for name in ("fsc", "resolution", "change"):
            values = [row[name] for row in rows if row["method"] == method]
            lines.append([method, name, *values])
    return markdown(["method", "", *(f"conformation {number}" for number in range(1, 6))], lines)


def stages(rows: list[Row]) -> str:
    """Seconds of each command."""
    lines = [[row[name] for name in ("stack", "command", "seconds", "cores")] for row in rows]
    return markdown(["stack", "command", "seconds", "cores"], lines)


def main() -> None:
    results, unknown = read(_HERE / "results.csv"), read(_HERE / "unknown_poses.csv")
    made = {
        "settings": settings(results),
        "calibration": calibration(results),
        "errors": errors(results),
        "algorithm1": interventions(read(_HERE / "algorithm1.csv")),
        "cryodrgn": cryodrgn(read(_HERE / "cryodrgn.csv")),
        "images": images(read(_HERE / "images.csv")),
        "unknown": unknown_poses(unknown),
        "heads": pose_heads(unknown),
        "volumes": volumes(read(_HERE / "volumes.csv")),
        "stages": stages(read(_HERE / "stages.csv")),
    }
    write_tables(_HERE / "README.md", made)


if __name__ == "__main__":
    main()

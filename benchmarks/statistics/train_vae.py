"""cryoDRGN's ``train_vae`` on a simulated stack; it is to be installed in its own environment."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

__all__ = ["train_vae"]


def train_vae(command: Path, stack: Path, out: Path, dim: int, epochs: int, *more: object) -> float:
    """Trains networks of 3 layers of 256, in batches of 8.

    Args:
        command: cryoDRGN's.
        stack: Folder that ``cryo-disentangle simulate`` wrote.
        out: Folder of the run.
        dim: Number of latent coordinates.
        epochs: Number of epochs.
        *more: Further words.

    Returns:
        Seconds from stack to latents.
    """
    words = [command, "train_vae", stack / "particles.mrcs", "--poses", stack / "poses.pkl"]
    words += ["--ctf", stack / "ctf.pkl", "--zdim", dim, "-n", epochs, "-b", 8, "-o", out]
    words += ["--enc-dim", 256, "--dec-dim", 256, "--no-analysis", *more]
    started = time.perf_counter()
    subprocess.run([str(word) for word in words], check=True)
    return time.perf_counter() - started

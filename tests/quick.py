"""What makes the commands of the documentation run in seconds, and what they find in the folder."""

from __future__ import annotations

from pathlib import Path

import yaml

from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.export import write_particles_star
from tests import tiny

_WORDS = {
    "simulate": ["--n_images", "600", "--box_size", "16", "--pixel_size", "8.5"],
    "fit": ["--config", "quick.yaml"],
    "evaluate": ["--resamples", "0", "--sample", "24", "--states", "0", "--device", "cpu"],
    "predict": ["--prediction.kmeans", "2"],
    "export": ["--device", "cpu"],
    "configs": [],
    "inspect": [],
    "select": [],
    "report": ["--device", "cpu"],
    "benchmark": [
        *("--set", "seeds=[0]", "--set", "defaults.simulate.n_images=100"),
        *("--set", "held_out=50", "--data-only"),
    ],
}


def words(command: list[str]) -> list[str]:
    """What is added to a command of the documentation."""
    rendering = ["--radius", "3"] if "rendering" in command else []
    return [*_WORDS[command[0]], *rendering]


def write_trainer(folder: Path) -> None:
    """Writes ``quick.yaml``: one epoch on a CPU, without what the configuration adds."""
    trainer = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "devices": 1,
        # A process group would outlive the test; tests/test_ddp.py runs several processes.
        "strategy": "auto",
        "callbacks": [],
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    (folder / "quick.yaml").write_text(yaml.safe_dump({"trainer": trainer}))


def write_relion(folder: Path) -> None:
    """Writes a small stack as RELION names it, ``particles.star``."""
    files = tiny.write_stack(folder / "stack")
    stack = ParticleStack.open(files["particles"], poses=files["poses"], ctf=files["ctf"])
    assert stack.rotation is not None
    write_particles_star(
        folder / "particles.star",
        "stack/stack.mrcs",
        box_size=stack.box_size,
        pixel_size=stack.pixel_size,
        rotation=stack.rotation,
        translation_px=stack.translation,
        ctf=stack.ctf,
    )

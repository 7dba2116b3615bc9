"""The documentation is built as a site, without a warning."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_site_is_built_without_warnings(tmp_path: Path) -> None:
    for name in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install -e '.[docs]'")
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    # The README is the front page, and what pages link to outside of docs/ is there.
    front = (site / "index.html").read_text()
    assert 'src="latents.png"' in front
    assert 'href="benchmarks/losses/"' in front
    assert 'href="../configs/slow_vae.yaml"' in (site / "losses/index.html").read_text()
    assert (site / "configs/slow_vae.yaml").is_file()
    losses = (site / "api/losses/index.html").read_text()
    assert 'id="cryo_disentangle.losses.PoseIntervention"' in losses
    callbacks = (site / "api/callbacks/index.html").read_text()
    assert 'id="cryo_disentangle.callbacks.RunReport"' in callbacks

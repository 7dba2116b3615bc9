"""A shell completes commands, options and shipped configurations."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cryo_disentangle.cli import main

_PROGRAM = """
. ./script
cryo-disentangle() { echo "usage: x [--sample SAMPLE]"; echo "  --truth FILE, -t FILE"; }
complete_words() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cryo_disentangle; echo "${COMPREPLY[@]}"
}
complete_words cryo-disentangle ev
complete_words cryo-disentangle evaluate --
complete_words cryo-disentangle fit --config two_arm_
complete_words cryo-disentangle evaluate scr
"""


def test_words_are_completed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    monkeypatch.chdir(tmp_path)
    main(["completion"])
    Path("script").write_text(capsys.readouterr().out)
    done = subprocess.run([bash, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "evaluate",
        "--sample --truth",
        "two_arm_grid.yaml two_arm_in_plane.yaml two_arm_pose_vae.yaml",
        "script",
    ]

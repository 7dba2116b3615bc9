"""What the package itself exports."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cryo_disentangle


def test_every_name_is_there() -> None:
    for name in cryo_disentangle.__all__:
        assert getattr(cryo_disentangle, name) is not None
    assert cryo_disentangle.ImplicitDecoder.__name__ == "ImplicitDecoder"
    with pytest.raises(AttributeError, match="'cryo_disentangle' has no attribute 'nothing'"):
        cryo_disentangle.nothing  # noqa: B018


def test_the_package_alone_loads_no_torch() -> None:
    code = "import sys, cryo_disentangle; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""The examples run as they are given to users, on tiny data."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.forked import script

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *options: str) -> list[str]:
    """Runs an example and returns the rows of the table that it prints."""
    said = script(EXAMPLES / name, *options)
    return [line for line in said.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("name", ["plain_loop.py", "users_vae.py"])
def test_small_networks(name: str) -> None:
    header, _, without, with_penalty = run(name, "--particles", "100", "--epochs", "3")
    assert header.count("|") == without.count("|") == with_penalty.count("|") == 5
    assert "nan" not in without + with_penalty
    assert without.split("|")[2:] != with_penalty.split("|")[2:]


def test_cryodrgn() -> None:
    pytest.importorskip("cryodrgn", reason="cryoDRGN is not installed")
    small = ["--particles", "64", "--held-out", "64", "--epochs", "3", "--width", "16"]
    rows = run("cryodrgn_vae.py", *small, "--weight", "1")
    assert len(rows) == 9
    before, without, with_penalty = (
        [row.split("|")[column] for row in rows[2:]] for column in (2, 3, 4)
    )
    assert before != without != with_penalty
    assert "nan" not in "".join(rows)

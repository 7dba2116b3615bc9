"""Bars that the package is built to; `benchmarks/structure.py` counts."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


def structure() -> ModuleType:
    found = importlib.util.spec_from_file_location("structure", ROOT / "benchmarks/structure.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_functions_files_doors_and_imports_keep_their_bars(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    count = structure()
    package = count.Package(ROOT)
    functions = list(package.functions())
    assert len(functions) > 1000
    assert [f.name for f in functions if count._length(f) > 50] == []
    assert [f.name for f in functions if count._complexity(f) > 12] == []
    assert [name for name, text in package.text.items() if len(text.splitlines()) > 350] == []
    assert package.public_names() <= 220
    assert package.deep_imports() == 0
    assert package.circles() == []

    # Its row for the table, of the package as it has been read.
    monkeypatch.setattr(count, "Package", lambda _: package)
    monkeypatch.setattr("sys.argv", ["structure.py", "--row=now"])
    count.main()
    cells = [cell.strip() for cell in capsys.readouterr().out.split("|")[1:-1]]
    assert cells[0] == "now"
    assert all(int(number) >= 0 for cell in cells[1:] for number in cell.split("/"))
    assert int(cells[-2]) == 0  # nobody reaches into callbacks

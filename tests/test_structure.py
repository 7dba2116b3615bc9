"""Bars that the package is built to; `benchmarks/structure.py` counts."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def structure() -> ModuleType:
    found = importlib.util.spec_from_file_location("structure", ROOT / "benchmarks/structure.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_functions_files_doors_and_imports_keep_their_bars() -> None:
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

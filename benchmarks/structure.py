"""How the package is built: sizes of functions and files, its public names, and who imports whom.

    python benchmarks/structure.py --row before ROOT >> benchmarks/structure.md

prints a row of ``structure.md`` for the checkout at ROOT. Nothing is imported, sources are read.
"""

from __future__ import annotations

import argparse
import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_BRANCHES = (
    ast.If,
    ast.For,
    ast.While,
    ast.IfExp,
    ast.ExceptHandler,
    ast.comprehension,
    ast.Assert,
    ast.match_case,
)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Package:
    """The sources of a checkout.

    Args:
        root: Its folder.
    """

    def __init__(self, root: Path) -> None:
        files = sorted((root / "cryo_disentangle").rglob("*.py")) + sorted(
            (root / "callbacks").glob("*.py")
        )
        # The package holds links to callbacks and configs, which are not followed twice.
        own = {file.resolve(): file for file in files}.values()
        self.text = {_module(file, root): file.read_text() for file in own}
        self.trees = {name: ast.parse(text) for name, text in self.text.items()}
        self.packages = {_module(f, root) for f in files if f.name == "__init__.py"}

    def functions(self) -> Iterator[_Function]:
        """Yields all functions and methods."""
        for tree in self.trees.values():
            for node in ast.walk(tree):
                if isinstance(node, _Function):
                    yield node

    def public_names(self) -> int:
        """Counts what packages export in ``__all__``."""
        return sum(len(_exported(self.trees[name])) for name in self.packages)

    def stores(self) -> list[str]:
        """Lists classes that keep ``mean`` and ``log_variance`` of many particles."""
        return [
            f"{name}.{node.name}"
            for name, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and _is_store(node)
        ]

    def imports(self) -> dict[str, set[str]]:
        """Returns which modules each imports, wherever in the file."""
        found: dict[str, set[str]] = defaultdict(set)
        for name, tree in self.trees.items():
            for node in ast.walk(tree):
                found[name] |= set(self._imported(node)) - {name}
        return found

    def _imported(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in self.trees)
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in self.trees:
                    yield inner
                elif node.module in self.trees:
                    yield node.module

    def deep_imports(self) -> int:
        """Counts imports of modules in callbacks from elsewhere."""
        inner = "cryo_disentangle.callbacks"
        return sum(
            name.startswith(f"{inner}.")
            for module, names in self.imports().items()
            if not module.startswith(inner)
            for name in names
        )

    def circles(self) -> list[list[str]]:
        """Lists groups of modules that import each other (Tarjan's components)."""
        graph = self.imports()
        reach = {name: _reachable(name, graph) for name in self.trees}
        groups = {
            tuple(sorted(other for other in reach[name] if name in reach[other]))
            for name in self.trees
            if name in reach[name]
        }
        return [list(group) for group in sorted(groups)]


def _module(file: Path, root: Path) -> str:
    parts = list(file.relative_to(root).with_suffix("").parts)
    if parts[0] != "cryo_disentangle":
        parts.insert(0, "cryo_disentangle")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _exported(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def _is_store(node: ast.ClassDef) -> bool:
    """Whether a class has rows of latents."""
    fields = {
        part.target.id
        for part in node.body
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    }
    return {"mean", "log_variance"} <= fields and node.name != "Inference"


def _reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(graph[name])
    return found


def _length(function: _Function) -> int:
    """Lines of a function without its docstring."""
    last = function.end_lineno or function.lineno
    first = function.body[0]
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if text else 0
    return last - function.lineno + 1 - docstring


def _complexity(function: _Function) -> int:
    """McCabe's number."""
    score = 1
    for node in ast.walk(function):
        score += isinstance(node, _BRANCHES)
        if isinstance(node, ast.BoolOp):
            score += len(node.values) - 1
    return score


def _parameters(function: _Function) -> int:
    taken = function.args
    names = [a.arg for a in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def main() -> None:
    """Prints a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, nargs="?", default=Path(__file__).parents[1])
    parser.add_argument("--row", default="now", help="what the row is called")
    parser.add_argument("--names", action="store_true", help="list stores and circles too")
    options = parser.parse_args()
    package = Package(options.root)
    functions = list(package.functions())
    lengths = np.array([_length(function) for function in functions])
    complexity = np.array([_complexity(function) for function in functions])
    cells = [
        options.row,
        f"{np.median(lengths):.0f} / {np.quantile(lengths, 0.9):.0f} / {lengths.max()}",
        f"{np.quantile(complexity, 0.95):.0f} / {complexity.max()}",
        max(_parameters(function) for function in functions),
        max(len(text.splitlines()) for text in package.text.values()),
        package.public_names(),
        len(package.stores()),
        package.deep_imports(),
        len(package.circles()),
    ]
    print("|", " | ".join(map(str, cells)), "|")
    if options.names:
        print(*package.stores(), *map(" <-> ".join, package.circles()), sep="\n")


if __name__ == "__main__":
    main()

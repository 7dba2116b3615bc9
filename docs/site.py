"""What the site has besides docs/: the README as its front page, what pages link to, the API.

Links between files of the repository work as they stand there; here they are made to work on the
site, where the files of docs/ lie beside all others.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

_ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")


def on_config(config: Any) -> Any:  # noqa: ANN401 - mkdocs' own type
    """Adds a page for each package to the navigation.

    Args:
        config: What mkdocs.yml says.

    Returns:
        The same with the pages.
    """
    pages = [{f"cryo_disentangle.{name}": f"api/{name}.md"} for name in _packages()]
    config["nav"].insert(-2, {"API": pages})
    return config


def on_files(files: Files, config: Any) -> Files:  # noqa: ANN401 - mkdocs' own type
    """Adds the front page, what is linked from page to page, and the API.

    Args:
        files: What lies in docs/.
        config: What mkdocs.yml says.

    Returns:
        These and the others.
    """
    waiting = [_ROOT / "README.md", *sorted(_ROOT.glob("*.md"))]
    waiting += [_ROOT / "docs" / file.src_uri for file in files.documentation_pages()]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        if files.get_file_from_path(_place(path)) is None:
            files.append(File.generated(config, _place(path), abs_src_path=str(path)))
        if path.suffix == ".md":
            waiting += [(path.parent / link[1]).resolve() for link in _links(path.read_text())]
    for name in _packages():
        text = f"# cryo_disentangle.{name}\n\n::: cryo_disentangle.{name}\n"
        files.append(File.generated(config, f"api/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:  # noqa: ANN401, ARG001
    """Makes a page's links those of the site.

    Args:
        markdown: The page as it stands in the repository.
        page: Where it lies.
        config: What mkdocs.yml says.
        files: All of the site.

    Returns:
        The page with links between places of the site.
    """
    source = page.file.abs_src_path
    if source is None:
        return markdown
    here = posixpath.dirname(page.file.src_uri)

    def moved(link: re.Match[str]) -> str:
        there = _place((Path(source).parent / link[1]).resolve())
        return posixpath.relpath(there, here or ".") + (link[2] or "")

    return _LINK.sub(moved, markdown)


def _packages() -> Iterator[str]:
    """Names of the packages that export anything."""
    found = _ROOT.glob("cryo_disentangle/*/__init__.py")
    return iter(sorted(path.parent.name for path in found if "__all__" in path.read_text()))


def _links(markdown: str) -> Iterator[re.Match[str]]:
    return _LINK.finditer(re.sub(r"^```.*?^```", "", markdown, flags=re.M | re.S))


def _place(path: Path) -> str:
    """Where a file of the repository lies on the site."""
    place = path.relative_to(_ROOT).as_posix()
    return "index.md" if place == "README.md" else place.removeprefix("docs/")

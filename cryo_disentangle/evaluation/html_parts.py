"""Parts of HTML pages that need nothing else, and the page of a finished run made of them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import NamedTuple

from cryo_disentangle.judgement.score_names import Row, group_reasons, headlines
from cryo_disentangle.judgement.scores import Score
from cryo_disentangle.judgement.verdict import Verdict

__all__ = ["PageContent", "PagePicture", "draw_page", "html_facts", "html_figure", "html_page"]

_STYLE = """
:root { --ink: #1a1a1a; --soft: #5a5a5a; --line: #dcdcdc; --good: #00704f; --fair: #8a5a00;
  --bad: #a33a00; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; margin: 0 auto;
  max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
p, li { max-width: 46rem; }
.verdict { border-left: .5rem solid var(--soft); background: #f6f6f6; padding: .5rem 1rem;
  font-size: 1.15rem; font-weight: 600; }
.conformation { border-color: var(--good); } .partly { border-color: var(--fair); }
.viewing, .nothing { border-color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
tr.group th { background: #f6f6f6; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 1.5rem 0; break-inside: avoid; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .9rem; }
code { background: #f3f3f3; padding: .1rem .3rem; overflow-wrap: anywhere; }
footer { color: var(--soft); font-size: .85rem; margin-top: 2rem; }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; }
  th, td { padding: .25rem .3rem; } td.n, th.n { white-space: normal; } }
@media print { body { max-width: none; font-size: 11pt; } .scroll { overflow: visible; }
  details { display: none; } }
"""


class PagePicture(NamedTuple):
    """A picture and what to see in it.

    Attributes:
        title: In a few words.
        caption: What to look for.
        png: The picture's file.
    """

    title: str
    caption: str
    png: bytes


class PageContent(NamedTuple):
    """What a page tells.

    Attributes:
        title: Its title.
        facts: What was trained.
        judgement: The verdict.
        verdicts: What labels say about identifiability.
        scores: By group and name.
        pictures: In order.
        missing: What could not be had, and why.
        steps: What to do next, with commands.
        footer: How the page was made.
    """

    title: str
    facts: Mapping[str, str]
    judgement: Verdict
    verdicts: Mapping[str, str]
    scores: Mapping[str, Mapping[str, Score]]
    pictures: Sequence[PagePicture]
    missing: Mapping[str, str]
    steps: Sequence[tuple[str, str]]
    footer: str


def draw_page(content: PageContent) -> str:
    """Writes the page.

    Args:
        content: What it tells.

    Returns:
        HTML with its style and pictures inside.
    """
    kind = content.judgement.verdict.split()[0]
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in content.judgement.reasons)
    parts = [
        f"<h1>{escape(content.title)}</h1>",
        f'<p class="verdict {kind}">{escape(content.judgement.headline)}</p>',
        f"<ul>{reasons}</ul>" if reasons else "",
        _verdicts(content.verdicts),
        "<h2>What was trained</h2>",
        html_facts(content.facts),
        "<h2>Numbers</h2>",
        _table(headlines(content.scores)),
        "<h2>Pictures</h2>" if content.pictures else "",
        *(html_figure(picture) for picture in content.pictures),
        "<h2>How to go on</h2>" if content.steps else "",
        _steps(content.steps),
        _missing(content.missing),
        _everything(content.scores),
        f"<footer>{escape(content.footer)}</footer>",
    ]
    return html_page(content.title, parts)


def html_page(title: str, parts: Sequence[str]) -> str:
    """Makes a page that needs nothing else and can be read on a phone and in print.

    Args:
        title: Its title.
        parts: HTML of its body; empty ones are left out.

    Returns:
        HTML with its style inside.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def html_facts(facts: Mapping[str, str]) -> str:
    """Makes a list of names and values.

    Args:
        facts: The values, by name.

    Returns:
        HTML.
    """
    pairs = (f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return f"<dl>{''.join(pairs)}</dl>"


def _verdicts(verdicts: Mapping[str, str]) -> str:
    if not verdicts:
        return ""
    items = (
        f"<p><strong>Do {escape(name)} labels tell the coordinates apart?</strong> "
        f"{escape(verdict)}</p>"
        for name, verdict in verdicts.items()
    )
    return "".join(items)


def _table(rows: Sequence[Row]) -> str:
    """The scores that tell most, with intervals."""
    body = []
    for group, members in groupby(rows, key=lambda row: row.group):
        body.append(f'<tr class="group"><th colspan="4">{escape(group)}</th></tr>')
        body += [
            f'<tr><td>{escape(row.name)}</td><td class="n">{row.score.value:.3g}</td>'
            f'<td class="n">{_interval(row.score)}</td><td class="n">{row.best}</td></tr>'
            for row in members
        ]
    columns = "".join(f'<th class="n">{name}</th>' for name in ("value", "95 % interval", "best"))
    head = f"<tr><th>what</th>{columns}</tr>"
    table = f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _interval(score: Score) -> str:
    if score.low is None or score.high is None:
        return ""
    return f"{score.low:.3g} to {score.high:.3g}"


def html_figure(picture: PagePicture) -> str:
    """Puts a picture inside a page.

    Args:
        picture: The picture.

    Returns:
        HTML with the picture in it.
    """
    code = base64.b64encode(picture.png).decode("ascii")
    return (
        f'<figure><img alt="{escape(picture.title)}" src="data:image/png;base64,{code}">'
        f"<figcaption><strong>{escape(picture.title)}.</strong> {escape(picture.caption)}"
        "</figcaption></figure>"
    )


def _steps(steps: Sequence[tuple[str, str]]) -> str:
    if not steps:
        return ""
    items = (
        f"<li>{escape(what)}{f'<br><code>{escape(command)}</code>' if command else ''}</li>"
        for what, command in steps
    )
    return f"<ol>{''.join(items)}</ol>"


def _missing(missing: Mapping[str, str]) -> str:
    if not missing:
        return ""
    items = (
        f"<li>{escape(names)}: {escape(reason)}</li>"
        for reason, names in group_reasons(missing).items()
    )
    return f"<h2>What could not be measured</h2><ul>{''.join(items)}</ul>"


def _everything(scores: Mapping[str, Mapping[str, Score]]) -> str:
    """All scores under their names in metrics.json."""
    rows = "".join(
        f'<tr><td>{escape(group)}/{escape(name)}</td><td class="n">{score.value:.6g}</td>'
        f'<td class="n">{_interval(score)}</td></tr>'
        for group, members in scores.items()
        for name, score in members.items()
    )
    return (
        "<details><summary>All numbers, as in metrics.json</summary>"
        f'<div class="scroll"><table>{rows}</table></div></details>'
    )

"""A page as a list of blocks, written as Markdown and as one self-contained HTML file.

Belongs here: blocks and their two renderings. Does not belong here: what a report says (`report`).

The HTML asks for nothing from outside (style inside, pictures as data addresses). The Markdown has the same words and
tables; a picture is a file beside it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from geno_pipeline.evaluation.plots import data_uri

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 77rem; margin: 0 auto; padding: 1rem 1.5rem;
  color: #1a1a1a; background: #fff; }
h1 { font-size: 1.6rem; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ccc; }
h3 { font-size: 1.02rem; margin: 1.25rem 0 .4rem; }
.notice { border-left: 4px solid #D55E00; background: #fdf1ea; padding: .5rem 1rem; margin: .75rem 0; }
.answer { border-left: 4px solid #0072B2; background: #eaf3fa; padding: .75rem 1rem; margin: .75rem 0;
  font-size: 1.15rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap; }
th { background: #f4f4f4; white-space: normal; vertical-align: bottom; }
.wrapped { font-size: .82rem; } .wrapped td { white-space: normal; min-width: 0; }
.wrapped th, .wrapped td { padding: .25rem .35rem; }
td.wide { white-space: normal; min-width: 16rem; }
.wrapped td.wide { min-width: 0; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
figcaption { color: #444; font-size: .9rem; }
""".strip()
LONG_CELL = 40
NO_BREAK = "\u00a0"


@dataclass(frozen=True, slots=True)
class Heading:
    """A section's title (level 2), or that of a part of one (3)."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Plain text; `kind` is "notice" (a warning), "answer" (what the page is for) or "" (all else)."""

    text: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Column names and rows of cells that are already text; `is_wrapped`: a cell may take several lines."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_wrapped: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG with its caption; `name` is that of its file."""

    name: str
    png: bytes
    caption: str


Block = Heading | Paragraph | Table | Picture


def to_markdown(title: str, blocks: Sequence[Block], plots: str) -> str:
    """The page as Markdown; plots: folder of the pictures, as seen from the page."""
    return "\n\n".join([f"# {title}", *(_markdown(block, plots) for block in blocks)]) + "\n"


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """The page as one HTML file; all text is escaped."""
    viewport = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8">{viewport}<title>{html.escape(title)}</title>\n<style>\n{STYLE}\n</style>'
    body = "\n".join([f"<h1>{html.escape(title)}</h1>", *(_html(block) for block in blocks)])
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def _markdown(block: Block, plots: str) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text, kind):
            return f"> **{text}**" if kind else text
        case Table(columns, rows, _):
            lines = [columns, ["---"] * len(columns), *rows]
            return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        case Picture(name, _, caption):
            return f"![{caption}]({plots}/{name}.png)\n\n*{caption}*"


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{html.escape(text)}</h{level}>"
        case Paragraph(text, kind):
            return f'<p class="{kind}">{html.escape(text)}</p>' if kind else f"<p>{html.escape(text)}</p>"
        case Table(columns, rows, is_wrapped):
            wrapped = ' class="wrapped"' if is_wrapped else ""
            head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
            shown = _breaking if is_wrapped else str
            lines = "\n".join("<tr>" + "".join(_cell(shown(cell)) for cell in row) + "</tr>" for row in rows)
            return f'<div class="scroll"><table{wrapped}>\n<tr>{head}</tr>\n{lines}\n</table></div>'
        case Picture(_, png, caption):
            text = html.escape(caption)
            return f'<figure><img src="{data_uri(png)}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _breaking(text: str) -> str:
    """Text whose lines do not break within an interval in brackets, nor within `n + m`."""
    whole = re.sub(r"\([^)]*\)|(n = )?[\d,]+ \+ [\d,]+", lambda found: found[0].replace(" ", NO_BREAK), text)
    return whole.replace("not shown", f"not{NO_BREAK}shown")


def _cell(text: str) -> str:
    wide = ' class="wide"' if len(text) > LONG_CELL else ""
    return f"<td{wide}>{html.escape(text)}</td>"

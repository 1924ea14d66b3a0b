"""What a page of an evaluation is made of, and its form as Markdown. HTML is made by the template."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from semblance.manifests.console import plain
from semblance.quality.report.environment import code
from semblance.quality.report.gallery import Sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A figure of a table, with lines that stand small below it; ``best`` of its column; ``link``: a relative path."""

    text: str
    small: str = ""
    best: bool = False
    link: str = ""

    def __str__(self) -> str:
        text = f"**{self.text}**" if self.best else self.text
        small = self.small.replace("\n", ", ")
        return f"{text} ({small})" if small else text


Value = str | Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A heading, lines of cells and a caption. A heading that begins with # is one of numbers.

    ``apart``: grey, since its figures must not be mixed with those of other tables.
    """

    heading: Sequence[str]
    lines: Sequence[Sequence[Value]]
    caption: str
    label: str  # what a screen reader calls its frame
    apart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A line of the legend: the name of a system, the number of its colour, its pattern of dashes."""

    name: str
    colour: int
    dashes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawings:
    """Plots that share one legend; pages of Markdown leave them out."""

    plots: Sequence[tuple[str, Markup]]  # title, drawing
    legend: Sequence[Key] = ()
    classes: bool = False  # reals and fakes have the page's two colours


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheets:
    """Pictures; pages of Markdown leave them out."""

    sheets: Sequence[Sheet]


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Bullet points, shown as they are."""

    points: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Blocks that open on demand, and in print; ``open``: they are open at first."""

    title: str
    blocks: Sequence[str | Table | Drawings | Sheets | Points]
    open: bool = False


Block = str | Table | Drawings | Sheets | Points | Fold


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page. A text may have `code`, **strong** and *emphasised* words."""

    title: str
    blocks: Sequence[Block]

    @property
    def key(self) -> str:
        """The anchor of the section."""
        return re.sub(r"[^a-z]+", "-", self.title.lower()).strip("-")


def markdown(sections: Sequence[Section]) -> str:
    """Sections as Markdown, below a title of their own."""
    parts = []
    for section in sections:
        parts += [f"## {section.title}", *(part for block in section.blocks for part in _markdown(block))]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Block) -> Iterator[str]:
    if isinstance(block, str):
        yield block
    elif isinstance(block, Points):
        yield "\n".join(f"- {point}" for point in block.points)
    elif isinstance(block, Table):
        yield block.caption
        yield table(block)
    elif isinstance(block, Fold):
        yield f"### {block.title}"
        for one in block.blocks:
            yield from _markdown(one)


def table(one: Table) -> str:
    """A Markdown table."""
    heading = [head.removeprefix("#") for head in one.heading]
    rule = ["---:" if head.startswith("#") else "---" for head in one.heading]
    return "\n".join(
        "| " + " | ".join(plain(str(cell)).replace("|", "\\|") for cell in line) + " |"
        for line in (heading, rule, *one.lines)
    )


def marked(text: str) -> Markup:
    """Escaped text, with `code`, **strong** and *emphasised* words set as such."""
    safe = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(code(text)))
    return Markup(re.sub(r"(?<![\w*])\*(\w[^*]*?)\*(?![\w*])", r"<em>\1</em>", safe))  # escaped above

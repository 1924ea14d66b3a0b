"""The documentation as data: pages, their code blocks, the commands and flags that they name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.conftest import REPOSITORY
from tests.docs.cli_reference import COMMANDS

PAGES: Final = tuple(
    sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "examples").glob("*.md")])
)
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"`([^`\n]+)`")
_ROW: Final = re.compile(r"^\| `([^`]+)` \| (.*?) \|", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: its page and line below the repository, its language, its text."""

    where: str
    language: str
    text: str

    def __str__(self) -> str:
        return self.where


def name_of(page: Path) -> str:
    """``docs/guide.md``."""
    return page.relative_to(REPOSITORY).as_posix()


def blocks(*languages: str) -> list[Block]:
    """All fenced blocks of these languages, page by page."""
    return [
        Block(where=f"{name_of(page)}:{_line(text, match.start())}", language=match[1], text=match[2])
        for page in PAGES
        for text in [page.read_text("utf-8")]
        for match in _BLOCK.finditer(text)
        if match[1] in languages
    ]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _BLOCK.sub("", page.read_text("utf-8"))


def spans(page: Path) -> list[str]:
    """The inline code of a page."""
    return _SPAN.findall(prose(page))


def first_column(name: str, heading: str) -> dict[str, str]:
    """The rows of the tables below a heading, up to the next one: code in the first column -> second column."""
    text = (REPOSITORY / name).read_text("utf-8")
    section = re.split(r"^#+ ", text.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return dict(_ROW.findall(section))


def shell_lines() -> Iterator[tuple[str, list[str]]]:
    """(place, words) of every command in a console block and of every command of ours in inline code."""
    for block in blocks("console"):
        for line in block.text.splitlines():
            if line.startswith("$ "):
                yield block.where, shlex.split(line[2:], comments=True)
    for page in PAGES:
        for span in spans(page):
            if span.split(" ")[0] in COMMANDS and " " in span:
                yield name_of(page), span.split()


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1

"""What a section of the reviewer's page is made of: a question, and an answer for each build."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from semblance.manifests.records import Level
from semblance.quality.audit.record import BuildRecord, Judgement, Record

SHOWN: Final = 300  # entries of a list; audit.json has all


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table: ``heads`` that start with ``#`` are numbers, set to the right; the first cell names the row."""

    caption: str
    heads: tuple[str, ...]
    rows: Sequence[Sequence[str]]

    @property
    def filled(self) -> list[tuple[str, list[str]]]:
        """Head and cells of every column that has a cell with text; the first column always."""
        columns = [(head, [row[place] for row in self.rows]) for place, head in enumerate(self.heads)]
        return [column for place, column in enumerate(columns) if place == 0 or any(column[1])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list that is folded away: its summary, and its entries, all of them."""

    summary: str
    entries: Sequence[str]

    @property
    def shown(self) -> Sequence[str]:
        return self.entries[:SHOWN]

    @property
    def left(self) -> int:
        """How many entries are in audit.json alone."""
        return max(len(self.entries) - SHOWN, 0)


Block = str | Table | Listing


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer for one build: a sentence, what was checked, the evidence, and what was not checked and why.

    ``known``: whether the question could be answered at all; ``least``: a level that the evidence itself has, whatever
    findings of other questions say. ``commands`` repeat or continue the check.
    """

    sentence: str
    checked: Sequence[str]
    found: Sequence[Block] = ()
    unchecked: Sequence[str] = ()
    commands: Sequence[str] = ()
    known: bool = True
    least: Level = "note"
    mark: str = ""  # instead of that of the level


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A section: its heading, the laws whose findings it shows (see ``Finding.law``), and how a build answers it.

    ``detailed``: the laws whose ids the evidence lists with more than their names.
    """

    key: str
    heading: str
    laws: tuple[str, ...]
    answer: Callable[[Record, BuildRecord], Answer]
    detailed: tuple[str, ...] = ()


def findings(build: BuildRecord, laws: Sequence[str]) -> list[Judgement]:
    """The findings of these laws, worst first."""
    return [one for one in build.findings if one.law in laws]


def percent(part: int, whole: int) -> str:
    """``12.5 %``; empty for a part of nothing."""
    return f"{part / whole:.1%}".replace("%", " %") if whole else ""


def many(count: int, noun: str, plural: str = "") -> str:
    """``1 video``, ``2 videos``."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"

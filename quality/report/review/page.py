"""``quality audit --page``: one HTML page that answers a reviewer's questions, made from the record alone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from semblance.quality.audit.record import BuildRecord, Judgement, Record, Settings
from semblance.quality.report.environment import environment
from semblance.quality.report.review import (
    copies,
    files,
    filters,
    labels,
    leaks,
    losses,
    people,
    protocol,
    shortcuts,
)
from semblance.quality.report.review.answer import Answer, Block, Listing, Question, findings, many

QUESTIONS: Final = (
    protocol.QUESTION,
    leaks.QUESTION,
    people.QUESTION,
    copies.QUESTION,
    shortcuts.QUESTION,
    labels.QUESTION,
    filters.QUESTION,
    losses.QUESTION,
    files.QUESTION,
)
_NAMED: Final = {law for question in QUESTIONS for law in question.laws}
_MARKS: Final = {"broken": "broken", "warning": "warning", "note": "no fault found", "unknown": "not known"}
_HEADS: Final = {"broken": "BROKEN", "warning": "WARNING", "note": "SOUND"}
_DEFAULTS: Final = {"distance": 8, "confirm": 5000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A question as one build answers it: the answer, its findings with their ids, and a mark."""

    build: str
    answer: Answer
    findings: Sequence[tuple[Judgement, Listing | None]]
    level: str  # broken, warning, note, or unknown

    @property
    def mark(self) -> str:
        return self.answer.mark if self.answer.mark and self.level == "note" else _MARKS[self.level]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A question with the answers of all builds."""

    question: Question
    answers: Sequence[Shown]


def render(record: Record) -> str:
    """The page. It has no pictures of people: a reviewer may pass it on as far as ids and paths may be passed on."""
    sections = [_section(record, question) for question in QUESTIONS]
    return (
        environment()
        .get_template("review.html")
        .render(
            record=record,
            head=_HEADS[record.level],
            verdict=_verdict(record),
            several=len(record.builds) > 1,
            sections=sections,
            open=[_unanswered(build, sections) for build in record.builds],
            between=[(pair, _between(record, pair.build, pair.other)) for pair in record.between],
            command=command(record),
            settings=_settings(record.settings),
        )
    )


def _verdict(record: Record) -> str:
    """The verdict without the word that stands above it."""
    return f"{record.verdict.removeprefix(_HEADS[record.level]).lstrip(': ')}."


def _unanswered(build: BuildRecord, sections: Sequence[Section]) -> tuple[str, list[int], list[int]]:
    """A build, and the numbers of the questions that could not be answered, or not wholly."""
    mine = [next(shown for shown in section.answers if shown.build == build.build) for section in sections]
    return (
        build.build,
        [number for number, shown in enumerate(mine, 1) if shown.level == "unknown"],
        [number for number, shown in enumerate(mine, 1) if shown.answer.mark and shown.level != "unknown"],
    )


def _section(record: Record, question: Question) -> Section:
    laws = question.laws
    if question is QUESTIONS[-1]:  # whatever no other question shows
        laws = (*laws, *{one.law for build in record.builds for one in build.findings} - _NAMED)
    return Section(question=question, answers=[_shown(record, build, question, laws) for build in record.builds])


def _shown(record: Record, build: BuildRecord, question: Question, laws: Sequence[str]) -> Shown:
    answer, judged = question.answer(record, build), findings(build, laws)
    levels = {answer.least, *(one.level for one in judged)}
    worst = next((level for level in ("broken", "warning") if level in levels), "note" if answer.known else "unknown")
    return Shown(
        build=build.build,
        answer=answer,
        findings=[(one, None if one.law in question.detailed else _ids(one)) for one in judged],
        level=worst,
    )


def _ids(one: Judgement) -> Listing | None:
    return Listing(summary=many(len(one.ids), "id"), entries=one.ids) if one.ids else None


def _between(record: Record, build: str, other: str) -> list[Block]:
    return leaks.between(record, build, other)


def command(record: Record) -> str:
    """The command that repeats the audit."""
    settings = record.settings
    words = ["quality", "audit", *(build.build for build in record.builds)]
    words += ["--plan"] if settings.plan_only else []
    words += [
        f"--{name}={getattr(settings, name)}" for name, usual in _DEFAULTS.items() if getattr(settings, name) != usual
    ]
    words += ["--attributes", settings.attributes] if settings.attributes else []
    words += [word for name in settings.allow for word in ("--allow", name)]
    return shlex.join([*words, "--page", "review.html", "--json", "audit.json"])


def _settings(settings: Settings) -> list[tuple[str, str, str]]:
    """Name, value and meaning of every setting."""
    described = type(settings).model_fields
    values: dict[str, Any] = settings.model_dump()
    return [(name, _value(value), described[name].description or "") for name, value in values.items()]


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"

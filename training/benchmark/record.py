"""The benchmark as a versioned record, ``benchmark.json``: the source of its JSON Schema and its documentation."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final, Literal

from pydantic import Field

from semblance.manifests.config import readable_json
from semblance.quality.audit import reference
from semblance.quality.audit.evidence import Part
from semblance.training.benchmark import page, published
from semblance.training.benchmark.cells import Cell as Made
from semblance.training.benchmark.record_parts import (
    Alarm,
    Answer,
    Cell,
    Column,
    Consistency,
    Gain,
    Hard,
    Members,
    Published,
    Row,
)
from semblance.training.benchmark.result import Benchmark
from semblance.training.benchmark.robust import Robust
from semblance.training.evaluation.results import LEVELS
from semblance.training.runs.folder import versions

SCHEMA: Final = "semblance-benchmark/1"
COMMAND: Final = "training benchmark-schema"
_INTRODUCTION: Final = f"""# The benchmark as JSON

Made by `{COMMAND} --markdown`; do not edit it by hand. Format `{SCHEMA}`.

`training benchmark` writes benchmark.json beside its page. Every figure of the page is in it. Its JSON Schema (draft
2020-12) is [benchmark.schema.json](benchmark.schema.json), printed by `{COMMAND}`. The evaluation of a column is in
`evaluation` of that column, as [evaluation.json](evaluation-json.md).

Unknown values are null, never invented. The file names no people and holds no pictures. Paths are those that the suite
gives, relative to the working directory.

## Versions

The format has one number. Fields may be added to `{SCHEMA}`; readers should ignore fields that they do not
know. If a field is removed, or its meaning changes, the number grows. `versions.semblance` is the version of the
software.
"""


class Record(Part):
    """A benchmark. Every figure of the page is here."""

    schema_: Literal["semblance-benchmark/1"] = Field(alias="schema", description="name and version of this format")
    title: str = Field(description="title of the suite")
    date: str = Field(description="date of the evaluations, in UTC unless --date gave it")
    versions: dict[str, str] = Field(description="what made the benchmark: semblance, python, torch, ...")
    draws: int = Field(description="bootstrap draws of an interval")
    seed: int = Field(description="seed of the draws")
    baseline: str | None = Field(description="the row that gains are measured against; null: none")
    rows: list[Row] = Field(description="the rows, in order")
    columns: list[Column] = Field(description="the columns, in order; those with attack or certify last")
    cells: list[Cell] = Field(description="every row on every column of AUC, row by row")
    hard: list[Hard] = Field(description="every row on every column with attack or certify; empty without one")
    consistencies: list[Consistency] = Field(description="mean AUC on unseen columns divided by that on seen ones")
    gains: list[Gain] = Field(description="every other row against the baseline")
    members: list[Members] = Field(description="every ensemble against its best member")
    answers: list[Answer] = Field(description="what was asked, and whether it is shown")
    alarms: list[Alarm] = Field(description="what a reader should know first: leaks, contradictions, notes")
    published: list[Published] = Field(description="figures of others, not comparable; empty if not asked for")


def make(result: Benchmark) -> Record:
    """The record of a benchmark."""
    return Record.model_validate(
        {
            "schema": SCHEMA,
            "title": result.suite.title,
            "date": result.date,
            "versions": versions(),
            "draws": result.suite.draws,
            "seed": result.suite.seed,
            "baseline": result.suite.baseline,
            "rows": [{"name": one.name, "runs": list(one.runs), "seeds": list(one.seeds)} for one in result.systems],
            "columns": [_column(one) for one in result.columns],
            "cells": [_cell(one) for one in result.cells],
            "hard": [_hard(cell) for one in result.hardened for cell in one.cells],
            "consistencies": [asdict(one) | {"sd": one.over.sd if one.over else None} for one in result.consistencies],
            "gains": [asdict(one) for one in result.gains],
            "members": [asdict(one) for one in result.members],
            "answers": [asdict(one) for one in result.answers],
            "alarms": [asdict(one) for one in page.alarms(result)],
            "published": [asdict(one) for one in published.figures()] if result.suite.published else [],
        }
    )


def as_json(record: Record) -> str:
    """The record as a JSON document for people and machines."""
    return readable_json(record.model_dump(mode="json", by_alias=True))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the record, as it is written."""
    return reference.json_schema(Record, SCHEMA)


def markdown() -> str:
    """The reference of every object in the record, the outermost first."""
    return reference.described(json_schema(), _INTRODUCTION)


def _column(one: Any) -> dict[str, Any]:
    column = one.column
    return {
        "name": column.name,
        "data": column.data,
        "datasets": one.videos["dataset"].unique().sort().to_list(),
        "kind": column.kind,
        "split": column.split,
        "split_column": one.result.split_column,
        "compression": column.compression,
        "methods": list(column.method),
        "degrade": None if column.degrade is None else str(column.degrade),
        "attack": None if column.attack is None else str(column.attack),
        "certify": None if column.certify is None else str(column.certify),
        "groups": one.least,
        "evaluation": f"{one.folder}/evaluation.json",
    }


def _hard(one: Robust) -> dict[str, Any]:
    named = {name: getattr(one, name) for name in Hard.model_fields if name not in ("figure", "clean", "sd")}
    sd = one.over.sd if one.over is not None else None
    return named | {"figure": asdict(one.figure), "clean": asdict(one.clean), "sd": sd}


def _cell(one: Made) -> dict[str, Any]:
    figures = []
    for level in LEVELS:
        found, over = one.figures[level], one.spreads.get(level)
        figures.append(
            {"level": level, "auc": found.value, "low": found.low, "high": found.high, "sd": over.sd if over else None}
        )
    named = {name: getattr(one, name) for name in Cell.model_fields if name not in ("figures", "groups")}
    return named | {"figures": figures, "groups": one.least}

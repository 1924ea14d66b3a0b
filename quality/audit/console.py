"""An audit on the console: the verdict first, then the evidence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from semblance.manifests.console import plain
from semblance.manifests.records import TRAIN_VAL_TEST, Finding
from semblance.quality.audit import shares_table
from semblance.quality.audit.findings import MANY
from semblance.quality.audit.leak_table import COPIES
from semblance.quality.audit.result import Audit, BuildAudit
from semblance.quality.audit.text import (
    EXAMPLES,
    coverage_line,
    examples,
    named,
    near_sentences,
    recording_sentences,
    same,
    sentences,
    verdict,
)

_NAMED: Final = 3  # ids of a finding
_SHARED: Final = 2  # index of the count in a row of the leak table


def show(audit: Audit, console: Console) -> None:
    """Print the verdict, then the evidence."""
    _print(verdict(audit), console)
    if searched := coverage_line(audit):
        _print(searched, console)
    for build in audit.builds:
        console.print()
        _list(build.findings, console)
        if len(build.problems) > _NAMED:
            _print(f"`shards verify {build.build.name}` lists all {len(build.problems):,} problems", console)
        console.print(_coverage_table(build))
        if build.shares is not None:
            console.print(shares_table.table(build.shares))
        console.print(_leak_table(audit, build))
        for sentence in sentences(audit, build):
            _print(sentence, console)
    for (one, other), findings in audit.across.items():
        if findings:
            console.print()
            _print(f"between {one} and {other}:", console)
            _list(findings, console)
    for (first, second), rows in audit.between.items():
        if rows.height:
            console.print()
            console.print(_between_table(first, second, rows))
    if apart := [f"{one} and {other}" for (one, other), rows in audit.between.items() if not rows.height]:
        _print(f"nothing shared between {'; '.join(apart)}", console)
    if audit.near is not None:
        console.print()
        for sentence in near_sentences(audit.near):
            _print(sentence, console)
        for sentence in recording_sentences(audit.recordings):
            _print(sentence, console)
    else:
        _print("Only the plan was audited; audit the build to find equal pictures and near-duplicates.", console)
    for sentence in examples(audit):
        _print(sentence, console)
    if audit.idle:
        _print(f"--allow lists ids that are not leaks here: {', '.join(audit.idle[:EXAMPLES])}", console)


def _list(findings: Iterable[Finding], console: Console) -> None:
    """One line per finding, with its remedy below it."""
    for finding in findings:
        _print(f"{finding.level}: {finding.what}{f': {named(finding, _NAMED)}' if finding.ids else ''}", console)
        if finding.remedy and finding.level != "note":
            _print(f"  {finding.remedy}", console)


def _coverage_table(one: BuildAudit) -> Table:
    active = f"{one.build.protocol} ({one.build.against})" if "clean" in one.build.protocol else one.build.protocol
    table = Table(title=Text(plain(f"{one.build.name}: active split: {active}")))
    heads = ["split", "real", "fake", "missing", "families", "known people"]
    keys = ["split", "real", "fake", "absent", "families", "named"]
    if one.build.shards:
        heads += ["failed", "no crop", "crops"]
        keys += ["failed", "empty", "crops"]
    for head in heads:
        table.add_column(head, justify="left" if head == "split" else "right")
    for row in one.coverage:
        table.add_row(*(f"{row[key]:,}" if isinstance(row[key], int) else str(row[key]) for key in keys))
    return table


def _leak_table(audit: Audit, one: BuildAudit) -> Table:
    """One row per kind of id under the active protocol; for other protocols, the kinds that they share."""
    table = Table(title="in more than one of train, val and test")
    for head in (
        "protocol",
        "what",
        "known",
        "shared",
        "%",
        "train+val",
        "train+test",
        "val+test",
        "test+train/val",
        "in test videos",
        "%",
    ):
        table.add_column(head, justify="left" if head in ("protocol", "what") else "right")
    inside = audit.leaks.filter((pl.col("build") == one.build.name) & pl.col("other").is_null())
    for column, figures in one.figures.items():
        if column != "split" and same(one.build.plan, column):
            continue
        name = f"{one.build.protocol}, active" if column == "split" else column.removeprefix("split_")
        rows = inside.filter(pl.col("column") == column)
        cells = [_id_cells(row) for row in figures.iter_rows(named=True)]
        if audit.near is not None:
            cells += [_pixel_cells(kind, rows.filter(pl.col("kind") == kind), one, column) for kind in COPIES]
        shown = [row for row in cells if column == "split" or row[_SHARED] != "0"]
        for row in shown or [["none shared", "", "0"]]:
            table.add_row(name, *row)
            name = ""
        table.add_section()
    return table


def _id_cells(row: dict[str, Any]) -> list[str]:
    """The table cells for one row of ``overlap.figures``."""
    counts = [f"{row[key]:,}" for key in ("train_val", "train_test", "val_test", "with_test")]
    tests = f"{row['tests_shared']:,} of {row['tests']:,}" if row["tests"] else ""
    share = _percent(row["shared"], row["known"])
    known, shared = f"{row['known']:,}", f"{row['shared']:,}"
    return [MANY[row["kind"]], known, shared, share, *counts, tests, _percent(row["tests_shared"], row["tests"])]


def _pixel_cells(kind: str, rows: pl.DataFrame, one: BuildAudit, column: str) -> list[str]:
    known, shared = "", rows.height
    if kind == "bytes" and one.pictures is not None:
        total, several = one.pictures.get(column, (0, 0))
        known, percent = f"{total:,}", _percent(several, total)
        shared = several
    else:
        percent = ""
    train, val, test = (pl.col(split) > 0 for split in TRAIN_VAL_TEST)
    pairs = [rows.filter(both).height for both in (train & val, train & test, val & test, test & (train | val))]
    return [MANY[kind], known, f"{shared:,}", percent, *(f"{count:,}" for count in pairs), "", ""]


def _between_table(first: str, second: str, rows: pl.DataFrame) -> Table:
    table = Table(title=Text(plain(f"shared by A = {first} and B = {second}")))
    splits = [(a, b) for a in TRAIN_VAL_TEST for b in TRAIN_VAL_TEST]
    table.add_column("what")
    for a, b in splits:
        table.add_column(f"{a}|{b}", justify="right")
    for kind in MANY:
        counts = {
            (a, b): count
            for a, b, count in rows.filter(pl.col("kind") == kind).select("side", "other_side", "ids").iter_rows()
        }
        if counts:
            table.add_row(MANY[kind], *(f"{counts.get(pair, 0):,}" for pair in splits))
    table.caption = "split in A|split in B; anything in test of one and in train or val of the other breaks the audit"
    return table


def _print(text: str, console: Console) -> None:
    console.print(plain(text), markup=False, highlight=False, soft_wrap=True)


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""

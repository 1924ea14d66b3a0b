"""What the ingest commands print: tables, warnings and sentences."""

from __future__ import annotations

import contextlib
import shutil
import sys
from typing import TYPE_CHECKING, Final

from semblance.manifests.console import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from semblance.ingest.plan import Plan

LINE: Final = 600  # characters of a printed warning: names may have thousands


def plan_tables(made: Plan) -> list[Table]:
    from collections import Counter

    from rich.table import Table

    tables = []
    if made.discovery.coverage:
        against = Table(title=f"{made.source.name}: found against the full set")
        for column in ("what", "found", "of"):
            against.add_column(column, justify="left" if column == "what" else "right")
        for line in made.discovery.coverage:
            against.add_row(line.what, str(line.found), str(line.full))
        tables.append(against)
    parts = Table(title=_cell(f"{made.source.name} at {made.root}{_marked(made.synthetic)}", 200))
    for column in ("part", "real", "fake", "unlabelled", "missing"):
        parts.add_column(column, justify="left" if column == "part" else "right")
    counts: dict[str, Counter[str]] = {}
    for video in made.videos:
        kind = video.fault or ("fake" if video.label else "real")
        counts.setdefault(video.part or "-", Counter())[kind] += 1
    for part, count in sorted(counts.items()):
        parts.add_row(_cell(part), *(str(count[kind]) for kind in ("real", "fake", "unlabelled", "missing")))
    sides = Table(title=f"split: {made.protocol}")
    for column in ("split", "real", "fake", "families", "shards"):
        sides.add_column(column, justify="left" if column == "split" else "right")
    for split, inside in made.by_split().items():
        sides.add_row(
            split,
            str(sum(video.label == 0 for video in inside)),
            str(sum(video.label == 1 for video in inside)),
            str(len({video.family_id for video in inside})),
            str(len({video.shard for video in inside})),
        )
    return [*tables, parts, sides]


def show_findings(console: Console, made: Plan, most: int = 8) -> None:
    """What does not fit, counted and named."""
    odd = [finding for finding in made.discovery.findings if finding.kind not in ("metadata", "other")]
    faults = [video for video in made.videos if video.fault]
    if not odd and not faults:
        return
    console.print(f"{len(odd) + len(faults)} warnings (all in manifests/findings.parquet and plan.parquet):")
    lines = [f"  {finding.kind}: {finding.path}: {finding.reason}" for finding in odd]
    lines += [f"  {video.fault}: {video.path}: {video.fault_note}" for video in faults]
    for line in lines[:most]:
        console.print(shortened(plain(line), LINE), markup=False, highlight=False, soft_wrap=True)
    if len(lines) > most:
        console.print(f"  ... and {len(lines) - most} more")


def summary_table(out: str) -> Table:
    from rich.table import Table

    from semblance.ingest.run.describe import by_split_and_method
    from semblance.manifests.tables import description

    table = Table(title=_cell(f"{out}{_marked(description(out).get('synthetic'))}", 200))
    for column in ("split", "label", "method", "videos", "failed", "faces", "kept", "rejected", "why rejected"):
        table.add_column(
            column, justify="right" if column in ("videos", "failed", "faces", "kept", "rejected") else "left"
        )
    labels = {0: "real", 1: "fake", None: "unknown"}
    for row in by_split_and_method(out).iter_rows(named=True):
        numbers = (str(row[name]) for name in ("videos", "failed", "faces", "kept", "rejected"))
        table.add_row(row["split"], labels[row["label"]], _cell(row["method"] or "-"), *numbers, row["why"] or "")
    return table


def show_empty_shards(console: Console, out: str) -> None:
    """Say aloud which planned shards have no sample."""
    from semblance.manifests import scan
    from semblance.shards.layout import key_of

    planned = set(scan(out, "plan").select("shard").unique().collect()["shard"])
    written = set(scan(out).select("shard").unique().collect()["shard"])
    if empty := sorted(planned - written):
        names = ", ".join(key_of(shard) for shard in empty)
        console.print(f"no face was kept in {names}: no tar is written for it", markup=False, highlight=False)


def show_masks(console: Console, out: str, counted: dict[str, int] | None, most: int = 3) -> None:
    """Say aloud how many masks were stored and where some lack; nothing where the recipe wants none."""
    from semblance.shards.card import mask_notes

    if counted is None:
        return
    say(f"masks: {counted['stored']} stored beside {counted['fake_crops']} crops of fakes", console)
    if counted["videos_lacking"]:
        say(f"{counted['videos_lacking']} videos lack some or all (column mask_note of the videos table):", console)
    for path, note in mask_notes(out).head(most).iter_rows():
        say(shortened(f"  {path}: {note}", LINE), console)
    if counted["videos_lacking"] > most:
        say(f"  ... and {counted['videos_lacking'] - most} more", console)


def show_failures(console: Console, out: str, most: int = 10) -> None:
    import polars as pl

    from semblance.manifests import scan
    from semblance.manifests.records import FAILURES

    failed = (
        scan(out, "videos")
        .filter(pl.col("status").is_in(list(FAILURES)))
        .select("status", "path", "error")
        .sort("status", "path")
        .collect()
    )
    console.print(f"{failed.height} videos failed:")
    for status_, path, error in failed.head(most).iter_rows():
        console.print(
            shortened(plain(f"  {status_}: {path}: {error}"), LINE), markup=False, highlight=False, soft_wrap=True
        )
    if failed.height > most:
        console.print(f"  ... and {failed.height - most} more")


def show_next_steps(console: Console, out: str) -> None:
    """An example query, and where to look."""
    name = plain(out)
    lines = [
        "Look further:",
        f'  manifests query {name} "SELECT split, label, count(*) AS crops, avg(blur) AS blur FROM samples GROUP BY '
        'split, label ORDER BY split, label"',
        f"  shards verify {name} --deep",
        f"  quality sheet {name} --to sheet.png",
        f"  {name}/CARD.md tells source, terms and known leaks",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _marked(synthetic: object) -> str:
    return " (SYNTHETIC: nobody in it exists)" if synthetic else ""


def _cell(text: str, most: int = 60) -> Text:
    """A foreign name for a table: no control characters, no markup, at most ``most`` characters."""
    from rich.text import Text

    return Text(shortened(plain(text), most))


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else shutil.get_terminal_size((160, 24)).columns)


def spinner(console: Console, text: str) -> contextlib.AbstractContextManager[object]:
    return console.status(text) if console.is_terminal else contextlib.nullcontext()


def say(text: str, console: Console | None = None) -> None:
    if console is None:
        print(plain(text), file=sys.stderr)
    else:
        console.print(plain(text), markup=False, highlight=False, soft_wrap=True)

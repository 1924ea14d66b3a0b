"""Output of the ingest commands: tables, warnings and sentences."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
from collections import Counter
from typing import TYPE_CHECKING, Final

from semblance.manifests.console import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from semblance.ingest.plan import Plan
    from semblance.quality.checks.shares import Shares

LINE: Final = 600  # characters of a printed line: names may have thousands
_PATHS: Final = 5  # of videos that failed for the same reason
_OVER: Final = re.compile(r"\((limits\.\w+=\S+)\); if the file is intact, (run the same command with .*)")


def plan_tables(plan: Plan) -> list[Table]:
    """Tables of the videos: share of the full dataset (if its size is known), by part, by split."""
    coverage = [_coverage_table(plan)] if plan.discovery.coverage else []
    return [*coverage, _parts_table(plan), _splits_table(plan)]


def _coverage_table(plan: Plan) -> Table:
    table = _table(f"{plan.source.name}: found, of the full dataset", ("what",), ("found", "of"))
    for coverage in plan.discovery.coverage:
        table.add_row(coverage.what, str(coverage.found), str(coverage.full))
    return table


def _parts_table(plan: Plan) -> Table:
    kinds = ("real", "fake", "unlabelled", "missing")
    title = _cell(f"{plan.source.name} at {plan.root}{_synthetic_mark(plan.synthetic)}", 200)
    table = _table(title, ("part",), kinds)
    counts: dict[str, Counter[str]] = {}
    for video in plan.videos:
        kind = video.fault or ("fake" if video.label else "real")
        counts.setdefault(video.part or "-", Counter())[kind] += 1
    for part, count in sorted(counts.items()):
        table.add_row(_cell(part), *(str(count[kind]) for kind in kinds))
    return table


def _splits_table(plan: Plan) -> Table:
    table = _table(f"split: {plan.protocol}", ("split",), ("real", "fake", "families", "shards"))
    for split, videos in plan.by_split().items():
        table.add_row(
            split,
            str(sum(video.label == 0 for video in videos)),
            str(sum(video.label == 1 for video in videos)),
            str(len({video.family_id for video in videos})),
            str(len({video.shard for video in videos})),
        )
    return table


def show_facts(console: Console, plan: Plan) -> None:
    """Counts that are worth knowing, such as what was read by a guess."""
    for sentence, count in plan.discovery.facts:
        show_line(f"{sentence}: {count}", console)


def show_findings(console: Console, plan: Plan, most: int = 8) -> None:
    """What was found and is not read, and warnings about what does not fit: their number and the first ``most``."""
    from semblance.ingest.sources.base import NOT_LISTED

    for line in _unread(plan):
        show_line(shortened(plain(line), LINE), console)
    findings = [finding for finding in plan.discovery.findings if finding.kind not in ("metadata", "other", NOT_LISTED)]
    faults = [video for video in plan.videos if video.fault]
    if not findings and not faults:
        return
    count = len(findings) + len(faults)
    warnings = "1 warning" if count == 1 else f"{count} warnings"
    console.print(f"{warnings} (all in manifests/findings.parquet and plan.parquet):")
    lines = [f"  {finding.kind}: {finding.path}: {finding.reason}" for finding in findings]
    lines += [f"  {video.fault}: {video.path}: {video.fault_note}" for video in faults]
    for line in lines[:most]:
        show_line(shortened(plain(line), LINE), console)
    if len(lines) > most:
        console.print(f"  ... and {len(lines) - most} more")


def show_lopsided(console: Console, plan: Plan) -> None:
    """Warn of a val or test with which nothing can be validated or tested."""
    from semblance.ingest.advice import lopsided

    if sentence := lopsided(plan):
        show_line(f"warning: {sentence}", console)


def _unread(plan: Plan) -> list[str]:
    """A line for files that look like videos, and one for links and folders, where some were not read."""
    from semblance.ingest.plan import not_listed
    from semblance.ingest.sources.base import NOT_LISTED, unread_videos

    lines = []
    if videos := unread_videos(plan.findings):
        what = (
            "file has the suffix of a video and is" if len(videos) == 1 else "files have the suffix of a video and are"
        )
        reasons = Counter(finding.reason for finding in videos).most_common(3)
        why = "; ".join(f"{reason}: {count}" for reason, count in reasons)
        lines.append(f"{len(videos)} {what} not read ({why}); the first is {videos[0].path}")
    if links := [finding for finding in plan.findings if finding.kind == NOT_LISTED]:
        lines.append(f"{not_listed(len(links))}; the first is {links[0].path}: {links[0].reason}")
    return lines


def summary_table(out: str) -> Table:
    """Videos, faces and crops of a build, by split, label and method."""
    from semblance.ingest.run.describe import by_split_and_method
    from semblance.manifests.build_files import description

    counts = ("videos", "failed", "faces", "kept", "rejected")
    title = _cell(f"{out}{_synthetic_mark(description(out).get('synthetic'))}", 200)
    table = _table(title, ("split", "label", "method"), counts)
    table.add_column("why rejected")
    labels = {0: "real", 1: "fake", None: "unknown"}
    for row in by_split_and_method(out).iter_rows(named=True):
        numbers = (str(row[name]) for name in counts)
        table.add_row(row["split"], labels[row["label"]], _cell(row["method"] or "-"), *numbers, row["why"] or "")
    return table


def show_shares(console: Console, out: str) -> Shares:
    """Videos without a kept crop and crops without a face label, by label and method; warnings where they are many."""
    from semblance.quality.audit.shares_table import table
    from semblance.quality.checks import shares

    found = shares.measure(out)
    console.print(table(found))
    for sentence in (*found.warnings(out), *shares.harsh_gates(out)):
        show_line(f"warning: {sentence}", console)
    return found


def show_empty_shards(console: Console, out: str) -> None:
    """Name the planned shards without samples."""
    from semblance.manifests import scan
    from semblance.shards.layout import key_of

    planned = set(scan(out, "plan").select("shard").unique().collect()["shard"])
    written = set(scan(out).select("shard").unique().collect()["shard"])
    if empty := sorted(planned - written):
        names = ", ".join(key_of(shard) for shard in empty)
        console.print(f"no face was kept in {names}: no tar was written", markup=False, highlight=False)


def show_masks(console: Console, out: str, counts: dict[str, int] | None, most: int = 3) -> None:
    """Report the number of stored masks, and the first videos with missing ones; None: the recipe stores no masks."""
    from semblance.shards.card import mask_notes

    if counts is None:
        return
    missing = counts["videos_lacking"]
    show_line(f"masks: {counts['stored']} stored with {counts['fake_crops']} crops of fakes", console)
    if missing:
        show_line(f"masks are missing in {missing} videos (column mask_note of the videos table):", console)
    for path, note in mask_notes(out).head(most).iter_rows():
        show_line(shortened(f"  {path}: {note}", LINE), console)
    if missing > most:
        show_line(f"  ... and {missing - most} more", console)


def show_failures(console: Console, out: str, most: int = 10) -> None:
    """The number of failed videos, and the first ``most`` errors; what many videos have in common is one of them."""
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
    console.print("1 video failed:" if failed.height == 1 else f"{failed.height} videos failed:")
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for status, path, error in failed.iter_rows():
        limit = _OVER.search(error or "")
        groups.setdefault((status, limit[0] if limit else error), []).append((path, error))
    for (status, shared), videos in list(groups.items())[:most]:
        if len(videos) == 1:
            show_line(shortened(f"  {status}: {videos[0][0]}: {videos[0][1]}", LINE), console)
            continue
        show_line(shortened(f"  {status}: {len(videos)} videos: {_of_many(shared)}", LINE), console)
        for path, _ in videos[:_PATHS]:
            show_line(shortened(f"    {path}", LINE), console)
        if len(videos) > _PATHS:
            show_line(f"    ... and {len(videos) - _PATHS} more", console)
    if len(groups) > most:
        console.print(f"  ... and {sum(map(len, list(groups.values())[most:]))} more")


def _of_many(error: str) -> str:
    """The common part of the errors of videos that exceeded the same limit; any other error as it is."""
    if not (limit := _OVER.fullmatch(error)):
        return error
    return f"beyond {limit[1]}; if the files are intact, {limit[2]}"


def show_changed_limits(changes: list[str], console: Console, *, failed: bool, retried: bool) -> None:
    """Say that limits are not those of the last run, and what that means for the videos that ``failed`` in it."""
    if not failed:
        what = "no video has failed"
    elif retried:
        what = "failed videos are processed again"
    else:
        what = "failed videos stay failed; --retry failed tries them again"
    show_line(f"limits changed since the last run ({', '.join(changes)}): {what}", console)


def show_next_steps(console: Console, out: str) -> None:
    """Suggest the commands that inspect a finished build."""
    name = plain(out)
    lines = [
        "Next steps:",
        f'  manifests query {name} "SELECT split, label, count(*) AS crops, avg(blur) AS blur FROM samples GROUP BY '
        'split, label ORDER BY split, label"',
        f"  shards verify {name} --deep",
        f"  quality sheet {name} --to sheet.png",
        f"  {name}/CARD.md has the source, terms of use and known leaks",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _table(title: str | Text, texts: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    """An empty table with left-aligned columns ``texts``, then right-aligned columns ``numbers``."""
    from rich.table import Table

    table = Table(title=title)
    for name in texts:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _synthetic_mark(synthetic: object) -> str:
    return " (SYNTHETIC: nobody in it exists)" if synthetic else ""


def _cell(text: str, most: int = 60) -> Text:
    """A foreign name for a table: no control characters, no markup, at most ``most`` characters."""
    from rich.text import Text

    return Text(shortened(plain(text), most))


def shortened(text: str, most: int) -> str:
    """``text``, cut to ``most`` characters."""
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def console() -> Console:
    """The console of stdout; wide where stdout is not a terminal."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else shutil.get_terminal_size((160, 24)).columns)


def spinner(console: Console, text: str) -> contextlib.AbstractContextManager[object]:
    """A spinner with this text on a terminal, nothing elsewhere; use as a context manager."""
    return console.status(text) if console.is_terminal else contextlib.nullcontext()


def show_line(text: str, console: Console | None = None) -> None:
    """Print a line without markup or control characters, to stderr if no console is given."""
    if console is None:
        print(plain(text), file=sys.stderr)
    else:
        console.print(plain(text), markup=False, highlight=False, soft_wrap=True)

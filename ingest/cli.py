"""``ingest``: from collections of videos to committed shards."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import SemblanceError

_LINE = 600  # characters of a printed warning: names may have thousands

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from semblance.ingest.plan import Plan
    from semblance.ingest.run.build import Built

app = typer.Typer(
    help="From collections of real and manipulated face videos to training-ready shards.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Dataset = Annotated[
    str,
    typer.Option(
        "--dataset",
        help="Which dataset's layout: dfdc, dfdc-preview, ffpp, celebdf, wilddeepfake, or folder for your own.",
    ),
]
Root = Annotated[
    str | None, typer.Option("--root", help="Folder or s3:// prefix of the videos. Default: data/<dataset>.")
]
Out = Annotated[str | None, typer.Option("--out", help="Folder or s3:// prefix of the build. Default: out/<dataset>.")]
RecipeName = Annotated[
    str, typer.Option("--recipe", help="plan, deepfakebench, selim, or a YAML or JSON file. Decides what comes out.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Lay key=value over the recipe, e.g. --set sampling.n=16.")
]
Limit = Annotated[int | None, typer.Option("--limit", help="Plan only the first N videos: short for --set limit=N.")]


@app.command()
@friendly
def demo(
    dataset: Annotated[str, typer.Option("--dataset", help="Which layout to write: dfdc.")] = "dfdc",
    to: Annotated[str | None, typer.Option("--to", help="Folder to write. Default: data/demo/<dataset>.")] = None,
) -> None:
    """Write a small synthetic collection in a dataset's true layout, offline."""
    from semblance.ingest.demo import dataset as maker
    from semblance.manifests.errors import UsageError

    if dataset != "dfdc":
        raise UsageError(f"There is no demo of {plain(dataset)!r}; the demo knows dfdc.")
    folder = to or f"data/demo/{dataset}"
    console = _console()
    with _status(console, "writing the synthetic collection"):
        made = maker.write(folder)
    verb = "holds" if not made.written else "now holds"
    console.print(
        f"{plain(folder)} {verb} a SYNTHETIC collection: {made.originals} originals, {made.fakes} fakes. "
        f"Build it with: ingest build --dataset {dataset} --root {plain(folder)} --recipe {plain(folder)}/recipe.yaml",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


@app.command()
@friendly
def plan(
    dataset: Dataset,
    root: Root = None,
    recipe: RecipeName = "plan",
    settings: Settings = None,
    limit: Limit = None,
    to: Annotated[str | None, typer.Option("--to", help="Write the plan's table to this Parquet file.")] = None,
) -> None:
    """Print what is there, how it would be split and sharded, and what does not fit.

    No video is opened, unless the recipe says temporal.probe.
    """
    made = _plan(dataset, root, recipe, settings, limit)
    console = _console()
    for table in _plan_tables(made):
        console.print(table)
    for sentence, count in made.discovery.facts:
        _say(f"{sentence}: {count}", console)
    for sentence in (*made.split_facts, made.source.identity_note):
        _say(sentence, console)
    _print_findings(console, made)
    if to is not None:
        from semblance.ingest.plan import plan_rows
        from semblance.manifests import tables as store

        store.write_rows(to, plan_rows(made.videos), "plan")
        _say(f"{to} holds the plan, a row a video; `quality audit --plan {to}` looks for leaks in it.", console)
    shards = made.by_shard()
    console.print(
        f"{len(made.videos)} videos, {len(shards)} shards, fingerprint {made.fingerprint[:16]}", highlight=False
    )


@app.command()
@friendly
def build(
    dataset: Dataset,
    root: Root = None,
    out: Out = None,
    recipe: RecipeName = "plan",
    settings: Settings = None,
    limit: Limit = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Local worker processes. Default: one a core.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Use a running Dask cluster, e.g. tcp://host:8786.")
    ] = None,
    max_failures: Annotated[
        float, typer.Option("--max-failures", min=0, max=1, help="Share of videos that may fail before exit code 3.")
    ] = 0.01,
    max_failures_in_a_row: Annotated[
        int, typer.Option("--max-failures-in-a-row", min=0, help="Stop after so many failures in a row; 0: never.")
    ] = 100,
    retry: Annotated[
        str | None,
        typer.Option("--retry", help="failed: those videos once more; damaged: shards whose bytes have changed."),
    ] = None,
    log: Annotated[str | None, typer.Option("--log", help="Add to this file, one JSON object an event.")] = None,
) -> None:
    """Build shards, manifests and receipts; run again after an interruption, it goes on where it was."""
    from semblance.ingest.run import describe
    from semblance.manifests.errors import UsageError

    if retry is not None and retry not in ("failed", "damaged"):
        raise UsageError(f"--retry takes failed or damaged, not {plain(retry)!r}.")
    out = out or f"out/{dataset}"
    console = _console()
    made = _plan(dataset, root, recipe, settings, limit)
    _print_findings(console, made)
    built = _build(made, out, console, log, workers, scheduler, cast(Any, retry), max_failures_in_a_row or None)
    if not built.worked:
        _say(f"{out} is finished already; nothing to do.", console)
    console.print(_summary_table(out))
    _print_empty(console, out)
    _print_masks(console, out, built.description["counts"].get("masks"))
    failed, videos = describe.failures(built.description), built.description["counts"]["videos"]
    _print_next(console, out)
    if failed:
        _print_failures(console, out)
    if failed > max_failures * videos:
        _say(
            f"{failed} of {videos} videos failed, over the budget of {max_failures:.1%}: their rows in "
            f"{plain(out)} say why; everything else is complete."
        )
        raise SystemExit(3)


def _build(
    made: Plan,
    out: str,
    console: Console,
    log: str | None,
    workers: int | None,
    scheduler: str | None,
    retry: Literal["failed", "damaged"] | None,
    in_a_row: int | None,
) -> Built:
    """Build with a bar or lines on the screen and, where one is asked for, a log; a defect gets one sentence."""
    import traceback

    from semblance.ingest.run import build as builder
    from semblance.ingest.run import log as journal
    from semblance.ingest.run.progress import Watcher
    from semblance.shards import build_folder

    with contextlib.ExitStack() as stack:
        if log is not None:
            build_folder.refuse_inside(out, log, flag="--log")
        book = stack.enter_context(journal.Journal(log))
        book.say("build", out=out, root=made.root, dataset=made.source.name, fingerprint=made.fingerprint)
        observer = journal.ObserverGroup([stack.enter_context(Watcher(console)), book])
        try:
            built = builder.build(
                made, out, observer, workers=workers, scheduler=scheduler, again=retry, in_a_row=in_a_row
            )
        except KeyboardInterrupt:
            book.say("interrupted", level=logging.WARNING)
            _say(f"Interrupted. What is sealed in {plain(out)} is kept; run the same command again to go on.")
            raise SystemExit(130) from None
        except SemblanceError as error:
            book.say("stopped", level=logging.ERROR, error=str(error))
            raise
        except Exception as error:
            book.say("defect", level=logging.CRITICAL, traceback=traceback.format_exc())
            where = log or journal.keep_traceback(traceback.format_exc())
            raise SemblanceError(
                f"A defect of Semblance stopped the build; its traceback is in {where}; please report it."
            ) from error
        book.say("finished", shards_written=built.worked, counts=built.description["counts"]["statuses"])
    return built


@app.command()
@friendly
def status(out: Annotated[str, typer.Argument(help="The --out of a build.")]) -> None:
    """Tell what is done, failed and left, from the receipts; also while a build runs."""
    from semblance.ingest.run.status import read

    console = _console()
    for line in read(out).lines():
        _say(_cut(line, _LINE), console)


@app.command()
@friendly
def doctor() -> None:
    """Look at this machine: versions, decoders, OpenCV packages, cores, memory, what is missing."""
    from rich.table import Table

    from semblance.ingest.doctor import examine

    table = Table(show_header=False)
    found = examine()
    for line in found:
        table.add_row("ok" if line.good else "MEND", line.what, line.value, "" if line.good else line.remedy)
    _console().print(table)
    if not all(line.good for line in found):
        raise SystemExit(1)


def _plan(dataset: str, root: str | None, recipe: str, settings: list[str] | None, limit: int | None) -> Plan:
    from semblance.ingest import plan as planning
    from semblance.ingest import recipe as recipes

    return planning.make(dataset, root or f"data/{dataset}", recipes.load(recipe, settings or (), limit))


def _plan_tables(made: Plan) -> list[Table]:
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


def _print_findings(console: Console, made: Plan, most: int = 8) -> None:
    """What does not fit, counted and named."""
    odd = [finding for finding in made.discovery.findings if finding.kind not in ("metadata", "other")]
    faults = [video for video in made.videos if video.fault]
    if not odd and not faults:
        return
    console.print(f"{len(odd) + len(faults)} warnings (all in manifests/findings.parquet and plan.parquet):")
    lines = [f"  {finding.kind}: {finding.path}: {finding.reason}" for finding in odd]
    lines += [f"  {video.fault}: {video.path}: {video.fault_note}" for video in faults]
    for line in lines[:most]:
        console.print(_cut(plain(line), _LINE), markup=False, highlight=False, soft_wrap=True)
    if len(lines) > most:
        console.print(f"  ... and {len(lines) - most} more")


def _summary_table(out: str) -> Table:
    from rich.table import Table

    from semblance.ingest.run.describe import by_split_and_method
    from semblance.manifests import build_files

    table = Table(title=_cell(f"{out}{_marked(build_files.description(out).get('synthetic'))}", 200))
    for column in ("split", "label", "method", "videos", "failed", "faces", "kept", "rejected", "why rejected"):
        table.add_column(
            column, justify="right" if column in ("videos", "failed", "faces", "kept", "rejected") else "left"
        )
    labels = {0: "real", 1: "fake", None: "unknown"}
    for row in by_split_and_method(out).iter_rows(named=True):
        numbers = (str(row[name]) for name in ("videos", "failed", "faces", "kept", "rejected"))
        table.add_row(row["split"], labels[row["label"]], _cell(row["method"] or "-"), *numbers, row["why"] or "")
    return table


def _print_empty(console: Console, out: str) -> None:
    """Say aloud which planned shards have no sample."""
    from semblance.manifests import scan
    from semblance.shards.layout import key_of

    planned = set(scan(out, "plan").select("shard").unique().collect()["shard"])
    written = set(scan(out).select("shard").unique().collect()["shard"])
    if empty := sorted(planned - written):
        names = ", ".join(key_of(shard) for shard in empty)
        console.print(f"no face was kept in {names}: no tar is written for it", markup=False, highlight=False)


def _print_masks(console: Console, out: str, counted: dict[str, int] | None, most: int = 3) -> None:
    """Say aloud how many masks were stored and where some lack; nothing where the recipe wants none."""
    from semblance.shards.card import mask_notes

    if counted is None:
        return
    _say(f"masks: {counted['stored']} stored beside {counted['fake_crops']} crops of fakes", console)
    if counted["videos_lacking"]:
        _say(f"{counted['videos_lacking']} videos lack some or all (column mask_note of the videos table):", console)
    for path, note in mask_notes(out).head(most).iter_rows():
        _say(_cut(f"  {path}: {note}", _LINE), console)
    if counted["videos_lacking"] > most:
        _say(f"  ... and {counted['videos_lacking'] - most} more", console)


def _print_failures(console: Console, out: str, most: int = 10) -> None:
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
            _cut(plain(f"  {status_}: {path}: {error}"), _LINE), markup=False, highlight=False, soft_wrap=True
        )
    if failed.height > most:
        console.print(f"  ... and {failed.height - most} more")


def _print_next(console: Console, out: str) -> None:
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

    return Text(_cut(plain(text), most))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else shutil.get_terminal_size((160, 24)).columns)


def _status(console: Console, text: str) -> contextlib.AbstractContextManager[object]:
    return console.status(text) if console.is_terminal else contextlib.nullcontext()


def _say(text: str, console: Console | None = None) -> None:
    if console is None:
        print(plain(text), file=sys.stderr)
    else:
        console.print(plain(text), markup=False, highlight=False, soft_wrap=True)

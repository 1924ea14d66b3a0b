"""``manifests``: query the tables of a build."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import SemblanceError, UsageError

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer(
    help="Query the tables of a build.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


class Format(StrEnum):
    """Output formats of an answer."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


@app.command()
@friendly
def query(
    out: Annotated[str, typer.Argument(help="Build folder or s3:// prefix.")],
    sql: Annotated[str, typer.Argument(help="SQL over samples, rejects, videos, flags, plan and findings.")],
    form: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.table,
    to: Annotated[str | None, typer.Option("--to", help="Write to this file instead of the terminal.")] = None,
) -> None:
    """Run one SQL query (Polars' dialect) and print or save the answer."""
    import polars as pl

    from semblance.manifests.schema import TABLES
    from semblance.manifests.tables import scan

    if form is Format.parquet and to is None:
        raise UsageError("Parquet cannot be printed; write it to a file with --to.")
    context = pl.SQLContext({table: scan(out, table) for table in TABLES})  # type: ignore[arg-type]
    try:
        answer = context.execute(sql).collect()
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"The query cannot be run: {reason}. `manifests schema` lists tables and columns.") from error
    _write(answer, form, to)


@app.command()
@friendly
def schema(
    table: Annotated[str | None, typer.Argument(help="One table. Default: all.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, as in docs/schema.md.")] = False,
) -> None:
    """List the tables with their columns: type, unit, meaning, and what null means."""
    from rich.console import Console

    from semblance.manifests import reference
    from semblance.manifests.schema import TABLES, VERSION

    if table is not None and table not in TABLES:
        raise UsageError(f"Unknown table {plain(table)!r}; choose one of {', '.join(TABLES)}.")
    names = [table] if table else list(TABLES)
    if markdown:
        print(reference.markdown(names), end="")
        return
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(f"schema version {VERSION}")
    for name in names:
        console.print()
        console.print(reference.terminal(name))


@app.command("leave-one-out")
@friendly
def leave_one_out(
    out: Annotated[str, typer.Argument(help="Build folder, or a table that `ingest plan --to` wrote.")],
    to: Annotated[str | None, typer.Option("--to", help="Parquet or CSV file for the rows.")] = None,
) -> None:
    """Hold out every method in turn: one split per method, one row per method and video.

    Columns: held_out, video_id, split_method (train, val, test or null), split_note. Join it with samples on
    video_id, or make one the active split with `shards repack OUT --split method --held-out METHOD --to OUT2`.
    """
    import polars as pl
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from semblance.manifests import splits, tables
    from semblance.manifests.records import SPLITS, TRAIN_VAL_TEST

    plan = tables.read_plan(out)
    methods = splits.methods_of(plan)
    if len(methods) < 2:
        raise UsageError(f"{plain(out)} has {_counted(len(methods))}; leaving one out needs at least two.")
    held_out = [splits.hold_out(plan, [name]).with_columns(held_out=pl.lit(name)) for name in methods]
    rows = pl.concat(held_out).select("held_out", "video_id", "split_method", "split_note")
    table = Table(title="videos (real + fake) with one method held out for test")
    for column in ("held out", *SPLITS):
        table.add_column(column, justify="left" if column == "held out" else "right")
    assigned = rows.join(plan.select("video_id", "label", "fault"), on="video_id").filter(pl.col("fault").is_null())
    for name in methods:
        cells = []
        for split in (*TRAIN_VAL_TEST, None):
            labels = assigned.filter((pl.col("held_out") == name) & pl.col("split_method").eq_missing(split))["label"]
            cells.append(f"{(labels == 0).sum()} + {(labels == 1).sum()}")
        table.add_row(Text(plain(name)), *cells)
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(table)
    if to is not None:
        _write(rows, Format.csv if to.endswith(".csv") else Format.parquet, to)


@app.command()
@friendly
def temporal(
    outs: Annotated[list[str], typer.Argument(help="Build folders, or tables that `ingest plan --to` wrote.")],
    fractions: Annotated[
        tuple[float, float, float], typer.Option("--fractions", help="Shares of train, val and test.")
    ] = (0.8, 0.1, 0.1),
    to: Annotated[str | None, typer.Option("--to", help="Parquet or CSV file for the rows.")] = None,
) -> None:
    """One split by time over several datasets: the oldest in train, the newest in test, no family divided.

    Dates are those of the plans. A plan without dates uses the days on which its dataset and methods were released,
    each printed with its source. Columns: dataset, video_id, method, label, date, split_temporal, split_note.
    """
    import polars as pl
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from semblance.manifests import splits, tables

    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise UsageError("--fractions must be three shares (train, val, test) that add up to 1.")
    rows, facts = splits.over_time([tables.read_plan(out) for out in outs], fractions)
    table = Table(title="videos by date")
    for column in ("dataset", "method", "split_temporal", "videos", "from", "to"):
        table.add_column(column, justify="right" if column == "videos" else "left")
    keys = ["dataset", "method", "split_temporal"]
    counts = rows.group_by(keys).agg(pl.len(), pl.col("date").min(), pl.col("date").max().alias("last")).sort(keys)
    for row in counts.iter_rows():
        table.add_row(*(Text(plain(str("-" if cell is None else cell))) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(table)
    for fact in facts:
        console.print(plain(fact), markup=False, soft_wrap=True)
    if to is not None:
        _write(rows, Format.csv if to.endswith(".csv") else Format.parquet, to)


def _write(answer: pl.DataFrame, form: Format, to: str | None) -> None:
    try:
        match form:
            case Format.table:
                import polars as pl

                with pl.Config(tbl_rows=100, tbl_cols=-1, fmt_str_lengths=60, tbl_width_chars=200):
                    text = f"{answer}\n"
                _text("".join(row if row.endswith("\n") else f"{row}\n" for row in map(plain, text.splitlines())), to)
            case Format.csv:
                _text(answer.write_csv(), to)
            case Format.json:
                _text(f"{answer.write_json()}\n", to)
            case Format.parquet:
                answer.write_parquet(to or "")
    except (OSError, polars_error()) as error:
        raise SemblanceError(f"The answer cannot be written as {form} to {to or 'the terminal'} ({error}).") from error


def polars_error() -> type[Exception]:
    """Polars' base error, e.g. for a list column in a CSV; imported only when it is needed."""
    import polars as pl

    return pl.exceptions.PolarsError


def _text(text: str, to: str | None) -> None:
    if to is None:
        sys.stdout.write(text)
    else:
        with open(to, "w", encoding="utf-8") as file:
            file.write(text)


def _counted(methods: int) -> str:
    return "1 named method" if methods == 1 else f"{methods} named methods"

"""``manifests``: ask the tables of a build."""

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
    help="Ask the tables of a build.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


class Format(StrEnum):
    """How an answer is written."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


@app.command()
@friendly
def query(
    out: Annotated[str, typer.Argument(help="The --out of a build.")],
    sql: Annotated[str, typer.Argument(help="SQL over samples, rejects, videos, flags, plan and findings.")],
    form: Annotated[Format, typer.Option("--format", help="How the answer is written.")] = Format.table,
    to: Annotated[str | None, typer.Option("--to", help="File to write instead of the screen.")] = None,
) -> None:
    """Run one SQL query (Polars' dialect) and print or save the answer."""
    import polars as pl

    from semblance.manifests.schema import TABLES
    from semblance.manifests.tables import scan

    if form is Format.parquet and to is None:
        raise UsageError("Parquet is no text for a screen; name a file with --to.")
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
    table: Annotated[str | None, typer.Argument(help="One table; without it, all of them.")] = None,
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
    out: Annotated[str, typer.Argument(help="The --out of a build, or a table that `ingest plan --to` wrote.")],
    to: Annotated[str | None, typer.Option("--to", help="Parquet or CSV file for the rows.")] = None,
) -> None:
    """Hold out every method in turn: one split a method, a row a method and video.

    Columns: held_out, video_id, split_method (train, val, test or null), split_note. Join it with samples on
    video_id, or lay one out with `shards repack OUT --split method --held-out METHOD --to OUT2`.
    """
    import polars as pl
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from semblance.manifests import splits, tables

    plan = tables.read_plan(out)
    methods = splits.methods_of(plan)
    if len(methods) < 2:
        raise UsageError(f"The fakes of {plain(out)} have {len(methods)} named methods; to leave one out takes two.")
    each = [splits.hold_out(plan, [name]).with_columns(held_out=pl.lit(name)) for name in methods]
    rows = pl.concat(each).select("held_out", "video_id", "split_method", "split_note")
    table = Table(title="videos (real + fake) with one method held out for test")
    for column in ("held out", "train", "val", "test", "unassigned"):
        table.add_column(column, justify="left" if column == "held out" else "right")
    sides = rows.join(plan.select("video_id", "label", "fault"), on="video_id").filter(pl.col("fault").is_null())
    for name in methods:
        cells = []
        for side in ("train", "val", "test", None):
            labels = sides.filter((pl.col("held_out") == name) & pl.col("split_method").eq_missing(side))["label"]
            cells.append(f"{(labels == 0).sum()} + {(labels == 1).sum()}")
        table.add_row(Text(plain(name)), *cells)
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(table)
    if to is not None:
        _write(rows, Format.csv if to.endswith(".csv") else Format.parquet, to)


@app.command()
@friendly
def temporal(
    outs: Annotated[list[str], typer.Argument(help="Builds, or tables that `ingest plan --to` wrote.")],
    fractions: Annotated[
        tuple[float, float, float], typer.Option("--fractions", help="Shares of train, val and test.")
    ] = (0.8, 0.1, 0.1),
    to: Annotated[str | None, typer.Option("--to", help="Parquet or CSV file for the rows.")] = None,
) -> None:
    """One split by time over several sets: the oldest in train, the newest in test, no family divided.

    Dates are those of the plans or, for a plan that has none, the days on which its dataset and methods were given
    out, each printed with its source. Columns: dataset, video_id, method, label, date, split_temporal, split_note.
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
    counted = rows.group_by(keys).agg(pl.len(), pl.col("date").min(), pl.col("date").max().alias("last")).sort(keys)
    for line in counted.iter_rows():
        table.add_row(*(Text(plain(str("-" if cell is None else cell))) for cell in line))
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
                _text(
                    "".join(line if line.endswith("\n") else f"{line}\n" for line in map(plain, text.splitlines())), to
                )
            case Format.csv:
                _text(answer.write_csv(), to)
            case Format.json:
                _text(f"{answer.write_json()}\n", to)
            case Format.parquet:
                answer.write_parquet(to or "")
    except (OSError, pl_errors()) as error:
        raise SemblanceError(f"The answer cannot be written as {form} to {to or 'the screen'} ({error}).") from error


def pl_errors() -> type[Exception]:
    """Polars' base error, e.g. for a list column in a CSV."""
    import polars as pl

    return pl.exceptions.PolarsError


def _text(text: str, to: str | None) -> None:
    if to is None:
        sys.stdout.write(text)
    else:
        with open(to, "w", encoding="utf-8") as file:
            file.write(text)

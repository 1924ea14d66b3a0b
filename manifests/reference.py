"""The columns of the tables as a reference: for a terminal, and as the Markdown of docs/schema.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from rich.table import Table
from rich.text import Text

from semblance.manifests import schema
from semblance.manifests.columns import Column

COMMAND: Final = "manifests schema --markdown"
_HEAD: Final = ("column", "type", "unit", "meaning", "null means")
_TITLES: Final = {
    "samples": "one row per stored crop",
    "rejects": "one row per rejected face or frame",
    "videos": "one row per planned video, with its result",
    "plan": "one row per planned video, before it is decoded",
    "findings": "one row per file that was found but not planned",
    "flags": "one row per flag on a sample or a video",
}
_INTRODUCTION: Final = """# The tables of a build

Made by `{command}`; do not edit it by hand. Schema version {version}.

A build keeps its tables as Parquet: `manifests/{{samples,rejects,videos}}/*.parquet`, `plan.parquet`,
`manifests/findings.parquet` and `manifests/flags/*.parquet`. `semblance.manifests.scan(OUT, "samples")` returns one as
a Polars LazyFrame, `manifests query OUT "SELECT ..."` runs SQL over all of them. Unknown values are null, never
invented. The column `flags`, which `scan` adds to samples, lists the flags on the sample or its video.

## Versions

The version has a major and a minor number, written `5` for 5.0. A minor version only adds columns. A build of an older
minor version can still be read, verified, audited, trained from, repacked and exported: a column that it does not have
is null. A build of another major version is refused. So is repacking or exporting a build of a newer minor version,
since its new columns would be dropped. Version 4 counts as a minor version before 5.0, because 5 only added columns.
Only the version that started a build can resume it.
"""


def rows(table: str) -> Iterator[tuple[str, str, str, str, str]]:
    """Name, type, unit, meaning and what null means of each column of a table."""
    for column in schema.COLUMNS[table]:
        yield column.name, _type(column), column.unit, column.meaning, column.null or "never null"


def terminal(table: str) -> Table:
    """A table's columns for a terminal."""
    drawn = Table(title=f"{table}: {_TITLES[table]}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for place, name in enumerate(_HEAD):
        drawn.add_column(name, overflow="fold", no_wrap=place < 3, ratio=(None, None, None, 3, 2)[place])
    for row in rows(table):
        drawn.add_row(*map(Text, row))
    return drawn


def markdown(names: Iterable[str] = tuple(schema.TABLES)) -> str:
    """The reference of these tables."""
    parts = [_INTRODUCTION.format(command=COMMAND, version=schema.VERSION)]
    for name in names:
        lines = [f"## {name}", "", f"{_TITLES[name].capitalize()}.", "", _line(_HEAD), _line(["---"] * len(_HEAD))]
        for column, *cells in rows(name):
            lines.append(_line([f"`{column}`", *(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells)]))
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _type(column: Column) -> str:
    """The Arrow type as one word."""
    return str(column.type).replace("list<element: ", "list<").replace("list<item: ", "list<")

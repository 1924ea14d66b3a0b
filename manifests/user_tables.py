"""Tables written by users: CSV, TSV, JSON lines or Parquet, local or remote, read as text."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import polars as pl

from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError
from semblance.manifests.storage.retry import reason

SUFFIXES: Final = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq")
FORMATS: Final = "a UTF-8 CSV, TSV or JSON lines file, or a Parquet file"
_PARQUET: Final = (".parquet", ".pq")
_LINES: Final = (".jsonl", ".ndjson")
UNREADABLE: Final = (
    *(OSError, ValueError, ImportError, csv.Error),
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),  # a damaged Parquet file makes Polars panic
)
_WHOLE: Final = r"^\s*([+-]?[0-9]+)(\.0+)?\s*$"  # 12.0: an integer in a column with empty cells

Line = Sequence[str | None]


def read_user_table(
    source: str,
    subject: str = "The table",
    columns: Mapping[str, type[str] | type[int]] | None = None,
    *,
    error: type[SemblanceError] = SemblanceError,
) -> pl.DataFrame:
    """The table at ``source``, a local path or a URL, as a frame of text columns: 007 and 1e5 stay as written.

    The suffix determines the format: ``.parquet`` and ``.pq``, ``.tsv``, ``.jsonl`` and ``.ndjson``, and CSV for any
    other. Empty cells are null; columns of lists or records are omitted. ``columns`` are required and must not have
    empty cells; those of type ``int`` must be integers and become Int64. Raises ``error`` with a sentence that begins
    with ``subject`` and names file, row (the first below the header is 1) and column.
    """
    try:
        table = _frame(storage.read_bytes(source), source)
    except UNREADABLE as fault:
        raise error(f"{subject} {source} cannot be read ({reason(fault)}); give {FORMATS}.") from fault
    columns = columns or {}
    if missing := [name for name in columns if name not in table.columns]:
        raise error(
            f"{subject} {source} has no column {' and no column '.join(missing)}; it has {', '.join(table.columns)}."
        )
    for name, kind in columns.items():
        place = f"{subject} {source} has {{}} in row {{}}, column {name}"
        if table[name].null_count():
            raise error(f"{place.format('an empty cell', _first(table[name].is_null()))}; fill it, or remove the row.")
        if kind is int:
            whole = table[name].str.extract(_WHOLE).cast(pl.Int64, strict=False)
            if whole.null_count():
                row = _first(whole.is_null())
                raise error(f"{place.format(repr(table[name][row - 1]), row)}, where an integer is required.")
            table = table.with_columns(whole.alias(name))
    return table


def read_cells(data: bytes, name: str) -> tuple[list[str], Sequence[Line]]:
    """Header and rows of a table's bytes; ``name`` determines the format, as above. Rows of a CSV are unchanged: they
    may be shorter or longer than the header, and an empty cell is an empty string.

    Raises ValueError, csv.Error or a Polars error if the bytes are not such a table, or contain lists or records.
    """
    if name.lower().endswith(_PARQUET):
        table = pl.read_parquet(io.BytesIO(data))
        if nested := [column for column, kind in table.schema.items() if kind.is_nested()]:
            raise ValueError(f"column {nested[0]!r} contains lists or records")
        return table.columns, table.select(pl.all().cast(pl.String)).rows()
    text = data.decode("utf-8-sig")
    if name.lower().endswith(_LINES):
        return _json_lines(text)
    separator = "\t" if name.lower().endswith(".tsv") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines = [line for line in reader if line]
    return (lines[0], lines[1:]) if lines else ([], [])


def _frame(data: bytes, name: str) -> pl.DataFrame:
    if name.lower().endswith(_PARQUET):
        table = pl.read_parquet(io.BytesIO(data))
        plain = [column for column, kind in table.schema.items() if not kind.is_nested()]
        return table.select(pl.col(plain).cast(pl.String)) if plain else pl.DataFrame()
    names, lines = read_cells(data, name)
    names = [column.strip() for column in names]
    if not names:
        raise ValueError("it is empty")
    if repeated := [column for column, count in Counter(names).items() if count > 1]:
        raise ValueError(f"it has the column {repeated[0]!r} twice")
    for number, line in enumerate(lines, start=1):
        if len(line) != len(names):
            raise ValueError(f"row {number} has {len(line)} values for {len(names)} columns")
    cells = ([cell or None for cell in column] for column in zip(*lines, strict=True)) if lines else ([] for _ in names)
    return pl.DataFrame([pl.Series(column, part, pl.String) for column, part in zip(names, cells, strict=True)])


def _json_lines(text: str) -> tuple[list[str], list[Line]]:
    """Numbers as they are written; a key that is missing in a row is null."""
    rows: list[dict[str, object]] = []
    for number, line in enumerate(filter(str.strip, text.split("\n")), start=1):
        try:
            row = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"row {number}: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"row {number} is not a JSON object")
        if nested := [key for key, value in row.items() if isinstance(value, (list, dict))]:
            raise ValueError(f"row {number}: column {nested[0]!r} contains lists or records")
        rows.append(row)
    names = list(dict.fromkeys(key for row in rows for key in row))
    return names, [[_text(row.get(name)) for name in names] for row in rows]


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value).lower()  # only true and false remain


def _first(flags: Iterable[bool]) -> int:
    """The number of the first row that is flagged, from 1."""
    return next(number for number, flag in enumerate(flags, start=1) if flag)

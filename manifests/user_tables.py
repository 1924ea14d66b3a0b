"""Tables written by users: CSV, TSV, JSON lines or Parquet, local or remote, read as text."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
SEPARATORS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
MISSING: Final = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>", "nat"})  # empty, as programs write it
_EXCEL: Final = re.compile(r"sep=(.)\r?\n")  # the first line of some of Excel's tables
_HEADER: Final = re.compile(r"[^\r\n]+")
_WHOLE: Final = r"^\s*([+-]?[0-9]+)(\.0+)?\s*$"  # 12.0: an integer in a column with empty cells

Line = Sequence[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table's header and rows as they are written; ``places`` names each row, as in ``line 7``.

    ``separator``: what separates the cells, in words; None if the format has its own.
    """

    names: list[str]
    lines: Sequence[Line]
    places: Sequence[str]
    separator: str | None = None


def is_missing(text: str | None) -> bool:
    """Whether a cell is empty: also NaN, None, null, NA and N/A, which data frames write for it."""
    return text is None or text.strip().lower() in MISSING


def read_user_table(
    source: str,
    subject: str = "The table",
    columns: Mapping[str, type[str] | type[int]] | None = None,
    *,
    error: type[SemblanceError] = SemblanceError,
) -> pl.DataFrame:
    """The table at ``source``, a local path or a URL, as a frame of text columns: 007 and 1e5 stay as written.

    The suffix determines the format: ``.parquet`` and ``.pq``, ``.tsv``, ``.jsonl`` and ``.ndjson``, and CSV for any
    other; ``read_cells`` recognises a CSV's separator. Empty cells are null; columns of lists or records are omitted.
    ``columns`` are required and must not have empty cells; those of type ``int`` must be integers and become Int64.
    Raises ``error`` with a sentence that begins with ``subject`` and names file, row (the first below the header is 1)
    and column.
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


def read_cells(data: bytes, name: str) -> Sheet:
    """Header and rows of a table's bytes; ``name`` determines the format, as above. Rows of a CSV are unchanged: they
    may be shorter or longer than the header, and an empty cell is an empty string.

    A CSV whose header has no comma may be separated by semicolons, tabs or vertical bars. Text is UTF-8, or UTF-16
    with a byte order mark. Raises ValueError, csv.Error or a Polars error if the bytes are not such a table, or contain
    lists or records.
    """
    if name.lower().endswith(_PARQUET):
        table = pl.read_parquet(io.BytesIO(data))
        if nested := [column for column, kind in table.schema.items() if kind.is_nested()]:
            raise ValueError(f"column {nested[0]!r} contains lists or records")
        rows = table.select(pl.all().cast(pl.String)).rows()
        return Sheet(names=table.columns, lines=rows, places=[f"row {n}" for n in range(1, len(rows) + 1)])
    text = _decoded(data)
    return _json_lines(text) if name.lower().endswith(_LINES) else _csv(text, name)


def _decoded(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"byte 0x{data[error.start]:02x} in line {line} is not UTF-8") from error


def _csv(text: str, name: str) -> Sheet:
    excel = _EXCEL.match(text)
    separator = excel[1] if excel else _separator(text, "\t" if name.lower().endswith(".tsv") else ",")
    reader = csv.reader(io.StringIO(text[excel.end() if excel else 0 :], newline=""), delimiter=separator, strict=True)
    above = int(excel is not None)
    lines, places = [], []
    start = above + 1  # a cell may contain line breaks
    try:
        for line in reader:
            if line:
                lines.append(line)
                places.append(f"line {start}")
            start = above + reader.line_num + 1
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise ValueError(f"a quotation mark of line {start} is never closed") from error
        raise ValueError(f"line {start}: {error}") from error
    what = SEPARATORS.get(separator, repr(separator))
    return Sheet(names=lines[0] if lines else [], lines=lines[1:], places=places[1:], separator=what)


def _separator(text: str, usual: str) -> str:
    """The usual separator, or the only other one that the header has if it has not the usual one."""
    found = _HEADER.search(text)
    header = found[0] if found else ""

    def divides(separator: str) -> bool:
        return len(next(csv.reader([header], delimiter=separator), [])) > 1

    if divides(usual):
        return usual
    others = [separator for separator in SEPARATORS if divides(separator)]
    return others[0] if len(others) == 1 else usual


def _frame(data: bytes, name: str) -> pl.DataFrame:
    if name.lower().endswith(_PARQUET):
        table = pl.read_parquet(io.BytesIO(data))
        plain = [column for column, kind in table.schema.items() if not kind.is_nested()]
        return table.select(pl.col(plain).cast(pl.String)) if plain else pl.DataFrame()
    sheet = read_cells(data, name)
    names, lines = [column.strip() for column in sheet.names], sheet.lines
    if not names:
        raise ValueError("it is empty")
    if repeated := [column for column, count in Counter(names).items() if count > 1]:
        raise ValueError(f"it has the column {repeated[0]!r} twice")
    for number, line in enumerate(lines, start=1):
        if len(line) != len(names):
            raise ValueError(f"row {number} has {len(line)} values for {len(names)} columns")
    cells = ([cell or None for cell in column] for column in zip(*lines, strict=True)) if lines else ([] for _ in names)
    return pl.DataFrame([pl.Series(column, part, pl.String) for column, part in zip(names, cells, strict=True)])


def _json_lines(text: str) -> Sheet:
    """Numbers as they are written; a key that is missing in a row is null."""
    rows: list[dict[str, object]] = []
    places = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not a JSON object")
        if nested := [key for key, value in row.items() if isinstance(value, (list, dict))]:
            raise ValueError(f"line {number}: column {nested[0]!r} contains lists or records")
        rows.append(row)
        places.append(f"line {number}")
    names = list(dict.fromkeys(key for row in rows for key in row))
    return Sheet(names=names, lines=[[_text(row.get(name)) for name in names] for row in rows], places=places)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value).lower()  # only true and false remain


def _first(flags: Iterable[bool]) -> int:
    """The number of the first row that is flagged, from 1."""
    return next(number for number, flag in enumerate(flags, start=1) if flag)

"""Tables on disk: parts written atomically, read as one Polars frame."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from semblance.manifests import schema, storage
from semblance.manifests.errors import SemblanceError

Table = Literal["samples", "rejects", "videos", "flags", "plan", "findings"]
PARTED: Final = ("samples", "rejects", "videos")
_PLANNED: Final = ("video_id", "path", "dataset", "label", "family_id", "split", "split_family")  # tells a plan
_FILES: Final = {"plan": "plan.parquet", "findings": "manifests/findings.parquet"}


def to_arrow(rows: Iterable[Mapping[str, Any]], table: Table) -> pa.Table:
    """Rows as an Arrow table of the schema; a missing key is null.

    Raises ValueError for a key that is not in the schema.
    """
    target = schema.TABLES[table]
    rows = list(rows)
    for row in rows:
        if unknown := row.keys() - set(target.names):
            raise ValueError(f"{table} has no column {sorted(unknown)}")
    return pa.Table.from_pylist(rows, schema=target).replace_schema_metadata(
        {"semblance_table": table, "semblance_schema": str(schema.VERSION)}
    )


def write_rows(url: str, rows: Iterable[Mapping[str, Any]], table: Table) -> None:
    """Write one part atomically: the same rows give the same bytes."""
    with storage.spool() as folder:
        local = str(folder / "part.parquet")
        pq.write_table(to_arrow(rows, table), local, compression="zstd")
        storage.publish(local, url)


def parquet(frame: pl.DataFrame) -> bytes:
    """A frame as a Parquet file."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def read_rows(url: str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """All rows of one part as dictionaries, with all columns or the given ones."""
    rows: list[dict[str, Any]] = _read(url, columns).to_pylist()
    return rows


def read_columns(url: str, names: Sequence[str]) -> pl.DataFrame:
    """Some columns of one part."""
    frame = pl.from_arrow(_read(url, names))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _read(url: str, names: Sequence[str] | None) -> pa.Table:
    """A part, read from memory by one thread.

    ``pq.read_table`` and Python files leave threads behind that abort the interpreter at exit (apache/arrow#33975,
    #50482).
    """
    with pq.ParquetFile(pa.BufferReader(storage.read_bytes(url))) as file:
        return file.read(columns=None if names is None else list(names), use_threads=False)


def scan(out: str, table: Table = "samples", *, flags: bool = True) -> pl.LazyFrame:
    """One table of the build ``out`` (a path or URL) as a lazy Polars frame.

    ``samples`` are joined with their flags, unless ``flags`` is False: column ``flags`` lists the names of all
    flags on the sample or its video, empty if there are none. Raises SemblanceError if ``out`` is not a build.
    """
    if table not in schema.TABLES:
        raise SemblanceError(f"Unknown table {table!r}; choose one of {', '.join(schema.TABLES)}.")
    if table in _FILES:
        files = [storage.join(out, _FILES[table])] if storage.exists(storage.join(out, _FILES[table])) else []
    else:
        folder = storage.join(out, "manifests", table)
        files = [storage.join(folder, name) for name in storage.list_names(folder) if name.endswith(".parquet")]
    if not files and not storage.exists(storage.join(out, "plan.parquet")):
        raise SemblanceError(f"{out} is not a build (no plan.parquet); pass the folder that `ingest build` wrote.")
    frame = _empty(table)
    if files:  # columns that are missing in a build of an older schema are null
        frame = pl.scan_parquet(files, schema=frame.collect_schema(), missing_columns="insert", extra_columns="ignore")
    return _flagged(frame, out) if table == "samples" and flags else frame


def _flagged(frame: pl.LazyFrame, out: str) -> pl.LazyFrame:
    """Samples with column ``flags``; without any flags nothing is joined, which saves time on a large build."""
    none = pl.lit([], dtype=pl.List(pl.String))
    if not storage.list_names(storage.join(out, "manifests", "flags")):
        return frame.with_columns(flags=none)
    flags = scan(out, "flags")
    by_sample = flags.filter(pl.col("sample_id").is_not_null()).group_by("sample_id").agg(pl.col("flag").sort())
    by_video = flags.filter(pl.col("sample_id").is_null()).group_by("video_id").agg(pl.col("flag").sort())
    both = pl.concat_list(pl.col("flag").fill_null(none), pl.col("flag_video").fill_null(none))
    return (
        frame.join(by_sample, on="sample_id", how="left", maintain_order="left")
        .join(by_video, on="video_id", how="left", suffix="_video", maintain_order="left")
        .with_columns(flags=both.list.unique().list.sort())
        .drop("flag", "flag_video")
    )


def read_plan(where: str) -> pl.DataFrame:
    """The plan of a build, or the table that ``ingest plan --to`` wrote: one row per planned video.

    Raises SemblanceError if it is missing or a table without the plan's columns.
    """
    if not where.endswith(".parquet"):
        return scan(where, "plan").collect()
    try:
        with storage.local_copy(where) as path:
            frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise SemblanceError(
            f"The plan {where} cannot be read ({reason}); write one with `ingest plan --to`."
        ) from error
    if missing := set(_PLANNED) - set(frame.columns):
        raise SemblanceError(
            f"{where} is not a plan (column {min(missing)!r} is missing); write one with `ingest plan --to`."
        )
    empty = _empty("plan").collect()  # a column that came after the table was written is null
    return pl.concat([empty, frame.select(name for name in empty.columns if name in frame.columns)], how="diagonal")


def _empty(table: str) -> pl.LazyFrame:
    frame = pl.from_arrow(schema.TABLES[table].empty_table())
    assert isinstance(frame, pl.DataFrame)
    return frame.lazy()

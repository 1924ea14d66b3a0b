"""Fewer and larger parts of events: those of a day that is over become one."""

from __future__ import annotations

import hashlib
import io
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from semblance.manifests import storage, tables
from semblance.manifests.errors import SemblanceError
from semblance.training.rollout.events import SCHEMAS, Table

_GRACE: Final = timedelta(hours=2)  # a clock may be wrong, and a part late
_DAY: Final = len("20260101")


def merge(folder: str, now: datetime) -> int:
    """Merge the parts of each earlier day (UTC), by the day in their names; returns how many parts went.

    It may be interrupted, and run in several processes: a merged part appears before its parts go, so that rows may be
    read twice, which the reader allows for, and never not at all. What cannot be read or written stays as it is.
    """
    last = f"{now - _GRACE:%Y%m%d}"
    return sum(_table(folder, table, last) for table in SCHEMAS)


def _table(folder: str, table: Table, last: str) -> int:
    place, gone = storage.join(folder, table), 0
    days: dict[str, list[str]] = {}
    with suppress(SemblanceError, OSError):
        for name in storage.list_names(place):
            if name.endswith(".parquet") and name[:_DAY].isdigit() and name[:_DAY] < last:
                days.setdefault(name[:_DAY], []).append(name)
    for day, names in days.items():
        with suppress(SemblanceError, OSError, pl.exceptions.PolarsError):
            if len(names) > 1:
                gone += _day(place, table, day, names)
    return gone


def _day(place: str, table: Table, day: str, names: list[str]) -> int:
    parts = [storage.join(place, name) for name in names]
    empty = SCHEMAS[table].to_frame()
    rows = [pl.read_parquet(io.BytesIO(storage.read_bytes(part))) for part in parts]
    whole = pl.concat([empty, *rows], how="diagonal").select(empty.columns).unique(maintain_order=True)
    merged = storage.join(place, f"{day}-merged-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:16]}.parquet")
    storage.write_bytes(merged, tables.parquet(whole))
    for part in parts:
        storage.remove(part)
    return len(parts)

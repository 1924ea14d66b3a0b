"""What happened in a roll-out, read from the events: a row for each subject whose outcome is known, in order."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from semblance.manifests import storage
from semblance.manifests.errors import StorageError
from semblance.training.rollout.events import SCHEMAS, Table
from semblance.training.rollout.plan import Outcome, RolloutConfig

_NEEDED: Final = (
    *("id", "time", "share", "subject_hash", "role", "kind"),
    *("status", "latency_s", "probability", "verdict"),
)
_TRIES: Final = 3  # a part may be merged into another between listing and reading


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """``requests`` of a roll-out in order of time, each with its feedback: ``label`` (``labelled``: when it was told)
    and ``satisfied`` (``told``). ``unknown``: feedback for ids that no request has.
    """

    requests: pl.DataFrame
    unknown: int


def read(folder: str, rollout: str) -> History:
    """Raises StorageError if the events cannot be read; a folder that is not there yet is an empty one."""
    for attempt in range(_TRIES):
        try:
            return _read(folder, rollout)
        except (OSError, pl.exceptions.PolarsError) as error:
            if attempt + 1 == _TRIES:
                why = str(error).splitlines()[0] if str(error) else type(error).__name__
                part = next(filter(_damaged, _parts(folder, "requests") + _parts(folder, "feedback")), None)
                place, what = (folder, "see to the store") if part is None else (part, "remove that part")
                raise StorageError(f"Events in {place} cannot be read ({why}); {what}, then run again.") from error
    raise AssertionError


def _read(folder: str, rollout: str) -> History:
    requests, feedback = scan(folder, "requests"), scan(folder, "feedback")
    said = (
        feedback.sort("time", maintain_order=True)
        .group_by("id")
        .agg(*_last("label", "labelled"), *_last("satisfied", "told"))
    )
    mine = (
        requests.filter((pl.col("rollout") == rollout) & (pl.col("share") > 0))  # 0: nothing was drawn
        .select(_NEEDED)
        .unique("id", keep="first", maintain_order=True)
        .join(said, on="id", how="left")
        .sort("time", "id")
    )
    unknown = said.join(requests.select("id"), on="id", how="anti").select(pl.len())
    frame, count = pl.collect_all([mine, unknown])
    return History(requests=frame, unknown=int(count.item()))


def _last(name: str, when: str) -> tuple[pl.Expr, pl.Expr]:
    """The last value that was said, and its time; null if none was."""
    there = pl.col(name).is_not_null()
    return pl.col(name).filter(there).last(), pl.col("time").filter(there).last().alias(when)


def scan(folder: str, table: Table) -> pl.LazyFrame:
    """All parts of a table, of all services and roll-outs."""
    if not (parts := _parts(folder, table)):
        return SCHEMAS[table].to_frame(eager=False)
    return pl.scan_parquet(parts, schema=SCHEMAS[table], missing_columns="insert", extra_columns="ignore")


def _parts(folder: str, table: Table) -> list[str]:
    place = storage.join(folder, table)
    return [storage.join(place, name) for name in storage.list_names(place) if name.endswith(".parquet")]


def _damaged(part: str) -> bool:
    try:
        pl.read_parquet(io.BytesIO(storage.read_bytes(part)))
    except (OSError, pl.exceptions.PolarsError):
        return True
    return False


def subjects(history: History) -> pl.DataFrame:
    """Each subject's first request: ``arm`` (1: challenger), ``share``, ``time``."""
    return _firsts(history.requests, "time").select("arm", "share", "time")


def outcomes(history: History, outcome: Outcome, plan: RolloutConfig) -> pl.DataFrame:
    """``arm``, ``share`` and ``outcome`` in [0, 1] of each subject with a known one, in order of when it became known.

    The first of a subject counts: its further ones are not independent of it.
    """
    known, value = {
        "accuracy": ("labelled", _accuracy(plan)),
        "latency": ("time", _latency(plan)),
        "satisfaction": ("told", pl.col("satisfied").cast(pl.Float64)),
        "errors": ("time", (pl.col("status") < 500).cast(pl.Float64)),
    }[outcome]
    rows = history.requests.with_columns(outcome=value).filter(pl.col(known).is_not_null())
    return _firsts(rows, known).select("arm", "share", "outcome", pl.col(known).alias("time"))


def _firsts(rows: pl.DataFrame, by: str) -> pl.DataFrame:
    return (
        rows.sort(by, "time", "id")
        .unique("subject_hash", keep="first", maintain_order=True)
        .with_columns(arm=(pl.col("role") == "challenger").cast(pl.Int64))
    )


def _accuracy(plan: RolloutConfig) -> pl.Expr:
    """A request that failed, and has no verdict, is wrong."""
    if plan.accuracy == "brier":
        return (1 - (pl.col("probability") - pl.col("label")) ** 2).fill_null(0.0)
    right = pl.when(pl.col("label") == 1).then(pl.lit("fake")).otherwise(pl.lit("real"))
    doubt = pl.when(pl.col("verdict") == "uncertain").then(0.5).otherwise(0.0)
    return pl.when(pl.col("verdict") == right).then(1.0).otherwise(doubt)


def _latency(plan: RolloutConfig) -> pl.Expr:
    limit = pl.when(pl.col("kind") == "video").then(plan.latency.video_s).otherwise(plan.latency.crop_s)
    if plan.latency.measure == "share":
        return (pl.col("latency_s") <= limit).cast(pl.Float64)
    return (1 - pl.col("latency_s") / limit).clip(0.0, 1.0)


def challenger_requests(history: History, since: datetime) -> int:
    """How many requests the challenger had since a moment."""
    return history.requests.filter((pl.col("role") == "challenger") & (pl.col("time") >= since)).height

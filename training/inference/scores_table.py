"""Predictions as a table: one row for each video or picture and one for each of its persons."""

from __future__ import annotations

import io
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final

import polars as pl

from semblance.manifests import storage
from semblance.manifests.errors import UsageError
from semblance.training.inference.video import Failure, Prediction, Scored

SUFFIXES: Final = (".jsonl", ".ndjson", ".csv", ".parquet")
SCHEMA: Final = MappingProxyType(
    {
        "path": pl.String,
        "level": pl.String,  # video (or picture), person
        "person": pl.Int32,  # null at level video
        "status": pl.String,  # ok, partial, or why there is no score
        "reason": pl.String,  # a sentence where the status is not ok
        "verdict": pl.String,  # fake, real, uncertain
        "probability": pl.Float64,  # of fake
        "uncertainty": pl.Float64,  # two standard deviations; null: unknown
        "logit": pl.Float64,
        "pictures": pl.Int32,  # scored faces
        "persons": pl.Int32,
        "first_s": pl.Float64,
        "last_s": pl.Float64,
        "frames": pl.Int32,  # sampled
        "rejected": pl.Int32,  # faces that the gates rejected
        "run": pl.String,
        "calibrated": pl.Boolean,
    }
)


def check(to: str) -> None:
    """Raise UsageError if no table can be written to ``to``."""
    if to.lower().endswith(".png"):
        raise UsageError(f"--to {to} is a table of results now; write the faces with --faces {to}.")
    if not to.lower().endswith(SUFFIXES):
        raise UsageError(f"--to {to} must end in {', '.join(SUFFIXES)}.")


def rows(result: Prediction | Failure, run: str, calibrated: bool) -> list[dict[str, Any]]:
    """The row of a video or picture, then those of its persons; of a failure, its one row without scores."""
    empty = dict.fromkeys(SCHEMA) | {"path": result.path, "run": run, "calibrated": calibrated}
    if isinstance(result, Failure):
        return [empty | {"level": "video", "status": result.status, "reason": result.reason}]
    status = empty | {"status": str(result.row["status"])}
    whole = status | {
        "level": "video",
        "reason": result.note,
        "pictures": result.pictures.height,
        "persons": len(result.persons),
        "first_s": result.pictures["time_s"].min(),
        "last_s": result.pictures["time_s"].max(),
        "frames": result.row["frames_sampled"],
        "rejected": sum(result.rejected.values()),
    }
    return [
        whole | _scores(result.video),
        *(
            status
            | {"level": "person", "person": one.person, "pictures": one.pictures}
            | {"first_s": one.first_s, "last_s": one.last_s}
            | _scores(one.score)
            for one in result.persons
        ),
    ]


def _scores(score: Scored) -> dict[str, Any]:
    return {
        "verdict": score.verdict,
        "probability": score.probability,
        "uncertainty": score.uncertainty,
        "logit": score.logit,
    }


def write(to: str, table: Sequence[dict[str, Any]]) -> None:
    """Write the rows as JSON lines, CSV or Parquet, by the suffix, atomically. Raises StorageError if it cannot be."""
    frame, out = pl.DataFrame(table, schema=dict(SCHEMA), orient="row"), io.BytesIO()
    if to.lower().endswith(".parquet"):
        frame.write_parquet(out)
    elif to.lower().endswith(".csv"):
        frame.write_csv(out)
    else:
        frame.write_ndjson(out)
    storage.write_bytes(to, out.getvalue())

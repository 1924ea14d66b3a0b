"""What a run has seen: the hashed ids of what it was trained on, and of what it was selected on.

::

    seen.parquet    one row per id: role (trained, selected), kind, hash (64 bits, training/guard/ids.py), and for
                    frames ``of``, the hash of their video

It is in the folder of a run or ensemble, and without its samples in every checkpoint, which is enough to judge it.
Kinds: sample, video, family, person, person_estimated, recording, file, and frame, at most ``FRAMES`` of
each video.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl
import torch

from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError
from semblance.training.guard import ids
from semblance.training.guard.ids import FRAME

FILE: Final = "seen.parquet"
FRAMES: Final = 6  # kept of a video: those with the lowest hashes, so that any two samplings keep the same of theirs
SAMPLE: Final = "sample"
Role = Literal["trained", "selected"]
ROLES: Final[tuple[Role, ...]] = ("trained", "selected")
LEARNED: Final = ("train", "weights")  # roles of builds in datasets.json that a model, or its first weights, learned
_NOTES: Final = "semblance.notes"
_SCHEMA: Final = {"role": pl.String, "kind": pl.String, "hash": pl.UInt64, "of": pl.UInt64}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """``ids``: role, kind, hash and of, each row once, sorted. ``notes``: what was allowed, and what is not known."""

    ids: pl.DataFrame
    notes: tuple[str, ...] = ()

    def of(self, role: Role) -> pl.DataFrame:
        """kind, hash and of, of one role."""
        return self.ids.filter(pl.col("role") == role).drop("role")

    def state(self) -> dict[str, Any]:
        """The record for a checkpoint, without samples: int64 tensors (N,) by role and kind, (N, 2) of frames."""
        parts = self.ids.filter(pl.col("kind") != SAMPLE).partition_by("role", "kind", as_dict=True)
        return {
            "ids": {f"{role}/{kind}": _tensor(rows) for (role, kind), rows in sorted(parts.items())},
            "notes": list(self.notes),
        }


def of_state(state: Mapping[str, Any] | None) -> Seen | None:
    """The record in a checkpoint; None if it is older than such records."""
    if state is None:
        return None
    parts = [
        pl.DataFrame(ids_NC.numpy().view("uint64").reshape(len(ids_NC), -1), ["hash", "of"][: ids_NC.ndim])
        .with_columns(role=pl.lit(name.partition("/")[0]), kind=pl.lit(name.partition("/")[2]))
        .with_columns(pl.lit(None).alias(column) for column in ("of",)[ids_NC.ndim - 1 :])
        for name, ids_NC in state["ids"].items()
    ]
    return Seen(ids=_sorted(parts), notes=tuple(state["notes"]))


def record(role: Role, held: pl.DataFrame, samples: Collection[str] = ()) -> Seen:
    """What is kept of videos: ``held`` is that of ``ids.held``, ``samples`` the ids of their pictures."""
    named = held.filter(pl.col("kind") != FRAME).select("kind", "hash", of=None)
    frames = held.filter(pl.col("kind") == FRAME).sort("video_id", "hash")
    few = frames.group_by("video_id", maintain_order=True).head(FRAMES)
    videos = few.select(kind=pl.lit("video"), scope=pl.lit(""), id="video_id").unique()
    owners = videos.select(video_id="id", of=ids.hashed(videos))
    names = pl.DataFrame({"kind": SAMPLE, "scope": "", "id": list(samples)}, schema_overrides={"id": pl.String})
    pictures = pl.DataFrame({"hash": ids.hashed(names)}).with_columns(kind=pl.lit(SAMPLE), of=None)
    parts = (named, few.join(owners, on="video_id").select("kind", "hash", "of"), pictures)
    return Seen(ids=_sorted([part.with_columns(role=pl.lit(role)) for part in parts]))


def union(parts: Iterable[Seen | None], notes: Sequence[str] = ()) -> Seen:
    """All that any of the records holds."""
    known = [part for part in parts if part is not None]
    told = (*(note for part in known for note in part.notes), *notes)
    return Seen(ids=_sorted([part.ids for part in known]), notes=tuple(dict.fromkeys(told)))


def write(file: Path, seen: Seen) -> None:
    """Write the table atomically, with the notes as its metadata; equal records give equal bytes."""
    buffer = io.BytesIO()
    seen.ids.write_parquet(buffer, metadata={_NOTES: json.dumps(seen.notes, ensure_ascii=False)})
    storage.write_bytes(str(file), buffer.getvalue())


def read(file: Path) -> Seen | None:
    """The record at ``file``; None if there is none. Raises SemblanceError if it is damaged."""
    if not file.exists():
        return None
    try:
        notes = json.loads(pl.read_parquet_metadata(file).get(_NOTES, "[]"))
        return Seen(ids=_sorted([pl.read_parquet(file)]), notes=tuple(notes))
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise SemblanceError(f"{file} is damaged ({reason}); restore it, or make its folder again.") from error


def _sorted(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    rows = [part.select(list(_SCHEMA)).cast(_SCHEMA) for part in parts]  # type: ignore[arg-type]
    return pl.concat([pl.DataFrame(schema=_SCHEMA), *rows]).unique().sort("role", "kind", "hash", "of")


def _tensor(rows: pl.DataFrame) -> torch.Tensor:
    columns = [rows[name].to_numpy().view("int64") for name in ("hash", "of") if not rows[name].null_count()]
    return torch.from_numpy(np.stack(columns, 1) if len(columns) > 1 else columns[0].copy())

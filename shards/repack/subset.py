"""The list of samples or videos that repacking keeps; all others are rejected with a separate reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from semblance.manifests import schema
from semblance.manifests.errors import SemblanceError
from semblance.manifests.ids import digest
from semblance.manifests.records import Rejection
from semblance.manifests.user_tables import read_user_table

REASON: Final = "not_kept"
_COLUMNS: Final = ("sample_id", "video_id")
_PLACE: Final = ("shard", "tar_offset", "tar_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """The ids in ``column`` (sample_id or video_id) of the file ``source``."""

    source: str
    column: str
    ids: frozenset[str]

    @property
    def sha256(self) -> str:
        """Hash of the ids: the same for a CSV and a Parquet file, and for any order."""
        return digest(self.column, *sorted(self.ids))

    def has(self, row: Mapping[str, Any]) -> bool:
        """Whether the sample of this row is kept."""
        return row[self.column] in self.ids

    def check(self, unknown: Collection[str]) -> None:
        """Raise SemblanceError if there are ids that the build does not have."""
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise SemblanceError(
                f"{self.source} has the {self.column} {min(unknown)}{more}, which the build does not have; "
                "create the list from the tables of this build."
            )


def read(source: str) -> Keep:
    """The list at ``source``, a Parquet or CSV file with the column sample_id, or else video_id.

    Raises SemblanceError if it cannot be read, has no such column, an empty cell in it, or no row.
    """
    frame = read_user_table(source, "The list")
    column = next((name for name in _COLUMNS if name in frame.columns), None)
    if column is None:
        raise SemblanceError(f"The list {source} has neither a column sample_id nor video_id; add one of them.")
    ids = frame[column]
    if ids.null_count():
        raise SemblanceError(f"The list {source} has {ids.null_count()} rows without a {column}; fill or remove them.")
    if ids.is_empty():
        raise SemblanceError(f"The list {source} is empty, so nothing would be kept; add ids to it.")
    return Keep(source=source, column=column, ids=frozenset(ids))


def leave_out(
    removed: Sequence[Mapping[str, Any]], rejections: Sequence[Rejection], video: Mapping[str, Any]
) -> tuple[list[Rejection], dict[str, Any]]:
    """A video's rejections and row after the samples ``removed`` are taken out, with counts that still add up.

    A kept sample becomes a rejection. A sample that its gates only marked has a rejection already, which gets the
    additional reason.
    """
    marked = {row["sample_id"] for row in removed if row["verdict"] != "keep"}
    rejections = [
        replace(rejection, row=dict(rejection.row) | {"reasons": [*rejection.row["reasons"], REASON]})
        if rejection.row["sample_id"] in marked
        else rejection
        for rejection in rejections
    ]
    newly_rejected = [row for row in removed if row["verdict"] == "keep"]
    video = dict(video) | {
        "crops_kept": video["crops_kept"] - len(newly_rejected),
        "crops_rejected": video["crops_rejected"] + len(newly_rejected),
    }
    return [
        *rejections,
        *(_rejected(row) for row in sorted(newly_rejected, key=lambda row: str(row["sample_id"]))),
    ], video


def _rejected(row: Mapping[str, Any]) -> Rejection:
    face = {name: row[name] for name in schema.REJECTS.names if name in row and name not in _PLACE}
    why = {"unit": "face", "stage": "limit", "reasons": [REASON], "reason": REASON, "measured": None, "limit": None}
    return Rejection(row=face | why)

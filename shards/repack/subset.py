"""A list of the samples or videos that a repacking keeps; what is not in it is rejected, with that reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from semblance.manifests import schema
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Rejection, digest
from semblance.manifests.user_tables import read_user_table

REASON: Final = "not_kept"
_COLUMNS: Final = ("sample_id", "video_id")
_PLACE: Final = ("shard", "tar_offset", "tar_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """The ids of ``column`` (sample_id or video_id) that ``source``, a file, names."""

    source: str
    column: str
    ids: frozenset[str]

    @property
    def sha256(self) -> str:
        """Of what the list says: the same for a CSV and a Parquet file, and for any order."""
        return digest(self.column, *sorted(self.ids))

    def has(self, row: Mapping[str, Any]) -> bool:
        """Whether the sample of this row stays."""
        return row[self.column] in self.ids

    def check(self, unknown: Collection[str]) -> None:
        """Raise SemblanceError where there are ids that the build does not have."""
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise SemblanceError(
                f"{self.source} names the {self.column} {min(unknown)}{more}, which the build does not have; "
                "make the list from this build's own tables."
            )


def read(source: str) -> Keep:
    """The list at ``source``, a Parquet or CSV file with the column sample_id, or else video_id.

    Raises SemblanceError where it cannot be read, has no such column, an empty cell in it, or no row.
    """
    frame = read_user_table(source, "The list")
    column = next((name for name in _COLUMNS if name in frame.columns), None)
    if column is None:
        raise SemblanceError(f"The list {source} has neither a column sample_id nor a column video_id; name one so.")
    ids = frame[column]
    if ids.null_count():
        raise SemblanceError(f"The list {source} has {ids.null_count()} rows without a {column}; fill or remove them.")
    if ids.is_empty():
        raise SemblanceError(f"The list {source} names nothing to keep; nothing would be left.")
    return Keep(source=source, column=column, ids=frozenset(ids))


def leave_out(
    gone: Sequence[Mapping[str, Any]], rejections: Sequence[Rejection], video: Mapping[str, Any]
) -> tuple[list[Rejection], dict[str, Any]]:
    """A video's rejections and row when the samples ``gone`` leave it: law 1 holds as before.

    A sample that was kept becomes a rejection. One that its gates had only marked has a row already: the reason
    joins the others there.
    """
    marked = {row["sample_id"] for row in gone if row["verdict"] != "keep"}
    rejections = [
        Rejection(row=dict(one.row) | {"reasons": [*one.row["reasons"], REASON]}, picture=one.picture)
        if one.row["sample_id"] in marked
        else one
        for one in rejections
    ]
    left = [row for row in gone if row["verdict"] == "keep"]
    video = dict(video) | {
        "crops_kept": video["crops_kept"] - len(left),
        "crops_rejected": video["crops_rejected"] + len(left),
    }
    return [*rejections, *(_rejected(row) for row in sorted(left, key=lambda row: str(row["sample_id"])))], video


def _rejected(row: Mapping[str, Any]) -> Rejection:
    face = {name: row[name] for name in schema.REJECTS.names if name in row and name not in _PLACE}
    why = {"unit": "face", "stage": "limit", "reasons": [REASON], "reason": REASON, "measured": None, "limit": None}
    return Rejection(row=face | why)

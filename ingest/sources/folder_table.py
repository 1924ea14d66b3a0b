"""A user's table of videos: its file, its format and its columns."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from posixpath import basename
from typing import Final

from semblance.ingest.sources.entries import short
from semblance.ingest.sources.lists import below
from semblance.manifests import storage, user_tables
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import SourceFinding
from semblance.manifests.storage.retry import reason
from semblance.manifests.user_tables import Sheet

COLUMNS: Final = (
    *("path", "label", "method", "compression", "original", "target", "donor", "recording", "donor_recording"),
    *("split", "date", "mask"),
)
_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {  # what others call a column; "target" may also be the label
    "path": (
        *("filename", "file_name", "file", "filepath", "file_path", "video", "video_path", "video_name", "videoname"),
        *("name", "clip", "clip_path", "video_file", "uri", "url", "filepaths", "paths", "fname"),
    ),
    "label": (
        *("target", "class", "labels", "y", "is_fake", "isfake", "fake", "ground_truth", "groundtruth", "gt", "truth"),
        *("class_label", "category"),
    ),
    "method": ("manipulation", "manipulation_type", "manipulation_method", "forgery", "generator", "technique"),
    "compression": ("quality", "crf", "compression_level"),
    "original": (
        "source",
        "original_path",
        "original_video",
        "orig",
        "real",
        "source_video",
        "pristine_path",
        "parent",
    ),
    "target": ("target_id", "identity", "person", "person_id", "subject", "subject_id", "actor", "actor_id", "speaker"),
    "donor": ("donor_id", "source_id", "swapped_id", "face_source"),
    "recording": ("recording_id", "youtube_id", "video_id"),
    "donor_recording": ("donor_recording_id", "donor_youtube_id"),
    "split": ("set", "subset", "partition", "fold", "phase", "usage", "split_name"),
    "date": ("created", "recorded", "published", "timestamp", "time", "year"),
    "mask": ("mask_path", "masks", "mask_video"),
}
_LISTED: Final = 20  # most columns in an error
_UNNAMED: Final = re.compile(r"|unnamed:_[0-9]+")  # the index of a data frame
_NUMBER: Final = re.compile(r"[0-9]*(\.0)?")
Cells = Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with the columns path and label, whose rows are still text.

    ``name``, ``sha256``: for the fingerprint. ``place``: its path below the root; None if it is elsewhere.
    ``findings``: that it was read, and columns that are not used.
    """

    header: Sequence[str]
    sheet: Sheet
    name: str
    sha256: str
    place: str | None
    written: str
    findings: tuple[SourceFinding, ...]

    @property
    def path(self) -> str:
        """The path for findings."""
        return self.place or self.written

    def rows(self) -> Iterator[tuple[str, Cells, int]]:
        """Every row: where it is (``line 7``), its cells by column, and its number of cells."""
        for place, line in zip(self.sheet.places, self.sheet.lines, strict=True):
            yield place, dict(zip(self.header, line, strict=False)), len(line)


def read_table(root: str, table: str) -> Table:
    """The table at ``table``, a path as written or below ``root``.

    Raises SemblanceError if it is missing, cannot be read, has no rows, or has no columns path and label.
    """
    try:
        url = table if storage.exists(table) else storage.join(root, table)
        data = storage.read_bytes(url)
    except (OSError, ValueError, ImportError) as error:
        raise SemblanceError(
            f"The table {table} cannot be read ({error}); pass a CSV or Parquet file with --set source.table=FILE."
        ) from error
    try:
        sheet = user_tables.read_cells(data, table)
    except user_tables.UNREADABLE as error:
        raise SemblanceError(
            f"The table {table} cannot be read ({reason(error)}); give {user_tables.FORMATS}, with the columns path "
            "and label."
        ) from error
    header = [re.sub(r"[\s-]+", "_", name.strip().lower()) for name in sheet.names]
    _check(table, header, sheet)
    place = below(root, url)
    separated = f", separated by {sheet.separator}s" if sheet.separator not in (None, "comma") else ""
    findings = [
        SourceFinding(path=place or table, kind="metadata", reason=f"read: the table of the videos{separated}"),
        *_unknown(place or table, header, sheet),
    ]
    return Table(
        header=header,
        sheet=sheet,
        name=basename(table) or table,
        sha256=hashlib.sha256(data).hexdigest(),
        place=place,
        written=table,
        findings=tuple(findings),
    )


def _check(table: str, header: Sequence[str], sheet: Sheet) -> None:
    """Raise SemblanceError unless there are rows, and the columns path and label once."""
    if not any(header):
        raise SemblanceError(
            f"The table {table} is empty; give it the columns path and label, and a row for each video."
        )
    if missing := [name for name in ("path", "label") if name not in header]:
        meant = {name: next((alias for alias in _ALIASES[name] if alias in header), None) for name in missing}
        advice = " and ".join(f"{short(alias)} to {name}" for name, alias in meant.items() if alias)
        raise SemblanceError(
            f"The table {table} has no column {' and no column '.join(missing)}. Its columns are "
            f"{', '.join(map(short, sorted(header)[:_LISTED]))}"
            f"{f' (read as separated by {sheet.separator}s)' if sheet.separator else ''}; "
            + (f"rename {advice}." if advice else f"known ones are {', '.join(COLUMNS)}.")
        )
    if repeated := sorted(name for name, count in Counter(header).items() if count > 1 and name in COLUMNS):
        raise SemblanceError(f"The table {table} has the column {repeated[0]} twice; remove one of them.")
    if not sheet.lines:
        raise SemblanceError(f"The table {table} has a header and no rows; give it a row for each video.")


def _unknown(path: str, header: Sequence[str], sheet: Sheet) -> Iterator[SourceFinding]:
    """A finding for each column that is not used, except an unnamed one that only counts the rows."""
    for place, column in enumerate(header):
        if column in COLUMNS:
            continue
        cells = (line[place] or "" for line in sheet.lines if place < len(line))
        if place == 0 and _UNNAMED.fullmatch(column) and all(_NUMBER.fullmatch(cell.strip()) for cell in cells):
            continue
        meant = next((name for name in COLUMNS if column in _ALIASES[name] and name not in header), None)
        advice = f"if it is the {meant}, rename it to {meant}" if meant else f"known columns are {', '.join(COLUMNS)}"
        yield SourceFinding(path=path, kind="unknown_column", reason=f"column {short(column)} is not used; {advice}")

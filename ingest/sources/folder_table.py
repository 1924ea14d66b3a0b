"""A user's table of videos, read as text; invalid values are findings."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from posixpath import basename, normpath
from typing import Final

from semblance.ingest.sources.entries import bad_row, short
from semblance.ingest.sources.lists import below
from semblance.manifests import storage, user_tables
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import PRISTINE, TRAIN_VAL_TEST, SourceFinding
from semblance.manifests.splits.protocols import parse_date
from semblance.manifests.storage.retry import reason

COLUMNS: Final = (
    "path",
    "label",
    "method",
    "compression",
    "original",
    "target",
    "donor",
    "recording",
    "donor_recording",
    "split",
    "date",
    "mask",
)
_LISTED: Final = 20  # most columns in an error
_LABELS: Final = {"0": 0, "0.0": 0, "real": 0, "1": 1, "1.0": 1, "fake": 1}
_ABSOLUTE: Final = re.compile(r"[/\\]|[A-Za-z]:[/\\]|[a-z0-9]+://")
_WHOLE: Final = re.compile(r"([0-9]+)\.0")  # an integer in a column with empty cells
Cells = Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row with a usable path and label; paths are relative to the root, people and recordings as written."""

    path: str
    label: int
    method: str | None = None
    compression: str | None = None
    original: str | None = None
    target: str | None = None
    donor: str | None = None
    recording: str | None = None
    donor_recording: str | None = None
    split: str | None = None
    date: str | None = None
    mask: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The usable rows by path, findings about the others, and the location of the table.

    ``place`` is its path below the root; None if it is elsewhere.
    """

    rows: Mapping[str, Row]
    findings: tuple[SourceFinding, ...]
    name: str
    sha256: str
    place: str | None


def read_table(root: str, table: str) -> Table:
    """The CSV or Parquet table at ``table``, a path as written or below ``root``.

    Raises SemblanceError if it is missing, cannot be read, or has no columns path and label.
    """
    try:
        url = table if storage.exists(table) else storage.join(root, table)
        data = storage.read_bytes(url)
    except (OSError, ValueError, ImportError) as error:
        raise SemblanceError(
            f"The table {table} cannot be read ({error}); pass a CSV or Parquet file with --set source.table=FILE."
        ) from error
    place = below(root, url)
    path = place or table
    try:
        names, lines = user_tables.read_cells(data, table)
    except user_tables.UNREADABLE as error:
        raise SemblanceError(
            f"The table {table} cannot be read ({reason(error)}); give {user_tables.FORMATS}, with the columns path "
            "and label."
        ) from error
    header = [name.strip().lower() for name in names]
    if missing := [name for name in ("path", "label") if name not in header]:
        raise SemblanceError(
            f"The table {table} has no column {' and no column '.join(missing)}. Its columns are "
            f"{', '.join(map(short, sorted(header)[:_LISTED]))}; "
            f"known ones are {', '.join(COLUMNS)}."
        )
    if repeated := sorted(name for name, count in Counter(header).items() if count > 1 and name in COLUMNS):
        raise SemblanceError(f"The table {table} has the column {repeated[0]} twice; remove one of them.")
    findings = [SourceFinding(path=path, kind="metadata", reason="read: the table of the videos")]
    for column in sorted(set(header) - set(COLUMNS)):
        unused = f"column {short(column)} is not used; known columns are {', '.join(COLUMNS)}"
        findings.append(SourceFinding(path=path, kind="unknown_column", reason=unused))
    rows = _rows(path, header, lines, findings)
    return Table(
        rows=rows,
        findings=tuple(findings),
        name=basename(table) or table,
        sha256=hashlib.sha256(data).hexdigest(),
        place=place,
    )


def _rows(
    path: str, header: Sequence[str], lines: Iterable[Sequence[str | None]], findings: list[SourceFinding]
) -> dict[str, Row]:
    """Path -> its row; a path that occurs twice with different values has none."""
    found: defaultdict[str, list[Row | None]] = defaultdict(list)
    for number, line in enumerate(lines, start=1):
        cells = dict(zip(header, line, strict=False))
        where = relative(cells.get("path"))
        if where is None:
            fault = f"row {number}: path {short(cells.get('path'))} is not a path below the root"
            findings.append(SourceFinding(path=path, kind="bad_row", reason=fault))
            continue
        notes = [f"has {len(line)} values for {len(header)} columns"] if len(line) != len(header) else []
        found[where].append(_row(where, cells, notes))
        findings += [bad_row(path, where, note) for note in notes]
    rows = {}
    for where, given in found.items():
        if len(set(given)) > 1:
            findings.append(bad_row(path, where, "occurs twice with different values, so its video is unlabelled"))
            continue
        if len(given) > 1:
            findings.append(bad_row(path, where, f"occurs {len(given)} times with the same values"))
        if (row := given[0]) is not None:
            rows[where] = row
    return rows


def _row(path: str, cells: Cells, notes: list[str]) -> Row | None:
    """The row, None without a usable label; everything wrong with it is added to ``notes``."""
    texts = {name: (cells.get(name) or "").strip() for name in COLUMNS}
    label = _LABELS.get(texts["label"].lower())
    if label is None:
        notes.append(f"label {short(cells.get('label'))} is not 0, 1, real or fake, so its video is unlabelled")
        return None
    split = texts["split"].lower()
    if split not in ("", *TRAIN_VAL_TEST):
        notes.append(f"split {short(texts['split'])} is not train, val or test, so it is unknown")
        split = ""
    date = texts["date"]
    if date and parse_date(date) is None:
        notes.append(f"date {short(date)} is not an ISO 8601 date, so it is unknown")
        date = ""
    method = texts["method"] or None
    if label == 0 and method not in (None, PRISTINE, "original", "real"):
        notes.append(f"is real, but has the method {short(method)}, which is not used")
    if label == 1 and method == PRISTINE:
        notes.append(f"is fake, but its method is {PRISTINE}, so it is unknown")
        method = None
    for name in ("donor", "donor_recording"):
        if label == 0 and texts[name]:
            notes.append(f"is real, but has a {name}, which is not used")
            texts[name] = ""
    original = _file(path, "original", cells, notes)
    mask = _file(path, "mask", cells, notes)
    people = {name: _canonical(texts[name]) for name in ("target", "donor", "recording", "donor_recording")}
    return Row(
        path=path,
        label=label,
        method=PRISTINE if label == 0 else method,
        compression=texts["compression"] or None,
        original=original,
        split=split or None,
        date=date or None,
        mask=mask,
        **people,
    )


def _canonical(text: str) -> str | None:
    """An id in canonical form: many programs write integers as ``12.0`` in a column with empty cells."""
    match = _WHOLE.fullmatch(text)
    return (match[1] if match else text) or None


def _file(path: str, name: str, cells: Cells, notes: list[str]) -> str | None:
    """The path of another file in column ``name``; None if there is none."""
    if not (text := cells.get(name)):
        return None
    file = relative(text)
    if file is None or file == path:
        notes.append(
            f"{name} {short(text)} is {'its own path' if file else 'not a path below the root'}, so it is not used"
        )
        return None
    return file


def relative(text: str | None) -> str | None:
    """A normalised path below the root; None for an empty or absolute one, or one with ``..``."""
    if not text or _ABSOLUTE.match(text) or ".." in text.split("/"):
        return None
    path = normpath(text)
    return None if path == "." else path

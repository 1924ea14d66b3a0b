"""The rows of a user's table of videos: labels, people, splits; invalid values are findings."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Final

from semblance.ingest.sources.base import SPLIT_NAMES
from semblance.ingest.sources.entries import short
from semblance.ingest.sources.folder_paths import Paths
from semblance.ingest.sources.folder_table import COLUMNS, Cells, Table
from semblance.manifests.records import PRISTINE, SourceFinding
from semblance.manifests.splits.temporal import parse_date
from semblance.manifests.user_tables import is_missing

_LABELS: Final = {"0": 0, "real": 0, "false": 0, "1": 1, "fake": 1, "true": 1}
_WRITTEN_OUT: Final = ("true", "false")
_WHOLE: Final = re.compile(r"([0-9]+)\.0+")  # an integer in a column with empty cells
_SCORE: Final = re.compile(r"[0-9]*\.[0-9]+([eE]-?[0-9]+)?|[0-9]+[eE]-[0-9]+")
_NAMED: Final = 4  # most files in a finding
BY_NAME: Final = "videos that the table names without their full path, or in another case (one file fits each)"
ORIGINALS_BY_NAME: Final = (
    "originals that the table names without their full path, or in another case (one video fits each)"
)
BACK_SLASHES: Final = "paths that the table writes with \\ (read as /)"
WRITTEN_OUT: Final = "labels that the table writes as True or False (True is read as fake)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row with a usable path and label; paths are relative to the root, people and recordings as written."""

    path: str
    label: int
    place: str = field(compare=False)  # "line 7"
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


@dataclass(slots=True, kw_only=True)
class Rows:
    """The usable rows by path, findings about the others in the order of the table, and what was read how often."""

    by_path: dict[str, Row] = field(default_factory=dict)
    findings: list[SourceFinding] = field(default_factory=list)
    facts: Counter[str] = field(default_factory=Counter)


def read_rows(table: Table, root: str, files: Collection[str], videos: Collection[str]) -> Rows:
    """The rows of ``table``; a path that occurs twice with different values has none.

    A video that is not given by its path is found by the end of it, such as its name, with or without suffix, if only
    one of ``videos`` fits; likewise an original, among all but the fakes.
    """
    rows = Rows()
    paths = Paths(root, files, videos)
    found: defaultdict[str, list[tuple[str, Row | None]]] = defaultdict(list)
    for place, cells, count in table.rows():
        path, fault = _path(cells.get("path"), paths, rows.facts)
        if path is None:
            rows.findings.append(SourceFinding(path=table.path, kind="bad_row", reason=f"{place}: {fault}"))
            continue
        notes = [f"has {count} values for {len(table.header)} columns"] if count != len(table.header) else []
        found[path].append((place, _row(path, place, cells, paths, notes, rows.facts)))
        rows.findings += [bad_line(table.path, path, place, note) for note in notes]
    for path, given in found.items():
        row, note = _agreed([row for _, row in given])
        if note:
            rows.findings.append(bad_line(table.path, path, ", ".join(place for place, _ in given[:_NAMED]), note))
        if row is not None:
            rows.by_path[path] = row
    _find_originals(rows, table.path, Paths(root, [*files, *found], {*videos, *found}))
    return rows


def bad_line(table: str, path: str, place: str, reason: str) -> SourceFinding:
    """The finding for the row of a video."""
    return SourceFinding(path=table, kind="bad_row", reason=f"row {short(path)} ({place}): {reason}")


def _path(text: str | None, paths: Paths, facts: Counter[str]) -> tuple[str | None, str]:
    """The path of the row's video, or what is wrong with it."""
    if text is None or (is_missing(text) and text not in paths):
        return None, f"path {short(text)} is not a path below the root"
    path = paths.written(text)
    if path is None:
        fits = paths.named(re.split(r"[/\\]", text.strip())[-1])
        hint = f"; {short(fits[0])} has its name" if len(fits) == 1 else ""
        return None, f"path {short(text)} is not a path below the root{hint}"
    facts[BACK_SLASHES] += "\\" in text and "\\" not in path
    if path in paths:
        return path, ""
    fits = paths.named(path)
    if len(fits) > 1:
        return None, f"path {short(text)} fits {len(fits)} files ({_some(fits)}), so none is used; write the whole path"
    facts[BY_NAME] += len(fits)
    return (fits[0] if fits else path), ""


def _some(paths: Sequence[str]) -> str:
    more = [f"and {len(paths) - _NAMED} more"] if len(paths) > _NAMED else []
    return ", ".join([*map(short, paths[:_NAMED]), *more])


def _agreed(given: Sequence[Row | None]) -> tuple[Row | None, str | None]:
    """The row that all lines of a video agree on, and what is to be said about them."""
    first = given[0]
    if len(given) == 1:
        return first, None
    if len(set(given)) == 1:
        return first, f"occurs {len(given)} times with the same values"
    columns = [column.name for column in fields(Row) if column.compare]
    differing = [name for name in columns if len({getattr(row, name, None) for row in given}) > 1]
    what = "label" if "label" in differing else " and ".join(differing)
    return None, f"occurs twice with different values of {what}, so its video is unlabelled"


def _row(path: str, place: str, cells: Cells, paths: Paths, notes: list[str], facts: Counter[str]) -> Row | None:
    """The row, None without a usable label; everything wrong with it is added to ``notes``."""
    texts = {name: "" if is_missing(text := cells.get(name)) else (text or "").strip() for name in COLUMNS}
    label = _label(texts["label"], cells.get("label"), notes)
    if label is None:
        return None
    facts[WRITTEN_OUT] += texts["label"].lower() in _WRITTEN_OUT
    split = SPLIT_NAMES.get(texts["split"].lower())
    if texts["split"] and split is None:
        notes.append(f"split {short(texts['split'])} is not train, val or test, so it is unknown")
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
    if label == 0 and paths.written(texts["original"]) == path:  # many tables say so of every real
        texts["original"] = ""
    original = _file(path, "original", texts, paths, notes)
    mask = _file(path, "mask", texts, paths, notes)
    people = {name: _canonical(texts[name]) for name in ("target", "donor", "recording", "donor_recording")}
    return Row(
        path=path,
        label=label,
        place=place,
        method=PRISTINE if label == 0 else method,
        compression=texts["compression"] or None,
        original=original,
        split=split,
        date=date or None,
        mask=mask,
        **people,
    )


def _label(text: str, written: str | None, notes: list[str]) -> int | None:
    whole = _WHOLE.fullmatch(text)
    label = _LABELS.get((whole[1] if whole else text).lower())
    if label is None:
        score = " (a score is no label)" if _SCORE.fullmatch(text) and not whole else ""
        notes.append(f"label {short(written)} is not 0, 1, real or fake{score}, so its video is unlabelled")
    return label


def _canonical(text: str) -> str | None:
    """An id in canonical form: many programs write integers as ``12.0`` in a column with empty cells."""
    match = _WHOLE.fullmatch(text)
    return (match[1] if match else text) or None


def _file(path: str, name: str, texts: Mapping[str, str], paths: Paths, notes: list[str]) -> str | None:
    """The path of another file in column ``name``; None if there is none."""
    if not (text := texts[name]):
        return None
    file = paths.written(text)
    if file is None or file == path:
        what = "its own path" if file else "not a path below the root"
        notes.append(f"{name} {short(text)} is {what}, so it is not used")
        return None
    return file


def _find_originals(rows: Rows, table: str, paths: Paths) -> None:
    """Find originals that are given by name among all videos but the fakes; of several that fit none is used."""
    labels = {path: row.label for path, row in rows.by_path.items()}
    for path, row in rows.by_path.items():
        if row.original is None or row.original in paths:
            continue
        named = paths.named(row.original)
        fits = [one for one in named if one != path and labels.get(one) != 1]
        original = None if row.label == 0 and path in named else row.original
        if len(fits) == 1:
            original = fits[0]
            rows.facts[ORIGINALS_BY_NAME] += 1
        elif fits:
            note = (
                f"original {short(original)} fits {len(fits)} videos ({_some(fits)}), so none is used; write its path"
            )
            rows.findings.append(bad_line(table, path, row.place, note))
            original = None
        rows.by_path[path] = replace(row, original=original)

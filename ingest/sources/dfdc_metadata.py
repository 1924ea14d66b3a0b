"""DFDC's metadata: labels and originals of videos, and findings for invalid rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from posixpath import dirname
from typing import Final

from semblance.ingest.sources.entries import Repeated, bad_row, read_or_note, short
from semblance.manifests.records import SourceFinding

METADATA: Final = ("metadata.json", "labels.csv")
SUFFIX: Final = ".mp4"
ADVICE: Final = "copy metadata.json or labels.csv from the dataset again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A usable row of metadata: whether the file is fake, and its original. Names have no suffix."""

    stem: str
    fake: bool
    original: str | None
    source: str  # the metadata file


@dataclass(slots=True, kw_only=True)
class Part:
    """A folder with metadata: its usable rows by stem, and findings about the others."""

    readable: bool = False
    rows: dict[str, Row] = field(default_factory=dict)
    findings: list[SourceFinding] = field(default_factory=list)


def read_parts(root: str, tables: Sequence[str]) -> dict[str, Part]:
    """Folder -> its rows, and findings for invalid ones. A video with contradictory rows has none."""
    parts: dict[str, Part] = defaultdict(Part)
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for path in tables:
        folder = dirname(path)
        part = parts[folder]
        entries, finding = read_or_note(root, path, "labels of the videos in its folder", ADVICE)
        part.findings.append(finding)
        part.readable |= entries is not None
        for name, value in entries or ():
            row = _row(name, value, path)
            if isinstance(row, Row):
                found[folder, row.stem].append(row)
            else:
                part.findings.append(bad_row(path, name, row))
    for (folder, stem), rows in found.items():
        if len({row.fake for row in rows}) > 1 or len({row.original for row in rows if row.original}) > 1:
            parts[folder].findings += [
                bad_row(path, stem, "occurs twice with different values, so its video is unlabelled")
                for path in sorted({row.source for row in rows})
            ]
            continue
        parts[folder].rows[stem] = max(rows, key=lambda row: row.original is not None)
        for path, count in Counter(row.source for row in rows).items():
            if count > 1:
                parts[folder].findings.append(bad_row(path, stem, f"occurs {count} times with the same values"))
    return dict(parts)


def _row(name: str, value: object, source: str) -> Row | str:
    """The row, or what is wrong with it. Key ``split`` must be a string if present, and is not used."""
    if not _is_plain(name):
        return "is not a plain name of an mp4 file"
    if isinstance(value, Repeated):
        return "has a key twice"
    if not isinstance(value, dict):
        return "is not an object"
    fake = _fake(value)
    if isinstance(fake, str):
        return fake
    if not isinstance(value.get("split"), str | None):
        return f"split {short(value['split'])} is not a string"
    original = value.get("original")
    if original is not None and not (isinstance(original, str) and _is_plain(original)):
        return f"original {short(original)} is not a plain name of an mp4 file"
    if not fake and original not in (None, name):
        return f"is REAL, but has the original {original!r}"
    stem = original[: -len(SUFFIX)] if fake and original else None
    return Row(stem=name[: -len(SUFFIX)], fake=fake, original=stem, source=source)


def _fake(value: Mapping[str, object]) -> bool | str:
    """Whether the row's video is fake, or what is wrong with its label."""
    values: list[bool] = []
    if (label := value.get("label")) is not None:
        if not isinstance(label, str) or label.upper() not in ("REAL", "FAKE"):
            return f"label {short(label)} is neither REAL nor FAKE"
        values.append(label.upper() == "FAKE")
    if (number := value.get("is_fake")) is not None:
        if not isinstance(number, int) or number not in (0, 1):
            return f"label {short(number)} is neither 0 (real) nor 1 (fake)"
        values.append(bool(number))
    if not values:
        return "has no label"
    return values[0] if len(set(values)) == 1 else "has a label and an is_fake that contradict each other"


def _is_plain(name: str) -> bool:
    return name.isprintable() and not set(name) & set("/\\") and name[:1] != "." and name.lower().endswith(SUFFIX)

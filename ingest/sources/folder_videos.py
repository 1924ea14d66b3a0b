"""The videos of a user's table: one for each row and each file, with their families and people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from posixpath import splitext
from typing import Final

from semblance.ingest.sources import base
from semblance.ingest.sources.entries import short
from semblance.ingest.sources.folder_rows import Row, bad_line, read_rows
from semblance.ingest.sources.folder_table import Table
from semblance.manifests.datasets import Basis
from semblance.manifests.datasets.folder import INFO
from semblance.manifests.ids import make_video_id
from semblance.manifests.records import SourceFinding, Video

_REASONS: Final = 3  # most rows in the error if no video has a label


def video_id(path: str) -> str:
    """``folder-fake-blend-x`` for ``fake/blend/x.mp4``; any other path of this form ends in a hash."""
    stem, suffix = splitext(path)
    if suffix == ".mp4" and "-" not in stem:
        return make_video_id(INFO.name, *stem.split("/"))
    return make_video_id(INFO.name, path)


def from_table(
    sizes: Mapping[str, int], frames: Mapping[str, int], table: Table, root: str, excluded: set[str]
) -> tuple[list[Video], dict[str, int], list[SourceFinding]]:
    """All rows as videos, and all other video files unlabelled; ``excluded`` files have findings already.

    ``frames``: the folders of pictures, which are videos if the table lists them, and their bytes.
    """
    files = sizes.keys() - {table.place}
    rows = read_rows(table, root, files | frames.keys(), set(filter(base.is_video, files)) | frames.keys())
    findings = rows.findings
    videos: dict[str, Video] = {}
    for path, row in sorted(rows.by_path.items()):
        if path in excluded or path == table.place:
            findings.append(bad_line(table.path, path, row.place, "is a hidden file or the table itself, not a video"))
            continue
        mask = row.mask
        if mask is not None and (mask not in files or mask in rows.by_path):
            note = f"mask {short(mask)} is missing or is a video itself; not used"
            findings.append(bad_line(table.path, path, row.place, note))
            mask = None
        videos[path] = _listed(row, mask, sizes.get(path, frames.get(path)))
    masks = {video.mask for video in videos.values()}
    for path in sorted(files - videos.keys() - masks):
        if base.is_video(path):
            note = "the table has no usable row for it; add or fix its row, or move the file away"
            video = Video(video_id=video_id(path), path=path, dataset=INFO.name, family_id=video_id(path))
            videos[path] = replace(video, bytes=sizes[path], fault="unlabelled", fault_note=note)
    planned, facts, more = _with_families(videos, rows.by_path, table.path)
    return planned, {**rows.facts, **facts}, findings + more


def no_label(root: str, table: Table, planned: Sequence[Video], findings: Sequence[SourceFinding]) -> str:
    """Why no video of the table can be built, by the first rows."""
    missing = [video.path for video in planned if video.fault == "missing"]
    reasons = [finding.reason for finding in findings if finding.kind == "bad_row"]
    reasons += [f"{short(path)} is not below {root}" for path in missing]
    count = len(table.sheet.lines)
    more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
    return (
        f"None of the {count} rows of the table {table.written} gives a label to a file below {root}: "
        f"{'; '.join(reasons[:_REASONS])}{more}."
    )


def _listed(row: Row, mask: str | None, size: int | None) -> Video:
    note = None if size is not None else "listed in the table, but the file is missing; get it or remove the row"
    return Video(
        video_id=video_id(row.path),
        path=row.path,
        dataset=INFO.name,
        label=row.label,
        method=row.method,
        compression=row.compression,
        family_id=video_id(row.path),
        target_id=_named(row.target),
        donor_id=_named(row.donor),
        recording_id=_named(row.recording),
        donor_recording_id=_named(row.donor_recording),
        split_official=row.split,
        date=row.date,
        mask=mask,
        bytes=size,
        fault=None if size is not None else "missing",
        fault_note=note,
    )


def _named(text: str | None) -> str | None:
    return make_video_id(INFO.name, text) if text else None


def _with_families(
    videos: Mapping[str, Video], rows: Mapping[str, Row], where: str
) -> tuple[list[Video], dict[str, int], list[SourceFinding]]:
    """Assign videos to the families of their originals; a fake shows its original's people."""
    originals = {path: rows[path].original or "" for path in videos if path in rows and rows[path].original}
    roots = base.family_roots(originals)
    findings = []
    facts: Counter[str] = Counter()
    planned = []
    for path, video in videos.items():
        named = originals.get(path)
        original = videos.get(named) if named else None
        if named and original is not None and original.label == 1:
            reason = f"row {short(path)} ({rows[path].place}): its original {short(named)} is also a fake"
            findings.append(SourceFinding(path=where, kind="bad_original", reason=reason))
        root = videos.get(roots.get(path, path))
        if root is not None and root is not video and root.label == 0:
            video, notes = _with_people(video, root)
            findings += [bad_line(where, path, rows[path].place, note) for note in notes]
        if video.label == 1 and video.fault is None:
            facts[base.ORIGINAL_UNNAMED] += named is None
            absent = named is not None and (original is None or original.fault == "missing")
            facts[base.ORIGINAL_ABSENT] += absent
            unlabelled = original is not None and original.fault == "unlabelled"
            facts[base.ORIGINAL_UNLABELLED] += unlabelled
        planned.append(replace(video, family_id=video_id(roots.get(path, path))))
    return planned, dict(facts), findings


def _with_people(video: Video, original: Video) -> tuple[Video, list[str]]:
    """The video with missing target and recording filled from its original, and contradictions."""
    notes = []
    for name, original_name in ((video.target_id, original.target_id), (video.recording_id, original.recording_id)):
        if name and original_name and name != original_name:
            notes.append(f"has {short(name)}, its original has {short(original_name)}; both are kept, in one family")
    video = replace(
        video,
        target_id=video.target_id or original.target_id,
        recording_id=video.recording_id or original.recording_id,
    )
    return video, notes


def identities(videos: Sequence[Video]) -> tuple[list[Video], Basis | None]:
    """What the table's ids identify: people if it has any, else recordings, else nothing."""
    if any(video.target_id or video.donor_id for video in videos):
        return list(videos), "person"
    if not any(video.recording_id or video.donor_recording_id for video in videos):
        return list(videos), None
    shown = [replace(video, target_id=video.recording_id, donor_id=video.donor_recording_id) for video in videos]
    return shown, "recording"

"""Reader of a user's own videos: ``real/**`` and ``fake/<method>/**``, or a table of paths and labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from posixpath import basename, splitext
from typing import Final

from semblance.ingest.sources import base
from semblance.ingest.sources.base import IN_ROOT, Discovery, Source, SourceConfig
from semblance.ingest.sources.entries import bad_row, short
from semblance.ingest.sources.folder_table import Row, Table, read_table
from semblance.ingest.sources.registry import register
from semblance.manifests.datasets import Basis
from semblance.manifests.datasets.folder import INFO
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import PRISTINE, SourceFinding, Video, make_video_id
from semblance.manifests.storage import Stat

SUFFIXES: Final = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
_HOW: Final = "put videos into real/ and fake/<method>/, or list them in a table (--set source.table=FILE)"
_NO_REAL: Final = (
    "fakes without an original (give fake and real the same file name, or use column original of a table: --set "
    "source.table=FILE)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Metadata from a file's folders: label, method, and its path below them without suffix."""

    fake: bool
    method: str | None
    key: str


@register
class Folder(Source):
    """The reader of a user's own collection."""

    info = INFO

    def discover(self, root: str, files: Sequence[Stat], config: SourceConfig = IN_ROOT) -> Discovery:
        """Videos and findings below ``root``; with ``config.table`` labels come only from the table.

        Raises SemblanceError if no video has a label, the table cannot be read, or two files have the same id.
        """
        sizes, findings = base.sift(files)
        basis: Basis | None = None
        tables: tuple[tuple[str, str], ...] = ()
        if config.table is None:
            planned, facts = _from_folders(sizes)
            found = _bad_methods(planned)
        else:
            table = read_table(root, config.table)
            excluded = {finding.path for finding in findings}
            planned, facts, more = _from_table(sizes, table, excluded)
            planned, basis = _identities(planned)
            found, tables = [*table.findings, *more], ((table.name, table.sha256),)
            sizes.pop(table.place or "", None)
        if not any(video.label is not None for video in planned):
            raise SemblanceError(f"No video below {root} has a label; {_HOW}.")
        used = {path for video in planned for path in (video.path, video.mask)}
        unread = base.others(sizes.keys() - used, "not a video")
        return base.discovery(planned, [*findings, *found, *unread], facts, tables=tables, identity_basis=basis)


def video_id(path: str) -> str:
    """``folder-fake-blend-x`` for ``fake/blend/x.mp4``; any other path of this form ends in a hash."""
    stem, suffix = splitext(path)
    if suffix == ".mp4" and "-" not in stem:
        return make_video_id(INFO.name, *stem.split("/"))
    return make_video_id(INFO.name, path)


def _is_video(path: str) -> bool:
    return path.lower().endswith(SUFFIXES)


# folders ------------------------------------------------------------------------------------------------------


def place_of(path: str) -> Place | None:
    """Metadata from the folders of ``path``; None outside ``real/`` and ``fake/``."""
    top, *below = splitext(path)[0].split("/")
    if not below or top.lower() not in ("real", "fake"):
        return None
    if top.lower() == "real":
        return Place(fake=False, method=PRISTINE, key="/".join(below))
    method = below[0] if len(below) > 1 and below[0] != PRISTINE else None
    return Place(fake=True, method=method, key="/".join(below[1:] or below))


def _from_folders(sizes: Mapping[str, int]) -> tuple[list[Video], dict[str, int]]:
    """All videos; the original of a fake is the real with the same path, or the only one with the same name."""
    places = {path: place_of(path) for path in sorted(sizes) if _is_video(path)}
    reals = {place.key for place in places.values() if place and not place.fake}
    by_name: defaultdict[str, set[str]] = defaultdict(set)
    for key in reals:
        by_name[basename(key)].add(key)
    videos = []
    facts: Counter[str] = Counter()
    for path, place in places.items():
        video = Video(
            video_id=video_id(path), path=path, dataset=INFO.name, family_id=video_id(path), bytes=sizes[path]
        )
        if place is None:
            note = f"it is neither in real/ nor in fake/; {_HOW}"
            videos.append(replace(video, fault="unlabelled", fault_note=note))
            continue
        key = place.key
        if place.fake and key not in reals:
            named = by_name[basename(key)]
            key = min(named) if len(named) == 1 else key
            facts[_NO_REAL] += not named
            facts["fakes whose name several reals have (none is used; detected without a guide)"] += len(named) > 1
        part = "real" if not place.fake else "fake" if place.method is None else f"fake/{place.method}"
        family = video_id(f"real/{key}.mp4")
        videos.append(replace(video, part=part, label=int(place.fake), method=place.method, family_id=family))
    return videos, dict(facts)


def _bad_methods(videos: Iterable[Video]) -> list[SourceFinding]:
    """Findings for folders of fakes named like the method of reals: their method is unknown."""
    folders = sorted({"/".join(video.path.split("/")[:2]) for video in videos if _is_called_pristine(video)})
    reason = f"{PRISTINE} is the method of reals, so the method of the fakes in it is unknown"
    return [SourceFinding(path=f"{path}/", kind="bad_method", reason=reason) for path in folders]


def _is_called_pristine(video: Video) -> bool:
    folders = video.path.split("/")[:-1]
    return video.label == 1 and folders[1:2] == [PRISTINE]


# table --------------------------------------------------------------------------------------------------------


def _from_table(
    sizes: Mapping[str, int], table: Table, excluded: set[str]
) -> tuple[list[Video], dict[str, int], list[SourceFinding]]:
    """All rows as videos, and all other video files unlabelled; ``excluded`` files have findings already."""
    where = table.place or table.name
    findings = []
    videos: dict[str, Video] = {}
    for path, row in sorted(table.rows.items()):
        if path in excluded or path == table.place:
            findings.append(bad_row(where, path, "is a hidden file or the table itself, not a video"))
            continue
        mask = row.mask
        if mask is not None and (mask not in sizes or mask in table.rows or mask == table.place):
            findings.append(bad_row(where, path, f"mask {short(mask)} is missing or is a video itself; not used"))
            mask = None
        videos[path] = _listed(row, mask, sizes.get(path))
    masks = {video.mask for video in videos.values()}
    for path in sorted(sizes.keys() - videos.keys() - masks - {table.place}):
        if _is_video(path):
            note = "the table has no usable row for it; add or fix its row, or move the file away"
            video = Video(video_id=video_id(path), path=path, dataset=INFO.name, family_id=video_id(path))
            videos[path] = replace(video, bytes=sizes[path], fault="unlabelled", fault_note=note)
    planned, facts, more = _with_families(videos, table.rows, where)
    return planned, facts, findings + more


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
            reason = f"its original {short(named)} is also a fake"
            findings.append(SourceFinding(path=where, kind="bad_original", reason=f"row {short(path)}: {reason}"))
        root = videos.get(roots.get(path, path))
        if root is not None and root is not video and root.label == 0:
            video, notes = _with_people(video, root)
            findings += [bad_row(where, path, note) for note in notes]
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


def _identities(videos: Sequence[Video]) -> tuple[list[Video], Basis | None]:
    """What the table's ids identify: people if it has any, else recordings, else nothing."""
    if any(video.target_id or video.donor_id for video in videos):
        return list(videos), "person"
    if not any(video.recording_id or video.donor_recording_id for video in videos):
        return list(videos), None
    shown = [replace(video, target_id=video.recording_id, donor_id=video.donor_recording_id) for video in videos]
    return shown, "recording"

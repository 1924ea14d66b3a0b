"""Reader of DFDC: train parts, the 400-video sample, validation and test, in all common spellings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from posixpath import basename, dirname, join
from typing import Final

from semblance.ingest.sources import base
from semblance.ingest.sources.base import IN_ROOT, Coverage, Discovery, Source, SourceConfig
from semblance.ingest.sources.dfdc_metadata import ADVICE, METADATA, SUFFIX, Part, read_parts
from semblance.ingest.sources.registry import register
from semblance.manifests.datasets.dfdc import INFO
from semblance.manifests.errors import SemblanceError
from semblance.manifests.ids import make_video_id
from semblance.manifests.records import PRISTINE, SourceFinding, Video
from semblance.manifests.storage import Stat

_TRAIN_PART: Final = re.compile(r"dfdc_train_part_0*([0-9]+)")
_PART_NAMES: Final = {
    "": "root",
    "train_sample_videos": "train_sample",
    "validation_videos": "validation",
    "test_videos": "test",
}
_OFFICIAL: Final = {"validation": "val", "test": "test"}


@register
class Dfdc(Source):
    """The reader of DFDC's layout."""

    info = INFO

    def discover(self, root: str, files: Sequence[Stat], config: SourceConfig = IN_ROOT) -> Discovery:
        """Videos and findings below ``root``.

        A folder with metadata.json or labels.csv is a part; its videos are in it or in its folder ``videos``. Raises
        SemblanceError if there is no video or no readable metadata, or if two files have the same id.
        """
        del config  # DFDC has no side tables except those in its folders
        sizes, findings = base.sift(files)
        videos = sorted(path for path in sizes if path.lower().endswith(SUFFIX))
        if not videos:
            raise SemblanceError(f"No mp4 file below {root}; pass the folder that contains the DFDC parts.")
        tables = sorted(path for path in sizes if basename(path) in METADATA)
        parts = read_parts(root, tables)
        if not any(part.readable for part in parts.values()):
            raise SemblanceError(
                f"No metadata.json or labels.csv below {root} is readable, so no video has a label; {ADVICE}."
            )
        findings += [finding for part in parts.values() for finding in part.findings]
        there = [_there(path, sizes[path], parts) for path in videos]
        base.refuse_collisions(there)
        missing, doubled = _missing(there, parts)
        planned, chained, counted = _with_families([*there, *missing], parts)
        unread = base.others(sizes.keys() - set(videos) - set(tables), "not part of the DFDC layout")
        return base.discovery(planned, [*findings, *doubled, *chained, *unread], counted, coverage=_coverage(planned))


def _coverage(planned: Sequence[Video]) -> tuple[Coverage, ...]:
    """Videos on disk compared with the full set (numbers of rows in the official metadata)."""
    there = Counter(video.split_official for video in planned if video.fault != "missing")
    parts = {video.part for video in planned if video.split_official == "train" and video.fault != "missing"}
    found = {"train parts": len(parts - {"train_sample"}), "train videos": there["train"]}
    found |= {"validation videos": there["val"], "test videos": there["test"]}
    return base.covered(INFO, found)


def _part_folder(path: str, parts: Mapping[str, Part]) -> str:
    """The part that a file belongs to: its folder, or the one above a folder ``videos`` without metadata."""
    folder = dirname(path)
    return dirname(folder) if folder not in parts and basename(folder) == "videos" else folder


def _there(path: str, size: int, parts: Mapping[str, Part]) -> Video:
    """A file on disk, with its label or the reason for a missing one."""
    folder, stem = _part_folder(path, parts), basename(path)[: -len(SUFFIX)]
    part = parts.get(folder)
    if part and (row := part.rows.get(stem)):
        return _video(path, stem, folder, row.fake, size)
    if part is None:
        note = f"its folder has neither {METADATA[0]} nor {METADATA[1]}"
    elif part.readable:
        note = "the metadata of its folder has no usable row for it"
    else:
        note = "the metadata of its folder cannot be read"
    video = _video(path, stem, folder, None, size)
    return replace(video, fault="unlabelled", fault_note=f"{note}; {ADVICE}")


def _missing(there: Sequence[Video], parts: Mapping[str, Part]) -> tuple[list[Video], list[SourceFinding]]:
    """A planned video for every row without a file; a finding for every row whose video is planned elsewhere."""
    known = {video.video_id: video for video in there}
    places = {(_part_folder(video.path, parts), video.video_id): video for video in there}
    direct = {dirname(video.path) for video in there}
    missing, findings = [], []
    for folder, part in sorted(parts.items()):
        for stem, row in sorted(part.rows.items()):
            video_id = _id(stem)
            if (folder, video_id) in places:
                continue
            if other := known.get(video_id):
                verdict = "agrees" if other.label == int(row.fake) else "does not agree"
                reason = f"row {stem + SUFFIX!r}: planned as {other.path}, whose label {verdict}"
                findings.append(SourceFinding(path=row.source, kind="row_elsewhere", reason=reason))
                continue
            nested = join(folder, "videos")
            place = nested if nested in direct and folder not in direct and nested not in parts else folder
            video = _video(join(place, stem + SUFFIX), stem, folder, row.fake)
            note = "listed in the metadata, but the file is missing; get it again or remove the row"
            known[video_id] = replace(video, fault="missing", fault_note=note)
            missing.append(known[video_id])
    return missing, findings


def _id(stem: str) -> str:
    return make_video_id(INFO.name, stem)


def _video(path: str, stem: str, folder: str, fake: bool | None, size: int | None = None) -> Video:
    part = part_name(folder)
    return Video(
        video_id=_id(stem),
        path=path,
        dataset=INFO.name,
        part=part,
        split_official="train" if part.startswith("train_") else _OFFICIAL.get(part),
        label=None if fake is None else int(fake),
        method=PRISTINE if fake is False else None,
        family_id=_id(stem),
        bytes=size,
    )


def part_name(folder: str) -> str:
    """One spelling for a part: ``train_07``, ``train_sample``, ``validation``, ``test``, or the name of the folder."""
    name = basename(dirname(folder) if basename(folder) == "videos" else folder)
    if match := _TRAIN_PART.fullmatch(name):
        return f"train_{match[1]:0>2}"
    return _PART_NAMES.get(name, name)


def _with_families(
    videos: Sequence[Video], parts: Mapping[str, Part]
) -> tuple[list[Video], list[SourceFinding], dict[str, int]]:
    """Assign every fake to the family of its original, which may be missing."""
    known = {video.video_id: video for video in videos}
    originals: dict[str, str] = {}
    findings = []
    for row in (row for _, part in sorted(parts.items()) for row in part.rows.values()):
        if row.original is None or known[_id(row.stem)].label != 1:
            continue
        named = known.get(_id(row.original))
        if named is not None and named.label == 1:
            reason = f"row {row.stem + SUFFIX!r}: its original {row.original + SUFFIX!r} is also a fake"
            findings.append(SourceFinding(path=row.source, kind="bad_original", reason=reason))
        originals.setdefault(_id(row.stem), _id(row.original))
    roots = base.family_roots(originals)
    joined = [replace(video, family_id=roots[video.video_id]) if video.video_id in roots else video for video in videos]
    fakes = [video for video in videos if video.label == 1 and video.fault is None]
    there = {video.video_id: video for video in videos if video.fault != "missing"}
    named_ids = [originals[video.video_id] for video in fakes if video.video_id in originals]
    counts = {
        base.ORIGINAL_ABSENT: sum(name not in there for name in named_ids),
        base.ORIGINAL_UNLABELLED: sum(name in there and there[name].label is None for name in named_ids),
        base.ORIGINAL_UNNAMED: len(fakes) - len(named_ids),
    }
    return joined, findings, counts

"""Reader of Celeb-DF-v2: celebrities, face swaps between them, people from YouTube, and a list of test videos."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from semblance.ingest.sources import base, lists
from semblance.ingest.sources.base import IN_ROOT, Coverage, Discovery, Source, SourceConfig
from semblance.ingest.sources.entries import bad_row, short
from semblance.ingest.sources.lists import SideTable
from semblance.ingest.sources.registry import register
from semblance.manifests.datasets.celebdf import INFO
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import PRISTINE, SourceFinding, Video, make_video_id
from semblance.manifests.storage import Stat

SUFFIX: Final = ".mp4"
TEST_LIST: Final = "List_of_testing_videos.txt"
CELEBS: Final = "Celeb-real"
YOUTUBE: Final = "YouTube-real"
FAKES: Final = "Celeb-synthesis"
METHOD: Final = "CelebDF"
_FORMS: Final = {  # target, then donor or clip
    CELEBS: re.compile(r"(id[0-9]+)_([0-9]+)"),
    YOUTUBE: re.compile(r"[0-9]+"),
    FAKES: re.compile(r"(id[0-9]+)_(id[0-9]+)_([0-9]+)"),
}
_EXAMPLES: Final = {CELEBS: "id0_0000.mp4", YOUTUBE: "00000.mp4", FAKES: "id0_id1_0000.mp4"}
Key = tuple[str, str]  # folder and stem of a video, in the list and on disk


@dataclass(slots=True, kw_only=True)
class Tested:
    """The videos of the published test set, and findings about the list."""

    keys: set[Key] = field(default_factory=set)
    findings: list[SourceFinding] = field(default_factory=list)


@register
class CelebDf(Source):
    """The reader of Celeb-DF-v2's layout."""

    info = INFO

    def discover(self, root: str, files: Sequence[Stat], config: SourceConfig = IN_ROOT) -> Discovery:
        """Videos and findings below ``root``; videos are recognised by their folder and name, at any depth.

        Videos that are not on the test list are published for training. Raises SemblanceError if there is no video of
        the dataset, if two files have the same id, or if ``config.lists`` has no list.
        """
        sizes, findings = base.sift(files)
        keys = {path: key_of(path) for path in sorted(sizes) if path.lower().endswith(SUFFIX)}
        if not any(keys.values()):
            raise SemblanceError(
                f"No mp4 file in {CELEBS}, {YOUTUBE} or {FAKES} below {root}; pass the folder that contains them."
            )
        bases = {"", *(path[: path.rindex(f"{key[0]}/")] for path, key in keys.items() if key)}
        tables = lists.find(root, sizes.keys(), config.lists, [TEST_LIST], sorted(bases))
        tested = _read(tables)
        videos = [replace(_video(path, key, tested), bytes=sizes[path]) for path, key in keys.items()]
        unread = sizes.keys() - keys.keys() - {table.path for table in tables if table.inside}
        return base.discovery(
            videos,
            [*findings, *tested.findings, *base.others(unread, "nothing that is read of the layout")],
            _facts(videos, {key for key in keys.values() if key}, tested),
            coverage=_coverage(videos),
            tables=tuple(table.hashed for table in tables),
        )


def key_of(path: str) -> Key | None:
    """The last folder of the dataset in the path, and the stem; None if there is no such folder."""
    *folders, name = path.split("/")
    folder = next((name for name in reversed(folders) if name in _FORMS), None)
    return (folder, name[: -len(SUFFIX)]) if folder else None


def _read(tables: Sequence[SideTable]) -> Tested:
    """The videos on the list, which has no header; label and folder must agree (1 means real)."""
    tested = Tested()
    for table in tables:
        try:
            text = table.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            reason = f"cannot be read ({error}), so there is no published test set; copy it from the dataset again"
            tested.findings.append(SourceFinding(path=table.path, kind="unreadable_metadata", reason=reason))
            continue
        found: Counter[Key] = Counter()
        for number, line in enumerate(text.split("\n"), start=1):
            label, _, place = line.strip().partition(" ")
            if not label:
                continue
            key = key_of(place.strip()) if place.endswith(SUFFIX) else None
            if label not in ("0", "1") or key is None or not _FORMS[key[0]].fullmatch(key[1]):
                reason = f"line {number}: {short(line)} is not a label and a video, such as '1 {YOUTUBE}/00170.mp4'"
                tested.findings.append(SourceFinding(path=table.path, kind="bad_row", reason=reason))
                continue
            if (label == "1") == (key[0] == FAKES):
                reason = f"is listed as {'real' if label == '1' else 'fake'}, but its folder says otherwise and is used"
                tested.findings.append(bad_row(table.path, place, reason))
            found[key] += 1
        repeated = sorted(key for key, count in found.items() if count > 1)
        tested.findings += [bad_row(table.path, "/".join(key), f"occurs {found[key]} times") for key in repeated]
        tested.findings.append(
            SourceFinding(path=table.path, kind="metadata", reason="read: the published test videos")
        )
        tested.keys |= found.keys()
    return tested


def _video(path: str, key: Key | None, tested: Tested) -> Video:
    """A file on disk; without a folder and name of the dataset it has no label."""
    match = _FORMS[key[0]].fullmatch(key[1]) if key else None
    if key is None or match is None:
        video_id = make_video_id(INFO.name, path)
        where = f"its name is not of the form {_EXAMPLES[key[0]]}" if key else f"it is in none of {', '.join(_FORMS)}"
        return Video(
            video_id=video_id,
            path=path,
            dataset=INFO.name,
            part=key[0] if key else None,
            family_id=video_id,
            fault="unlabelled",
            fault_note=f"{where}; rename it or move it away",
        )
    folder, stem = key
    fake = folder == FAKES
    original = make_video_id(INFO.name, f"{match[1]}_{match[3]}" if fake else stem)
    return Video(
        video_id=make_video_id(INFO.name, stem),
        path=path,
        dataset=INFO.name,
        part=folder,
        label=int(fake),
        method=METHOD if fake else PRISTINE,
        family_id=original,
        target_id=None if folder == YOUTUBE else make_video_id(INFO.name, match[1]),
        donor_id=make_video_id(INFO.name, match[2]) if fake else None,
        recording_id=original,
        split_official=("test" if key in tested.keys else "train") if tested.keys else None,
    )


def _facts(videos: Sequence[Video], keys: set[Key], tested: Tested) -> dict[str, int]:
    there = {video.video_id for video in videos if video.label == 0}
    return {
        base.ORIGINAL_ABSENT: sum(video.label == 1 and video.family_id not in there for video in videos),
        f"videos of the published test set ({TEST_LIST}) that are not on disk": len(tested.keys - keys),
        f"videos without a published split, since there is no usable {TEST_LIST}": (
            0 if tested.keys else sum(video.label is not None for video in videos)
        ),
    }


def _coverage(videos: Sequence[Video]) -> tuple[Coverage, ...]:
    """Videos on disk compared with the full set (README of the authors; 59 people from their paper)."""
    counts = Counter(video.part or "" for video in videos if video.fault is None)
    counts["people"] = len(base.people_in(videos))
    counts["published test videos"] = sum(video.split_official == "test" for video in videos)
    return base.covered(INFO, counts)

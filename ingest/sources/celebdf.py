"""Reader of Celeb-DF-v2 and Celeb-DF++: celebrities, fakes of them, people from YouTube, and a list of test videos."""

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
from semblance.manifests.datasets.celebdf import INFO, METHODS
from semblance.manifests.errors import SemblanceError
from semblance.manifests.ids import make_video_id
from semblance.manifests.records import PRISTINE, SourceFinding, Video
from semblance.manifests.storage import Stat

SUFFIX: Final = ".mp4"
TEST_LIST: Final = "List_of_testing_videos.txt"
CELEBS: Final = "Celeb-real"
YOUTUBE: Final = "YouTube-real"
FAKES: Final = "Celeb-synthesis"
METHOD: Final = "CelebDF"
_OWN: Final = ("Celeb-DF", "Celeb-DF-v2")  # the folder of METHOD's fakes in Celeb-DF++
_TESTED: Final = 5_278  # fakes and reals on the list of Celeb-DF++ (README of its authors)
_FORMS: Final = {  # target, then donor or clip
    CELEBS: re.compile(r"(id[0-9]+)_([0-9]+)"),
    YOUTUBE: re.compile(r"[0-9]+"),
    FAKES: re.compile(r"(id[0-9]+)_(id[0-9]+)_([0-9]+)"),
}
_EXAMPLES: Final = {CELEBS: "id0_0000.mp4", YOUTUBE: "00000.mp4", FAKES: "id0_id1_0000.mp4"}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Key:
    """What names a video in the list and on disk: its folder, its stem and, in Celeb-DF++, type and method."""

    folder: str
    inner: tuple[str, ...] = ()  # ("FaceSwap", "SimSwap")
    stem: str

    def __str__(self) -> str:
        return "/".join([self.folder, *self.inner, self.stem])


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
        bases = {"", *(path[: path.rindex(f"{key.folder}/")] for path, key in keys.items() if key)}
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
    """The last folder of the dataset in the path, and the stem; None if there is no such folder.

    Fakes of Celeb-DF++ are in ``Celeb-synthesis/<type>/<method>/``, with the same names in every method.
    """
    *folders, name = path.split("/")
    place = max((place for place, folder in enumerate(folders) if folder in _FORMS), default=None)
    if place is None:
        return None
    inner = tuple(folder for folder in folders[place + 1 :] if folder.lower() != "videos")
    sorted_in = folders[place] == FAKES and len(inner) == 2
    return Key(folder=folders[place], inner=inner if sorted_in else (), stem=name[: -len(SUFFIX)])


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
            if label not in ("0", "1") or key is None or not _FORMS[key.folder].fullmatch(key.stem):
                reason = f"line {number}: {short(line)} is not a label and a video, such as '1 {YOUTUBE}/00170.mp4'"
                tested.findings.append(SourceFinding(path=table.path, kind="bad_row", reason=reason))
                continue
            if (label == "1") == (key.folder == FAKES):
                reason = f"is listed as {'real' if label == '1' else 'fake'}, but its folder says otherwise and is used"
                tested.findings.append(bad_row(table.path, place, reason))
            found[key] += 1
        repeated = sorted(key for key, count in found.items() if count > 1)
        tested.findings += [bad_row(table.path, str(key), f"occurs {found[key]} times") for key in repeated]
        tested.findings.append(
            SourceFinding(path=table.path, kind="metadata", reason="read: the published test videos")
        )
        tested.keys |= found.keys()
    return tested


def _video(path: str, key: Key | None, tested: Tested) -> Video:
    """A file on disk; without a folder and name of the dataset it has no label."""
    match = _FORMS[key.folder].fullmatch(key.stem) if key else None
    if key is None or match is None:
        video_id = make_video_id(INFO.name, path)
        where = (
            f"its name is not of the form {_EXAMPLES[key.folder]}" if key else f"it is in none of {', '.join(_FORMS)}"
        )
        return Video(
            video_id=video_id,
            path=path,
            dataset=INFO.name,
            part=key.folder if key else None,
            family_id=video_id,
            fault="unlabelled",
            fault_note=f"{where}; rename it or move it away",
        )
    fake = key.folder == FAKES
    original = make_video_id(INFO.name, f"{match[1]}_{match[3]}" if fake else key.stem)
    method = key.inner[-1] if key.inner and key.inner[-1] not in _OWN else METHOD
    return Video(
        video_id=make_video_id(INFO.name, *key.inner, key.stem),
        path=path,
        dataset=INFO.name,
        part="/".join([key.folder, *key.inner[:1]]),
        label=int(fake),
        method=(method if method != PRISTINE else None) if fake else PRISTINE,
        family_id=original,
        target_id=None if key.folder == YOUTUBE else make_video_id(INFO.name, match[1]),
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
    there = [video for video in videos if video.fault is None]
    counts = Counter(FAKES if video.method == METHOD else video.part or "" for video in there)
    counts["people"] = len(base.people_in(videos))
    tested = counts["published test videos"] = sum(video.split_official == "test" for video in videos)
    lines = base.covered(INFO, counts)
    if all("/" not in (video.part or "") for video in there):
        return lines
    methods = len({video.method for video in there if video.label == 1})
    return (
        *(line for line in lines if line.what != "published test videos"),
        Coverage(what="methods of Celeb-DF++", found=methods, full=len(METHODS) + 1),
        Coverage(what="published test videos of Celeb-DF++", found=tested, full=_TESTED),
    )

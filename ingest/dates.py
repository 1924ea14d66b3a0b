"""Dates of videos for the temporal split: the creation time in the container, or the release date of the dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Final

from semblance.manifests import storage
from semblance.manifests.config import Config
from semblance.manifests.records import Video
from semblance.manifests.splits.releases import release_of
from semblance.manifests.splits.temporal import DATED, parse_date
from semblance.quality import video as media

_OPEN_FILES: Final = 16  # at a time: probing waits for storage and needs no CPU
# Zero means 1904 in QuickTime containers and 1970 in others, all bits set means 2040; no camera wrote mp4 before 2000.
_YEARS: Final = range(2000, 2040)


class TemporalConfig(Config):
    """Where the temporal split takes its dates from, unless a table gives them.

    ``probe``: the creation time in the container, which opens every file. ``releases``: the day on which the dataset
    or the method was released. With both, releases are used if too few creation times are plausible.
    """

    probe: bool = False
    releases: bool = False


def dated(videos: Sequence[Video], root: str, config: TemporalConfig) -> tuple[Sequence[Video], tuple[str, ...]]:
    """The videos with dates of a single kind, and sentences about their origin; dates of a table are never mixed."""
    if not (config.probe or config.releases):
        return videos, ()
    if any(video.date for video in videos):
        return videos, ("dates: from the table; temporal.probe and temporal.releases are not used",)
    facts = []
    if config.probe:
        times, fact = _probed(videos, root)
        facts.append(fact)
        if times:
            return [replace(video, date=times.get(video.video_id)) for video in videos], tuple(facts)
    if config.releases:
        videos, sources = _released(videos)
        facts += sources
    return videos, tuple(facts)


def plausible(text: str | None) -> datetime | None:
    """The time in ``text``; None if there is none, or if it is the default of a clock that was never set."""
    date = parse_date(text)
    return date if date is not None and date.year in _YEARS else None


def _probed(videos: Sequence[Video], root: str) -> tuple[dict[str, str], str]:
    """Creation time by video id, and a sentence; empty if less than 95 % of the videos have a plausible one.

    A time shared by more than half of the videos comes from their conversion and is not used either.
    """
    files = [video for video in videos if video.fault is None]
    with ThreadPoolExecutor(_OPEN_FILES) as pool:
        times = pool.map(lambda video: _created(storage.join(root, video.path)), files)
        read = {video.video_id: text for video, text in zip(files, times, strict=True) if text and plausible(text)}
    common, count = max(Counter(read.values()).items(), key=lambda item: item[1], default=("", 0))
    if 2 * count > len(files) and len(files) > 1:
        return (
            {},
            f"dates: {count} of {len(files)} containers share the creation time {common}, probably of a conversion: "
            "not used",
        )
    share = f"{len(read)} of {len(files)} containers have a plausible creation time"
    if not read or len(read) < DATED * len(files):
        return {}, f"dates: {share}, but {DATED:.0%} are needed: not used"
    return read, f"dates: {share}; it is that of the last conversion, which may be later than the recording"


def _created(url: str) -> str | None:
    if not storage.is_remote(url):
        return media.created(url.removeprefix("file://"))
    try:
        with storage.reading(url) as file:
            return media.created(file)
    except (FileNotFoundError, IsADirectoryError):  # a folder of pictures
        return None


def _released(videos: Sequence[Video]) -> tuple[list[Video], list[str]]:
    releases = [release_of(video.dataset, video.part, video.method) for video in videos]
    sources = sorted({(release.date, release.source) for release in releases if release is not None})
    facts = [f"dates: released {date} ({source})" for date, source in sources] or ["dates: no release date is known"]
    dated_videos = [
        replace(video, date=release.date if release else None) for video, release in zip(videos, releases, strict=True)
    ]
    return dated_videos, facts

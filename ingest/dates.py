"""When a video was made, for the split by time: the creation time in its container, or its dataset's release."""

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
from semblance.manifests.splits.protocols import DATED, parse_date
from semblance.manifests.splits.releases import release_of
from semblance.quality import video as media

_OPEN: Final = 16  # files opened at once: it is waiting, not work
# Zero is 1904 in QuickTime's containers and 1970 in others; no camera wrote mp4 before 2000; all bits set is 2040.
_YEARS: Final = range(2000, 2040)


class TemporalConfig(Config):
    """Where the split by time takes its dates, for videos of which no table gives one.

    ``probe``: the container's creation time; this opens every file. ``releases``: the day on which the dataset or
    the method was given out. With both, releases are taken where too few creation times are plausible.
    """

    probe: bool = False
    releases: bool = False


def dated(videos: Sequence[Video], root: str, config: TemporalConfig) -> tuple[Sequence[Video], tuple[str, ...]]:
    """The videos with dates of one kind, and what to say of them; a table's dates are never mixed with others."""
    if not (config.probe or config.releases):
        return videos, ()
    if any(video.date for video in videos):
        return videos, ("dates: the table's; temporal.probe and temporal.releases are not used",)
    facts = []
    if config.probe:
        found, fact = _probed(videos, root)
        facts.append(fact)
        if found:
            return [replace(video, date=found.get(video.video_id)) for video in videos], tuple(facts)
    if config.releases:
        videos, sources = _released(videos)
        facts += sources
    return videos, tuple(facts)


def plausible(text: str | None) -> datetime | None:
    """The time, None where there is none or a clock that nobody set wrote it."""
    when = parse_date(text)
    return when if when is not None and when.year in _YEARS else None


def _probed(videos: Sequence[Video], root: str) -> tuple[dict[str, str], str]:
    """Video -> creation time, and a sentence; nothing where less than 95 % of the videos have a plausible one.

    A time that more than half of them share is the stamp of whoever converted them, and not plausible either.
    """
    there = [video for video in videos if video.fault is None]
    with ThreadPoolExecutor(_OPEN) as pool:
        times = pool.map(lambda video: _created(storage.join(root, video.path)), there)
        read = {video.video_id: text for video, text in zip(there, times, strict=True) if text and plausible(text)}
    text, most = max(Counter(read.values()).items(), key=lambda item: item[1], default=("", 0))
    what = f"plausible creation times are in {len(read)} of {len(there)} containers"
    if 2 * most > len(there) and len(there) > 1:
        return (
            {},
            f"dates: {most} of {len(there)} containers were created at {text}, which is a converter's stamp: not used",
        )
    if not read or len(read) < DATED * len(there):
        return {}, f"dates: {what}, and {DATED:.0%} are needed: not used"
    return read, f"dates: {what}; they tell the last conversion, which may be later than the recording"


def _created(url: str) -> str | None:
    if not storage.is_remote(url):
        return media.created(url.removeprefix("file://"))
    with storage.reading(url) as file:
        return media.created(file)


def _released(videos: Sequence[Video]) -> tuple[list[Video], list[str]]:
    releases = [release_of(video.dataset, video.part, video.method) for video in videos]
    sources = sorted({(release.date, release.source) for release in releases if release is not None})
    facts = [f"dates: released {date} ({source})" for date, source in sources] or ["dates: no release is known"]
    return [replace(video, date=one.date if one else None) for video, one in zip(videos, releases, strict=True)], facts

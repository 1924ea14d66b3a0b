"""What every source gives: the videos of a layout, and everything that does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from manifests.records import Finding, SemblanceError, Video
from manifests.storage import Stat


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What lies below a root. Every file is a planned video or has a finding; ``facts`` are counted
    sentences about what is normal and worth knowing.
    """

    videos: tuple[Video, ...]
    findings: tuple[Finding, ...]
    facts: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Datasheet:
    """What a user must know of a dataset, for CARD.md."""

    title: str
    homepage: str
    citation: str
    terms: str
    consent: str
    known_leaks: str
    label_noise: str
    intended_use: str
    unintended_use: str


class Source(Protocol):
    """A reader of one dataset's layout."""

    @property
    def name(self) -> str: ...

    @property
    def datasheet(self) -> Datasheet: ...

    @property
    def identity_note(self) -> str:
        """What a split of this dataset can promise about people."""
        ...

    def discover(self, root: str, files: Sequence[Stat]) -> Discovery:
        """Plan what lies below ``root``; raises SemblanceError where nothing usable is there."""
        ...


def refuse_collisions(videos: Iterable[Video]) -> None:
    """Raise SemblanceError where two files would get one id."""
    seen: dict[str, str] = {}
    for video in videos:
        other = seen.setdefault(video.video_id, video.path)
        if other != video.path:
            raise SemblanceError(
                f"{other} and {video.path} would both be video {video.video_id}; remove or rename one of them."
            )

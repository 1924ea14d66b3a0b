"""What a record and some videos have in common: the law of isolation between a run and what is judged or selects it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from semblance.manifests import leaks
from semblance.quality.builds import Audited
from semblance.training.guard.ids import FILE, FRAME, KINDS

ALWAYS: Final = ("video", "family")  # whatever a protocol promises, between any two builds
STRICT: Final = ("video", "family", "person", "recording")  # of a test: what is estimated is named
COPY: Final = "copy"  # of a video, under any id
_ORDER: Final = (*KINDS, COPY)
_ENOUGH: Final = 2  # equal frames by which a video is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """``count`` ids of a ``kind`` (video, family, person, ...) in ``judged`` were ``seen``: *trained on by RUN*.

    ``refused``: whether it must be allowed; a leak that is only named breaks no promise.
    """

    kind: str
    count: int
    example: str
    judged: str
    seen: str
    refused: bool = True

    def __str__(self) -> str:
        verb = "was" if self.count == 1 else "were"
        if self.kind == COPY:
            are = "is a copy of one" if self.count == 1 else "are copies of ones"
            what = f"{_videos(self.count)} of {self.judged} (such as {self.example})"
            return f"{what}, by frames or file, {are} {self.seen}"
        what = _videos(self.count) if self.kind == "video" else leaks.counted(self.count, self.kind)
        example = f" (such as {self.example})" if self.example else ""
        return f"{what} of {self.judged}{example} {verb} {self.seen}"


def find(
    record: pl.DataFrame, held: pl.DataFrame, *, judged: str, seen: str, refused: Collection[str]
) -> Iterator[Leak]:
    """The leaks between a ``record`` (kind, hash, of: ``Seen.of``) and what videos hold (``ids.held``).

    ``refused``: the kinds that must not be shared. Copies under other ids are named by their content, and people
    whose ids are names of recordings once.
    """
    both = shared(record, held)
    found = {kind: set(both.filter(pl.col("kind") == kind)["id"]) for kind in KINDS}
    if found["person"] <= found["recording"]:
        found["person"] = set()
    known = set(both.filter(pl.col("kind").is_in(ALWAYS))["video_id"])
    found[COPY] = set(copies(both)) - known  # what ids tell is not said twice
    for kind in _ORDER:
        if found[kind]:
            yield Leak(
                kind=kind,
                count=len(found[kind]),
                example=min(found[kind]),
                judged=judged,
                seen=seen,
                refused=kind in refused,
            )


def shared(record: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """The rows of ``held`` that are in a ``record``; of frames with the video of the record, ``of``."""
    return held.join(record.unique(), on=["kind", "hash"])


def copies(both: pl.DataFrame) -> list[str]:
    """The videos that are known by their file, or by two frames of one video, since two may share one by chance."""
    frames = both.filter(pl.col("kind") == FRAME).group_by("video_id", "of").agg(pl.col("hash").n_unique())
    enough = frames.filter(pl.col("hash") >= _ENOUGH)["video_id"]
    return sorted({*enough, *both.filter(pl.col("kind") == FILE)["video_id"]})


def promises(build: Audited, column: str) -> frozenset[str]:
    """The kinds that the split of ``column`` keeps apart between train and val too."""
    protocol = build.protocol if column == "split" else column.removeprefix("split_")
    promised = leaks.promised(build.plan, protocol, build.against)
    return frozenset(kind for kind, everywhere in promised.items() if everywhere)


def lineage(description: Mapping[str, Any]) -> frozenset[str]:
    """The fingerprints of a build and of those that it was repacked from: their videos are the same files."""
    steps: Sequence[Mapping[str, Any]] = description.get("repacked") or ()
    names = (description.get("fingerprint"), *(step["from"] for step in steps))
    return frozenset(str(name) for name in names if name)


def _videos(count: int) -> str:
    return f"{count:,} {'video' if count == 1 else 'videos'}"

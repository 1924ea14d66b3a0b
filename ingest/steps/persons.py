"""The persons of a video: tracks joined over cuts, turns and absences; a wrong join is worse than a split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from semblance.ingest.steps.appearance import alike
from semblance.ingest.steps.boxes import near, one_face
from semblance.ingest.steps.thumbnails import TINT, Tint, tints_apart
from semblance.ingest.steps.tracks import Sighting, TrackConfig
from semblance.manifests.records import Box

_SOON: Final = 8  # sampled frames: how long after the end of a track its person may come back nearby
_OTHER_LIGHT: Final = 24.0  # of Lab's a and b: how far the mean colour of a face moves in another light


class _Group:
    """Tracks of one person so far, in order of time."""

    def __init__(self, sightings: Sequence[Sighting]) -> None:
        self.sightings = list(sightings)
        self.appearances = np.stack([one.appearance for one in sightings if one.appearance is not None])
        self.boxes: dict[int, list[Box]] = {}
        for one in sightings:
            self.boxes.setdefault(one.place, []).append(one.face.box)

    @property
    def tracks(self) -> set[int]:
        return {one.face.track for one in self.sightings}

    @property
    def tint(self) -> Tint:
        """The mean colour of its faces."""
        a, b = np.mean([one.tint for one in self.sightings], axis=0)
        return float(a), float(b)

    @property
    def confidence(self) -> float:
        """The highest of its faces."""
        return max(one.face.confidence for one in self.sightings)

    def __add__(self, other: _Group) -> _Group:
        return _Group(sorted([*self.sightings, *other.sightings], key=lambda one: one.place))

    def beside(self, other: _Group) -> bool:
        """Whether a frame shows both, at two places: then they are two people."""
        return any(
            not one_face(mine, yours)
            for place in self.boxes.keys() & other.boxes.keys()
            for mine in self.boxes[place]
            for yours in other.boxes[place]
        )


def persons(sightings: Iterable[Sighting], config: TrackConfig) -> dict[int, int | None]:
    """The person of each track: numbers from 0 in order of first appearance; None for what is perhaps no face.

    The two groups that look most alike are joined first, as long as they look alike enough; two that are seen in one
    frame never are. A group without one face of at least ``config.sure`` confidence is no person.
    """
    by_track: dict[int, list[Sighting]] = {}
    for one in sightings:
        by_track.setdefault(one.face.track, []).append(one)
    groups = _joined([_Group(found) for found in by_track.values()], config)
    people = [group for group in groups if group.confidence >= config.sure]
    people.sort(key=lambda group: min(group.tracks))
    found = {track: person for person, group in enumerate(people) for track in group.tracks}
    return {track: found.get(track) for track in by_track}


def _joined(groups: list[_Group], config: TrackConfig) -> list[_Group]:
    groups = list(groups)
    pairs = {
        (i, j): _excess(groups[i], groups[j], config) for i in range(len(groups)) for j in range(i + 1, len(groups))
    }
    alive = set(range(len(groups)))
    while pairs:
        (i, j), excess = max(pairs.items(), key=lambda pair: pair[1])
        if excess < 0:
            break
        groups.append(groups[i] + groups[j])
        alive -= {i, j}
        pairs = {pair: value for pair, value in pairs.items() if alive.issuperset(pair)}
        last = len(groups) - 1
        pairs |= {(other, last): _excess(groups[other], groups[last], config) for other in sorted(alive)}
        alive.add(last)
    return [groups[i] for i in sorted(alive)]


def _excess(first: _Group, second: _Group, config: TrackConfig) -> float:
    """By how much the likeness of two groups exceeds what joins them."""
    if first.beside(second):
        return -1.0
    back = _comes_back(first, second) or _comes_back(second, first)
    if tints_apart(first.tint, second.tint) > (TINT if back else _OTHER_LIGHT):
        return -1.0
    limit = config.nearby if back else config.again
    return alike(first.appearances, second.appearances) - limit


def _comes_back(earlier: _Group, later: _Group) -> bool:
    """Whether ``later`` begins soon after ``earlier`` ended, in the same shot and close to there."""
    last, first = earlier.sightings[-1], later.sightings[0]
    if last.shot != first.shot or not 0 < first.place - last.place <= _SOON:
        return False
    return near(last.face.box, first.face.box)

"""Linking of faces over time: a track never joins two people, and an uncertain link starts a new track."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from semblance.ingest.steps import thumbnails
from semblance.ingest.steps.appearance import Appearance, describe
from semblance.ingest.steps.boxes import near, overlap
from semblance.ingest.steps.following import follow
from semblance.manifests.config import Config
from semblance.manifests.records import Box, Face, Frame, Grey, Image

_SELDOM: Final = 3  # faces of a track that is alone, after one whose appearance is known, that need none
_SCENE: Final = 32  # px


class TrackConfig(Config):
    """When two faces are one person. All limits are our own measurements.

    In neighbouring sampled frames: ``overlap``: minimum intersection over union of the boxes. ``rival``: maximum
    overlap of either box with any other face. ``alike``: minimum correlation of the two faces' grey thumbnails at
    their best alignment. ``colour``: maximum mean RGB difference of the thumbnails (of 255). A face that moves or turns
    more is followed through the frames between: the box that it is followed to must have that ``overlap`` too, and
    ``turned`` is the minimum likeness of its descriptor. ``moment_s``: seconds in which nobody takes the place of a
    face that is alone in one shot. ``missed``: sampled frames without it after which a track ends. ``scene`` and
    ``gap_s`` are for frames between which nobody looked: maximum mean grey difference of the frames (of 255), above
    which a cut is assumed, and maximum time between them, in seconds. Beyond ``gap_s`` a face at the same place must
    also be alike by ``nearby``.

    Of tracks: ``again``: minimum likeness of the descriptors of one person at another place or after a cut;
    ``nearby``: the same where a face comes soon after, and close to, where a lost one was. ``sure``: the
    confidence that a person's best face has at least; hands and shadows that the detector takes for a face stay below
    it (clasped hands: 0.974), and are rejected as ``doubtful``.

    ``alike`` was chosen from 618 pairs of the same person 0.17 s apart, in real and demo clips: the lowest correlation
    was 0.70. Of pairs of different people, one in twelve exceeds 0.60. ``again`` lies above all of 2,365 pairs of
    groups of pictures of two people.
    """

    overlap: float = Field(default=0.3, gt=0, le=1)
    rival: float = Field(default=0.1, ge=0, le=1)
    alike: float = Field(default=0.6, ge=-1, le=1)
    colour: float = Field(default=32.0, gt=0)
    turned: float = Field(default=0.2, ge=-1, le=1)
    missed: int = Field(default=3, ge=0)
    scene: float = Field(default=35.0, gt=0)
    gap_s: float = Field(default=2.0, gt=0)
    moment_s: float = Field(default=1.0, gt=0)
    again: float = Field(default=0.55, ge=-1, le=1)
    nearby: float = Field(default=0.35, ge=-1, le=1)
    sure: float = Field(default=0.985, ge=0, le=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sighting:
    """One face of one sampled frame: ``place`` counts the sampled frames, ``shot`` the cuts before it.

    Of a face that is alone and linked with certainty, ``appearance`` is known every fourth time; a track's first is
    always known.
    """

    place: int
    shot: int
    face: Face
    appearance: Appearance | None
    tint: thumbnails.Tint


@dataclass(slots=True, kw_only=True, eq=False)
class _Open:
    """A track that may go on: its last face, and where that face would be now."""

    track: int
    last: Box
    box: Box
    thumbnail: Image  # (24, 24, 3)
    appearance: Appearance  # of the last face that has one
    since: int  # faces since that one
    tint: thumbnails.Tint
    missed: int = 0
    lost: bool = False  # not followed: ``box`` is where the face was last


@dataclass(slots=True, kw_only=True, eq=False)
class _New:
    """A face of the present frame; ``known`` is its appearance once somebody asked for it."""

    image: Image  # the frame
    face: Face
    thumbnail: Image
    tint: thumbnails.Tint
    known: Appearance | None = None

    def appearance(self) -> Appearance:
        """What it looks like: costs as much as the rest of its tracking."""
        if self.known is None:
            self.known = describe(self.image, self.face)
        return self.known


class Tracker:
    """Gives every face of one video its track; ``sightings`` are all faces so far."""

    def __init__(self, config: TrackConfig) -> None:
        self._config = config
        self._open: list[_Open] = []
        self._glance: Grey | None = None  # of the frame before
        self._scene: NDArray[np.float32] | None = None
        self._time: float | None = None
        self._elapsed = 0.0
        self._place = self._shot = self._tracks = 0
        self.sightings: list[Sighting] = []

    def link(self, found: Iterable[tuple[Frame, list[Face]]]) -> Iterator[tuple[Frame, list[Face]]]:
        """Assign a track to every face: numbers from 0 in order of first appearance.

        A track goes on while its face is seen, or followed, in one shot: a cut ends all of them.
        """
        for frame, faces in found:
            new = [_look(frame.image, face) for face in faces]
            self._continue(frame)
            links = self._links(frame, new)
            if len(new) > 1 or len(self._open) > 1:
                for one in new:
                    one.appearance()
            tracked = [self._take(one, links.get(position)) for position, one in enumerate(new)]
            for face, one in zip(tracked, new, strict=True):
                self.sightings.append(
                    Sighting(
                        place=self._place,
                        shot=self._shot,
                        face=face,
                        appearance=one.known,
                        tint=one.tint,
                    )
                )
            self._place += 1
            yield frame, tracked

    def _continue(self, frame: Frame) -> None:
        """End the tracks that cannot reach this frame."""
        scene = None
        if frame.cut is not None:
            broken = frame.cut
        else:
            scene = _scene(frame.image)
            broken = _is_cut(self._scene, scene, self._config) or _gap(self._time, frame.time_s) > self._config.gap_s
        if broken:
            self._open.clear()
        self._shot += broken
        self._open = [track for track in self._open if track.missed <= self._config.missed]
        self._elapsed = _gap(self._time, frame.time_s)
        self._scene, self._time = scene, frame.time_s

    def _links(self, frame: Frame, new: Sequence[_New]) -> dict[int, _Open]:
        """Position in ``new`` -> the track that it continues."""
        glances = (self._glance, *frame.glances) if self._glance is not None and frame.glances else ()
        self._glance = frame.glances[-1] if frame.glances else None
        links = _certain(self._open, new, self._config, apart=self._elapsed > self._config.gap_s)
        linked = {id(track) for track in links.values()}
        rest = [track for track in self._open if id(track) not in linked]
        for track in rest:
            followed = follow(track.box, glances, glances[0].shape[1] / frame.image.shape[1]) if glances else None
            track.lost = followed is None
            track.box = followed or track.box
            track.missed += 1
        links |= _followed(rest, {place: one for place, one in enumerate(new) if place not in links}, self._config)
        if not links and glances and len(new) == len(self._open) == 1 and self._alone(new[0]):
            links[0] = self._open[0]
        return links

    def _alone(self, one: _New) -> bool:
        """Whether the only face is that of the only track: in one shot, nobody takes another's place in a moment."""
        (track,) = self._open
        soon = self._elapsed <= self._config.moment_s and track.missed <= 1
        return (
            soon and near(track.last, one.face.box) and thumbnails.tints_apart(track.tint, one.tint) <= thumbnails.TINT
        )

    def _take(self, new: _New, track: _Open | None) -> Face:
        number = track.track if track is not None else self._tracks
        if track is None:
            self._tracks += 1
        else:
            self._open.remove(track)
        face = replace(new.face, track=number)
        if track is None or track.since >= _SELDOM:
            new.appearance()
        appearance = new.known if new.known is not None or track is None else track.appearance
        assert appearance is not None
        self._open.append(
            _Open(
                track=number,
                last=face.box,
                box=face.box,
                thumbnail=new.thumbnail,
                appearance=appearance,
                since=0 if new.known is not None or track is None else track.since + 1,
                tint=new.tint,
            )
        )
        return face


def _look(image: Image, face: Face) -> _New:
    thumbnail = thumbnails.thumbnail(image, face.box)
    return _New(image=image, face=face, thumbnail=thumbnail, tint=thumbnails.tint(thumbnail))


def _certain(tracks: Sequence[_Open], new: Sequence[_New], config: TrackConfig, *, apart: bool) -> dict[int, _Open]:
    """Links of faces that look alike at the same place and have no rival; far ``apart`` in time, their descriptors must
    be alike too, since somebody else may have taken the place.
    """
    recent = [track for track in tracks if track.missed == 0]
    overlaps = np.array([[overlap(track.box, one.face.box) for one in new] for track in recent])
    links = {}
    for j, one in enumerate(new):
        for i, track in enumerate(recent):
            row, column = np.delete(overlaps[i], j), np.delete(overlaps[:, j], i)
            rival = max([0.0, *row, *column])
            if overlaps[i, j] < config.overlap or rival > config.rival or not _alike(track, one, config):
                continue
            if not apart or float(track.appearance @ one.appearance()) >= config.nearby:
                links[j] = track
    return links


def _followed(rest: Sequence[_Open], new: dict[int, _New], config: TrackConfig) -> dict[int, _Open]:
    """Links of faces that lie where a track was followed to and look like it; each is the other's only choice."""
    fits = [
        (position, track)
        for position, one in new.items()
        for track in rest
        if overlap(track.box, one.face.box) >= config.overlap and _same(track, one, config)
    ]
    alone = [
        (position, track)
        for position, track in fits
        if sum(position == other for other, _ in fits) == 1 and sum(track is other for _, other in fits) == 1
    ]
    return dict(alone)


def _alike(track: _Open, one: _New, config: TrackConfig) -> bool:
    """Whether the two faces look alike without being aligned."""
    a, b = track.thumbnail, one.thumbnail
    return thumbnails.colour(a, b) <= config.colour and thumbnails.correlation(a, b) >= config.alike


def _same(track: _Open, one: _New, config: TrackConfig) -> bool:
    likeness = float(track.appearance @ one.appearance())
    if track.lost:
        return (
            likeness >= config.nearby
            and thumbnails.colour(track.thumbnail, one.thumbnail) <= config.colour
            and (thumbnails.tints_apart(track.tint, one.tint) <= thumbnails.TINT)
        )
    return likeness >= config.turned or _alike(track, one, config)


def _is_cut(before: NDArray[np.float32] | None, now: NDArray[np.float32], config: TrackConfig) -> bool:
    return before is not None and float(np.abs(before - now).mean()) > config.scene


def _gap(before: float | None, now: float | None) -> float:
    return 0.0 if before is None or now is None else now - before


def _scene(image: Image) -> NDArray[np.float32]:
    step = max(min(image.shape[:2]) // (4 * _SCENE), 1)  # a sixteenth of the pixels is enough to see a cut
    thin = np.ascontiguousarray(image[::step, ::step])
    return _grey(np.asarray(cv2.resize(thin, (_SCENE, _SCENE), interpolation=cv2.INTER_AREA), np.uint8))


def _grey(image: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)

"""Linking of faces over time: a track never joins two people, and an uncertain link starts a new track."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from semblance.ingest.steps.appearance import Appearance, describe
from semblance.ingest.steps.following import follow
from semblance.manifests.config import Config
from semblance.manifests.records import Box, Face, Frame, Grey, Image

_THUMB: Final = 24  # px: enough to distinguish two faces, too little to show an expression
_SHIFT: Final = 2  # px of the thumbnail: how far two boxes of one face may be shifted
_SCENE: Final = 32  # px
_TINT: Final = 12.0  # of Lab's a and b: how far the mean colour of one face may move under the same light
_CLOSE: Final = 1.2  # of the longer side of the box: how far a face may move in a moment
_GROWN: Final = 1.6  # how much larger or smaller it may become


class TrackConfig(Config):
    """When two faces are one person. All limits are our own measurements.

    In neighbouring sampled frames: ``overlap``: minimum intersection over union of the boxes. ``rival``: maximum
    overlap of either box with any other face. ``alike``: minimum correlation of the two faces' grey thumbnails at
    their best alignment. ``colour``: maximum mean RGB difference of the thumbnails (of 255). A face that moves or turns
    more is followed through the frames between: the box that it is followed to must have that ``overlap`` too, and
    ``turned`` is the minimum likeness of its descriptor. ``moment_s``: seconds in which nobody takes the place of a
    face that is alone in one shot. ``missed``: sampled frames without it after which a track ends. ``scene`` and
    ``gap_s`` are for frames between which nobody looked: maximum mean grey difference of the frames (of 255), above
    which a cut is assumed, and maximum time between them, in seconds.

    Of tracks: ``again``: minimum likeness of the descriptors of one person at another place or after a cut;
    ``nearby``: the same where a track begins soon after, and close to, where another one ended. ``sure``: the
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
    """One face of one sampled frame: ``place`` counts the sampled frames, ``shot`` the cuts before it."""

    place: int
    shot: int
    frame_index: int
    face: Face
    appearance: Appearance


@dataclass(slots=True, kw_only=True, eq=False)
class _Open:
    """A track that may go on: its last face, and where that face would be now."""

    track: int
    last: Box
    box: Box
    thumbnail: Image  # (24, 24, 3)
    appearance: Appearance
    missed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _New:
    """A face of the present frame."""

    face: Face
    thumbnail: Image
    appearance: Appearance


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
            new = [
                _New(face=face, thumbnail=_thumbnail(frame.image, face.box), appearance=describe(frame.image, face))
                for face in faces
            ]
            self._continue(frame)
            links = self._links(frame, new)
            tracked = [self._take(one, links.get(position)) for position, one in enumerate(new)]
            for face, one in zip(tracked, new, strict=True):
                self.sightings.append(
                    Sighting(
                        place=self._place,
                        shot=self._shot,
                        frame_index=frame.index,
                        face=face,
                        appearance=one.appearance,
                    )
                )
            self._place += 1
            yield frame, tracked

    def _continue(self, frame: Frame) -> None:
        """End the tracks that cannot reach this frame."""
        scene = _scene(frame.image)
        looked = frame.cut is not None
        if looked:
            broken = bool(frame.cut)
        else:
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
        links = _certain(self._open, new, self._config)
        linked = {id(track) for track in links.values()}
        rest = [track for track in self._open if id(track) not in linked]
        for track in rest:
            followed = follow(track.box, glances, glances[0].shape[1] / frame.image.shape[1]) if glances else None
            if followed is not None:
                track.box = followed
            track.missed += 1
        links |= _followed(rest, {place: one for place, one in enumerate(new) if place not in links}, self._config)
        if not links and glances and len(new) == len(self._open) == 1 and self._alone(new[0]):
            links[0] = self._open[0]
        return links

    def _alone(self, one: _New) -> bool:
        """Whether the only face is that of the only track: in one shot, nobody takes another's place in a moment."""
        (track,) = self._open
        soon = self._elapsed <= self._config.moment_s and track.missed <= 1
        return soon and near(track.last, one.face.box) and _colour(track.thumbnail, one.thumbnail) <= _TINT

    def _take(self, new: _New, track: _Open | None) -> Face:
        if track is None:
            track = _Open(
                track=self._tracks,
                last=new.face.box,
                box=new.face.box,
                thumbnail=new.thumbnail,
                appearance=new.appearance,
            )
            self._tracks += 1
            self._open.append(track)
        track.last = track.box = new.face.box
        track.thumbnail, track.appearance, track.missed = new.thumbnail, new.appearance, 0
        return replace(new.face, track=track.track)


def _certain(tracks: Sequence[_Open], new: Sequence[_New], config: TrackConfig) -> dict[int, _Open]:
    """Links of faces that look alike at the same place and have no rival."""
    recent = [track for track in tracks if track.missed == 0]
    overlaps = np.array([[overlap(track.box, one.face.box) for one in new] for track in recent])
    links = {}
    for j, one in enumerate(new):
        for i, track in enumerate(recent):
            row, column = np.delete(overlaps[i], j), np.delete(overlaps[:, j], i)
            rival = max([0.0, *row, *column])
            if (
                overlaps[i, j] >= config.overlap
                and rival <= config.rival
                and _alike(track.thumbnail, one.thumbnail, config)
            ):
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


def _same(track: _Open, one: _New, config: TrackConfig) -> bool:
    likeness = float(track.appearance @ one.appearance)
    return likeness >= config.turned or _alike(track.thumbnail, one.thumbnail, config)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def near(a: Box, b: Box) -> bool:
    """Whether two boxes are of similar size and close to each other."""
    sides = max(a[2] - a[0], a[3] - a[1]), max(b[2] - b[0], b[3] - b[1])
    distance = math.hypot((a[0] + a[2] - b[0] - b[2]) / 2, (a[1] + a[3] - b[1] - b[3]) / 2)
    return distance <= _CLOSE * min(sides) and max(sides) <= _GROWN * min(sides)


def _colour(a: Image, b: Image) -> float:
    """The distance of two thumbnails' mean colours, whatever their brightness, in units of CIE Lab."""
    means = [np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.float32)[..., 1:].mean((0, 1)) for image in (a, b)]
    return float(np.linalg.norm(means[0] - means[1]))


def _alike(a: Image, b: Image, config: TrackConfig) -> bool:
    colour = float(np.abs(a.astype(np.float32) - b).mean())
    return colour <= config.colour and _correlation(_grey(a), _grey(b)) >= config.alike


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """The best correlation of the centre of ``a`` with ``b`` over shifts of 2 px, since MTCNN's boxes jitter."""
    middle = np.ascontiguousarray(a[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT])
    if middle.std() == 0 or b.std() == 0:
        return 1.0
    return float(cv2.matchTemplate(b, middle, cv2.TM_CCOEFF_NORMED).max())


def _is_cut(before: NDArray[np.float32] | None, now: NDArray[np.float32], config: TrackConfig) -> bool:
    return before is not None and float(np.abs(before - now).mean()) > config.scene


def _gap(before: float | None, now: float | None) -> float:
    return 0.0 if before is None or now is None else now - before


def _scene(image: Image) -> NDArray[np.float32]:
    step = max(min(image.shape[:2]) // (4 * _SCENE), 1)  # a sixteenth of the pixels is enough to see a cut
    thin = np.ascontiguousarray(image[::step, ::step])
    return _grey(np.asarray(cv2.resize(thin, (_SCENE, _SCENE), interpolation=cv2.INTER_AREA), np.uint8))


def _thumbnail(image: Image, box: Box) -> Image:
    """The part of the face box inside the frame, (24, 24, 3); black if no part is."""
    height, width = image.shape[:2]
    x0, y0 = max(int(box[0]), 0), max(int(box[1]), 0)
    x1, y1 = min(math.ceil(box[2]), width), min(math.ceil(box[3]), height)
    if x1 <= x0 or y1 <= y0:
        return np.zeros((_THUMB, _THUMB, 3), np.uint8)
    return cv2.resize(image[y0:y1, x0:x1], (_THUMB, _THUMB), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _grey(image: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)

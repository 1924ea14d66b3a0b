"""Linking of faces over time: a track never joins two people, and an uncertain link starts a new track."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from semblance.manifests.config import Config
from semblance.manifests.records import Box, Face, Frame, Image

_THUMB = 24  # px: enough to distinguish two faces, too little to show an expression
_SHIFT = 2  # px of the thumbnail: how far two boxes of one face may be shifted
_SCENE = 32  # px


class TrackConfig(Config):
    """When two faces in neighbouring sampled frames are certainly one person. All limits are our own measurements.

    ``overlap``: minimum intersection over union of the boxes. ``rival``: maximum overlap of either box with any other
    face. ``alike``: minimum correlation of the two faces' grey thumbnails at their best alignment. ``colour``: maximum
    mean RGB difference of the thumbnails (of 255). ``scene``: maximum mean grey difference of the frames (of 255);
    above it a cut is assumed. ``gap_s``: maximum time between the two frames, in seconds.

    ``alike`` was chosen from 618 pairs of the same person 0.17 s apart, in real and demo clips: the lowest correlation
    was 0.70. Of pairs of different people, one in twelve exceeds 0.60. A broken track costs an unguided fake its face
    label.
    """

    overlap: float = Field(default=0.3, gt=0, le=1)
    rival: float = Field(default=0.1, ge=0, le=1)
    alike: float = Field(default=0.6, ge=-1, le=1)
    colour: float = Field(default=32.0, gt=0)
    scene: float = Field(default=35.0, gt=0)
    gap_s: float = Field(default=2.0, gt=0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Thumbnail:
    """A face with its thumbnail."""

    face: Face
    image: Image  # (24, 24, 3)


def link(found: Iterable[tuple[Frame, list[Face]]], config: TrackConfig) -> Iterator[tuple[Frame, list[Face]]]:
    """Assign a track to every face: numbers from 0 in order of first appearance.

    Only neighbouring sampled frames are linked. So a person who leaves and comes back gets a new track, and so does
    everyone after a cut.
    """
    before: list[_Thumbnail] = []
    scene_before: NDArray[np.float32] | None = None
    time_before: float | None = None
    next_track = 0
    for frame, faces in found:
        scene = _scene(frame.image)
        now = [_Thumbnail(face=face, image=_thumbnail(frame.image, face.box)) for face in faces]
        continuous = scene_before is not None and not _is_cut(scene_before, scene, config)
        continuous = continuous and _gap(time_before, frame.time_s) <= config.gap_s
        links = _certain_links(before, now, config) if continuous else {}
        tracked = []
        for position, face in enumerate(faces):
            track = links.get(position)
            if track is None:
                track, next_track = next_track, next_track + 1
            tracked.append(replace(face, track=track))
        before = [replace(thumbnail, face=face) for thumbnail, face in zip(now, tracked, strict=True)]
        scene_before, time_before = scene, frame.time_s
        yield frame, tracked


def _certain_links(before: list[_Thumbnail], now: list[_Thumbnail], config: TrackConfig) -> dict[int, int]:
    """Position in ``now`` -> track, for pairs that look alike and have no rival."""
    overlaps = np.array([[overlap(old.face.box, new.face.box) for new in now] for old in before])
    links = {}
    for j, new in enumerate(now):
        for i, old in enumerate(before):
            row, column = np.delete(overlaps[i], j), np.delete(overlaps[:, j], i)
            rival = max([0.0, *row, *column])
            if overlaps[i, j] >= config.overlap and rival <= config.rival and _alike(old.image, new.image, config):
                links[j] = old.face.track
    return links


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _alike(a: Image, b: Image, config: TrackConfig) -> bool:
    colour = float(np.abs(a.astype(np.float32) - b).mean())
    return colour <= config.colour and _correlation(_grey(a), _grey(b)) >= config.alike


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """The best correlation of the centre of ``a`` with ``b`` over shifts of 2 px, since MTCNN's boxes jitter."""
    middle = np.ascontiguousarray(a[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT])
    if middle.std() == 0 or b.std() == 0:
        return 1.0
    return float(cv2.matchTemplate(b, middle, cv2.TM_CCOEFF_NORMED).max())


def _is_cut(before: NDArray[np.float32], now: NDArray[np.float32], config: TrackConfig) -> bool:
    return before.shape != now.shape or float(np.abs(before - now).mean()) > config.scene


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

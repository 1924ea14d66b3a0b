"""Faces linked over time: a track never joins two persons, and where a link is unsure a new one begins."""

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

_THUMB = 24  # px: enough to tell two faces, too little to see an expression
_SHIFT = 2  # px of the thumbnail: how far two boxes of one face may lie apart
_SCENE = 32  # px


class TrackConfig(Config):
    """When two faces of neighbouring sampled frames are surely one person. All limits are ours.

    ``alike``: of 618 pairs of one person 0.17 s apart, in real and demo clips, the worst had a correlation of 0.70; of
    pairs of different people one in twelve has more than 0.60. A broken track costs an unguided fake its face label.

    ``overlap``: least intersection over union of the boxes. ``rival``: no other face may overlap either of the two
    by more. ``alike``: least correlation of the two faces' grey thumbnails, laid on each other as well as can be.
    ``colour``: largest mean RGB difference of the thumbnails (of 255). ``scene``: largest mean grey difference of
    the frames (of 255), above which a cut is assumed. ``gap_s``: largest time between the two frames.
    """

    overlap: float = Field(default=0.3, gt=0, le=1)
    rival: float = Field(default=0.1, ge=0, le=1)
    alike: float = Field(default=0.6, ge=-1, le=1)
    colour: float = Field(default=32.0, gt=0)
    scene: float = Field(default=35.0, gt=0)
    gap_s: float = Field(default=2.0, gt=0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seen:
    """A face of the frame before, with what it looked like."""

    face: Face
    thumb: Image  # (24, 24, 3)


def link(found: Iterable[tuple[Frame, list[Face]]], config: TrackConfig) -> Iterator[tuple[Frame, list[Face]]]:
    """Give every face its track: numbers from 0 in the order of first appearance.

    A link is made between neighbouring sampled frames alone, so a person who leaves and comes back
    gets a new track, as does everyone after a cut.
    """
    before: list[_Seen] = []
    scene_before: NDArray[np.float32] | None = None
    time_before: float | None = None
    next_track = 0
    for frame, faces in found:
        scene = _scene(frame.image)
        now = [_Seen(face=face, thumb=_thumb(frame.image, face.box)) for face in faces]
        joined = scene_before is not None and not _is_cut(scene_before, scene, config)
        joined = joined and _gap(time_before, frame.time_s) <= config.gap_s
        links = _sure_links(before, now, config) if joined else {}
        tracked = []
        for position, seen in enumerate(now):
            track = links.get(position)
            if track is None:
                track, next_track = next_track, next_track + 1
            tracked.append(replace(seen.face, track=track))
        before = [replace(seen, face=face) for seen, face in zip(now, tracked, strict=True)]
        scene_before, time_before = scene, frame.time_s
        yield frame, tracked


def _sure_links(before: list[_Seen], now: list[_Seen], config: TrackConfig) -> dict[int, int]:
    """Position in ``now`` -> track, for the pairs without a rival that look alike."""
    overlaps = np.array([[overlap(old.face.box, new.face.box) for new in now] for old in before])
    links = {}
    for j, new in enumerate(now):
        for i, old in enumerate(before):
            row, column = np.delete(overlaps[i], j), np.delete(overlaps[:, j], i)
            rival = max([0.0, *row, *column])
            if overlaps[i, j] >= config.overlap and rival <= config.rival and _alike(old.thumb, new.thumb, config):
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
    """The best correlation of a's middle with b over shifts of a few pixels: MTCNN's boxes are shaky."""
    middle = np.ascontiguousarray(a[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT])
    if middle.std() == 0 or b.std() == 0:
        return 1.0
    return float(cv2.matchTemplate(b, middle, cv2.TM_CCOEFF_NORMED).max())


def _is_cut(before: NDArray[np.float32], now: NDArray[np.float32], config: TrackConfig) -> bool:
    return before.shape != now.shape or float(np.abs(before - now).mean()) > config.scene


def _gap(before: float | None, now: float | None) -> float:
    return 0.0 if before is None or now is None else now - before


def _scene(image: Image) -> NDArray[np.float32]:
    step = max(min(image.shape[:2]) // (4 * _SCENE), 1)  # a cut shows in a sixteenth of the pixels too
    thin = np.ascontiguousarray(image[::step, ::step])
    return _grey(np.asarray(cv2.resize(thin, (_SCENE, _SCENE), interpolation=cv2.INTER_AREA), np.uint8))


def _thumb(image: Image, box: Box) -> Image:
    """The face box inside the frame, 24 x 24 px; black where nothing of it is inside."""
    height, width = image.shape[:2]
    x0, y0 = max(int(box[0]), 0), max(int(box[1]), 0)
    x1, y1 = min(math.ceil(box[2]), width), min(math.ceil(box[3]), height)
    if x1 <= x0 or y1 <= y0:
        return np.zeros((_THUMB, _THUMB, 3), np.uint8)
    return cv2.resize(image[y0:y1, x0:x1], (_THUMB, _THUMB), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _grey(image: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)

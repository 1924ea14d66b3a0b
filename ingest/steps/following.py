"""A face followed through the frames between two sampled ones, by optical flow in small grey pictures."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from semblance.manifests.records import Box, Grey

_POINTS: Final = 6  # along each side of the grid in the face
_INSET: Final = 0.2  # of the box on each side: the border shows background
_REACH: Final = 0.75  # of the longer side: how far a face may move between two glances
_WINDOW: Final = (9, 9)  # px
_LEVELS: Final = 2  # of the pyramid
_BACK: Final = 1.5  # px: a point that does not come back to its start is lost
_LEAST: Final = 0.4  # of the points must be left, or the face is lost
_SMALLEST: Final = 8.0  # px: in a smaller box there is nothing to follow


def follow(box: Box, glances: Sequence[Grey], scale: float) -> Box | None:
    """Where the face in ``box`` of the first glance is in the last one; None where it is lost on the way.

    ``box`` is in pixels of the frame; a glance has ``scale`` times its pixels. Median flow (Kalal et al. 2010): the
    points of a grid are tracked from glance to glance and back; the median of those that return moves the box, and the
    median of their distances' ratios scales it.
    """
    x0, y0, x1, y1 = (value * scale for value in box)
    for before, now in itertools.pairwise(glances):
        if before.shape != now.shape or min(x1 - x0, y1 - y0) < _SMALLEST:
            return None
        moved = _step((x0, y0, x1, y1), before, now)
        if moved is None:
            return None
        x0, y0, x1, y1 = moved
    return x0 / scale, y0 / scale, x1 / scale, y1 / scale


def _step(box: Box, before_HW: Grey, now_HW: Grey) -> Box | None:
    height, width = before_HW.shape
    reach = _REACH * max(box[2] - box[0], box[3] - box[1]) + _WINDOW[0]
    left, top = max(int(box[0] - reach), 0), max(int(box[1] - reach), 0)
    right, bottom = min(int(box[2] + reach) + 1, width), min(int(box[3] + reach) + 1, height)
    if right - left < 2 * _WINDOW[0] or bottom - top < 2 * _WINDOW[0]:
        return None
    parts = [np.ascontiguousarray(picture[top:bottom, left:right]) for picture in (before_HW, now_HW)]
    start = _grid(box) - np.array([left, top], np.float32)
    inside = ((start >= 0) & (start < (right - left, bottom - top))).all(1)
    start = np.ascontiguousarray(start[inside])
    if len(start) < _LEAST * _POINTS**2:
        return None
    end, found = _flow(parts[0], parts[1], start)
    back, returned = _flow(parts[1], parts[0], end)
    good = found & returned & (np.linalg.norm(back - start, axis=1) <= _BACK)
    if good.sum() < _LEAST * _POINTS**2:
        return None
    return _moved(box, start[good], end[good])


def _grid(box: Box) -> NDArray[np.float32]:
    """Points (N, 2) in the box, away from its border."""
    x0, y0, x1, y1 = box
    along = np.linspace(_INSET, 1 - _INSET, _POINTS)
    across, down = np.meshgrid(x0 + along * (x1 - x0), y0 + along * (y1 - y0))
    return np.stack([across.ravel(), down.ravel()], 1).astype(np.float32)


def _flow(before: Grey, now: Grey, points_N2: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    end, found, _ = cv2.calcOpticalFlowPyrLK(before, now, points_N2, None, winSize=_WINDOW, maxLevel=_LEVELS)  # type: ignore[call-overload]
    return np.asarray(end, np.float32), np.asarray(found).ravel().astype(bool)


def _moved(box: Box, start_N2: NDArray[np.float32], end_N2: NDArray[np.float32]) -> Box:
    shift = np.median(end_N2 - start_N2, axis=0)
    spread = np.linalg.norm(start_N2 - np.median(start_N2, axis=0), axis=1)
    spread_after = np.linalg.norm(end_N2 - np.median(end_N2, axis=0), axis=1)
    ratios = spread_after[spread > 1] / spread[spread > 1]
    growth = float(np.clip(np.median(ratios), 0.8, 1.25)) if len(ratios) else 1.0
    x0, y0, x1, y1 = box
    centre_x, centre_y = (x0 + x1) / 2 + float(shift[0]), (y0 + y1) / 2 + float(shift[1])
    half_x, half_y = (x1 - x0) / 2 * growth, (y1 - y0) / 2 * growth
    return centre_x - half_x, centre_y - half_y, centre_x + half_x, centre_y + half_y

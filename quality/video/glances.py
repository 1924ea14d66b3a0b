"""Small grey pictures of the frames between the wanted ones, and the cuts among them: both are nearly free, since these
frames are decoded anyway.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from semblance.manifests.records import Grey
from semblance.quality.video.geometry import Geometry, square

SIDE: Final = 480  # px: the longer side of a glance at most, so that a face of 80 px in 1080p keeps 20
MOST: Final = 64  # glances between two wanted frames; beyond, following a face costs more than it tells

_THUMB: Final = 48  # px of the square picture that is searched for cuts
_SHIFT: Final = 8  # px of it that a camera may move between two frames
# Ours, from 17 real clips with 8 hand-marked cuts, at every frame and at every third: cuts correlate at most 0.58 and
# differ by at least 45 grey levels at the best shift; nothing else is below 0.4, and differs by 38 at most below 0.64.
_STILL: Final = 8.0  # grey levels: thumbnails that differ less show no cut, wherever they are laid
_SURELY: Final = (0.3, 12.0)
_PROBABLY: Final = (0.6, 40.0)


class Glances:
    """What is seen of the frames since the last wanted one."""

    def __init__(self) -> None:
        self._kept: list[Grey] = []
        self._many = False
        self._cut = False
        self._before: NDArray[np.float32] | None = None

    def see(self, frame: Any, geometry: Geometry) -> None:
        """Look at a decoded frame, wanted or not; ``geometry`` says how it is shown."""
        glance = _glance(frame, geometry)
        now = _thumbnail(glance)
        self._cut = self._cut or (self._before is not None and is_cut(self._before, now))
        self._before = now
        self._many = self._many or len(self._kept) >= MOST
        if self._many:
            self._kept.clear()
        else:
            self._kept.append(glance)

    def take(self) -> tuple[tuple[Grey, ...], bool]:
        """The glances since the last call, up to the frame that was seen last, and whether a cut lies among them.

        There are no glances if they were too many.
        """
        taken = tuple(self._kept), self._cut
        self._kept, self._many, self._cut = [], False, False
        return taken


def is_cut(before: NDArray[np.float32], now: NDArray[np.float32]) -> bool:
    """Whether two (48, 48) grey thumbnails of neighbouring frames show different scenes, wherever the camera moves."""
    if float(cv2.absdiff(before, now).mean()) < _STILL:
        return False
    middle = np.ascontiguousarray(before[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT])
    side = _THUMB - 2 * _SHIFT
    if middle.std() < 1 or now.std() < 1:  # nothing to align: a plain picture
        return bool(abs(middle.mean() - now.mean()) > _PROBABLY[1])
    scores = cv2.matchTemplate(now, middle, cv2.TM_CCOEFF_NORMED)
    _, alike, _, (x, y) = cv2.minMaxLoc(scores)
    difference = float(np.abs(now[y : y + side, x : x + side] - middle).mean())
    return any(alike < most and difference > least for most, least in (_SURELY, _PROBABLY))


def _thumbnail(glance_HW: Grey) -> NDArray[np.float32]:
    step = max(min(glance_HW.shape) // (2 * _THUMB), 1)
    thin = np.ascontiguousarray(glance_HW[::step, ::step])
    return np.asarray(cv2.resize(thin, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA), np.float32)


def _glance(frame: Any, geometry: Geometry) -> Grey:
    """The frame's luma as it is shown, every n-th pixel."""
    step = -(-max(frame.width, frame.height) // SIDE)
    luma = _luma(frame)
    thin = np.ascontiguousarray(luma[::step, ::step])
    height, width = thin.shape
    if (size := square(width, height, geometry.aspect)) != (width, height):
        thin = np.asarray(cv2.resize(thin, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.ascontiguousarray(geometry.orientation.apply(thin))


def _luma(frame: Any) -> Grey:
    """The luma plane (H, W) in 8 bits, without a copy where it is stored so."""
    kind = frame.format
    plane = frame.planes[0]
    if (
        kind.name.startswith(("yuv", "nv12", "gray"))
        and kind.components[0].bits == 8
        and not kind.name.startswith("yuyv")
    ):
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        return rows[:, : frame.width]
    found: Grey = frame.reformat(format="gray", threads=1).to_ndarray()
    return found

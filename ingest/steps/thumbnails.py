"""Thumbnails of faces: what they look like at the same place, and their colour."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from semblance.manifests.records import Box, Image

Tint = tuple[float, float]  # a and b of CIE Lab
TINT: Final = 12.0  # of Lab's a and b: how far the mean colour of one face may move under the same light

_SIDE: Final = 24  # px: enough to distinguish two faces, too little to show an expression
_SHIFT: Final = 2  # px of the thumbnail: how far two boxes of one face may be shifted


def thumbnail(image: Image, box: Box) -> Image:
    """The part of the face box inside the frame, (24, 24, 3); black if no part is."""
    height, width = image.shape[:2]
    x0, y0 = max(int(box[0]), 0), max(int(box[1]), 0)
    x1, y1 = min(math.ceil(box[2]), width), min(math.ceil(box[3]), height)
    if x1 <= x0 or y1 <= y0:
        return np.zeros((_SIDE, _SIDE, 3), np.uint8)
    return cv2.resize(image[y0:y1, x0:x1], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def colour(a: Image, b: Image) -> float:
    """The mean difference of two thumbnails, of 255."""
    return float(np.abs(a.astype(np.float32) - b).mean())


def tint(thumbnail: Image) -> Tint:
    """Its mean colour whatever its brightness: a and b of CIE Lab."""
    a, b = np.asarray(cv2.cvtColor(thumbnail, cv2.COLOR_RGB2LAB), np.float64)[..., 1:].mean((0, 1))
    return float(a), float(b)


def tints_apart(one: Tint, other: Tint) -> float:
    """Their distance in CIE Lab."""
    return math.dist(one, other)


def correlation(a_HWC: Image, b_HWC: Image) -> float:
    """The best correlation of the centre of one with the other over shifts of 2 px, since MTCNN's boxes jitter."""
    a, b = _grey(a_HWC), _grey(b_HWC)
    middle = np.ascontiguousarray(a[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT])
    if middle.std() == 0 or b.std() == 0:
        return 1.0
    return float(cv2.matchTemplate(b, middle, cv2.TM_CCOEFF_NORMED).max())


def _grey(image: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)

"""How two boxes lie to each other."""

from __future__ import annotations

import math
from typing import Final

from semblance.manifests.records import Box

_INSIDE: Final = 0.5  # of the smaller box: two boxes of a frame that share as much show one face
_CLOSE: Final = 1.2  # of the longer side of the box: how far a face may move in a moment
_GROWN: Final = 1.6  # how much larger or smaller it may become


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def one_face(a: Box, b: Box) -> bool:
    """Whether two boxes of one frame show one face, found twice."""
    return _shared(a, b) >= _INSIDE


def _shared(a: Box, b: Box) -> float:
    """The intersection of two boxes, as a part of the smaller one."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))


def near(a: Box, b: Box) -> bool:
    """Whether two boxes are of similar size and close to each other."""
    sides = max(a[2] - a[0], a[3] - a[1]), max(b[2] - b[0], b[3] - b[1])
    distance = math.hypot((a[0] + a[2] - b[0] - b[2]) / 2, (a[1] + a[3] - b[1] - b[3]) / 2)
    return distance <= _CLOSE * min(sides) and max(sides) <= _GROWN * min(sides)

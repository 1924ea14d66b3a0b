"""How a stored frame becomes the upright picture with square pixels that a player shows."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import cv2
import numpy as np

from semblance.manifests.records import Image
from semblance.quality.resize import resize

_TURNS: Final = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


@dataclass(frozen=True, slots=True)
class Orientation:
    """The picture is upright after a counter-clockwise turn by ``rotation`` degrees (0, 90, 180 or 270), and then, if
    ``mirrored``, after its left and right are exchanged. These are all eight ways to lay a rectangle down.
    """

    rotation: int = 0
    mirrored: bool = False

    def apply(self, image: Image) -> Image:
        """The stored (H, W, 3) picture, upright; (W, H, 3) after a quarter turn."""
        if self.rotation:
            image = np.asarray(cv2.rotate(image, _TURNS[self.rotation]))
        return np.asarray(cv2.flip(image, 1)) if self.mirrored else image


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """``aspect``: width over height of a stored pixel; ``orientation``: what makes the stored frame upright."""

    aspect: Fraction = Fraction(1)
    orientation: Orientation = Orientation()

    def apply(self, image: Image) -> Image:
        """The stored (H, W, 3) picture as it is shown, contiguous: pixels made square, then upright."""
        height, width = image.shape[:2]
        if (size := square(width, height, self.aspect)) != (width, height):
            image = resize(image, *size, "cubic")
        return np.ascontiguousarray(self.orientation.apply(image))

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the picture that a stored frame of this size becomes."""
        width, height = square(width, height, self.aspect)
        return (height, width) if self.orientation.rotation in (90, 270) else (width, height)


def square(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """The size at which a stored frame has square pixels: one side is stretched, so that no detail is lost."""
    if aspect >= 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def aspect_of(stream: Any) -> Fraction:
    """The aspect of a stream's pixels: the container's word before the codec's, as in ffmpeg; 1 where neither says."""
    stated = stream.sample_aspect_ratio
    return Fraction(stated) if stated is not None and stated > 0 else Fraction(1)


def orientation_of(frame: Any) -> Orientation:
    """The nearest of the eight orientations to the frame's display matrix (ISO/IEC 14496-12, 6.2.2)."""
    data = side_data(frame, "DISPLAYMATRIX")
    if data is None:
        return Orientation(round(frame.rotation / 90) % 4 * 90)
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()  # x, y is shown at a x + c y, b x + d y
    return from_matrix(a, b, c, d)


def side_data(frame: Any, kind: str) -> Any:
    """What FFmpeg attached to the frame under this name, or None."""
    try:
        return frame.side_data.get(kind)
    except ValueError:  # PyAV names no kind newer than itself, and then gives none
        return None


def from_matrix(a: int, b: int, c: int, d: int) -> Orientation:
    """The nearest of the eight orientations; none where the matrix flattens the picture.

    >>> from_matrix(0, -1, 1, 0)  # the stored upper right corner is shown at the upper left
    Orientation(rotation=90, mirrored=False)
    """
    if a * d == b * c:
        return Orientation()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(0 if d > 0 else 180, a * d < 0)
    return Orientation(90 if b < 0 else 270, b * c > 0)

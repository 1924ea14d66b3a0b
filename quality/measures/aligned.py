"""Perceptual hash of a face laid onto a fixed template by its landmarks: the same wherever a copy shows the face."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from semblance.manifests.records import Grey, Image, Landmarks
from semblance.quality.measures.pixels import grey

SIDE: Final = 64  # px of the aligned face
BITS: Final = 63  # of the hash that say anything: the highest, of the mean, is always 0
_TIMES: Final = 2  # drawn larger, then averaged, against aliasing
_LARGE: Final = 128  # px of the frame under the template: from twice that on, the frame is halved first
_LOW: Final = 8  # frequencies along each axis

# ArcFace's template (Deng et al. 2019) made symmetric, as shares of the side: left eye, right eye, nose, left and right
# mouth corner, x + iy. Symmetric, so that a mirrored face lies on it as the face itself does.
_TEMPLATE: Final = np.array([0.3427 + 0.4607j, 0.6573 + 0.4607j, 0.5 + 0.6405j, 0.3698 + 0.8239j, 0.6302 + 0.8239j])
_SWAPPED: Final = (1, 0, 2, 4, 3)  # landmarks of the mirrored face, in the order of the template


def cut(image_HWC: Image, landmarks: Landmarks) -> tuple[Grey, Landmarks] | None:
    """The part of a frame that the template needs, grey and no larger than it needs, and the landmarks in it.

    It does not depend on how the recipe crops. None if the landmarks are one point, or all of it is outside the frame.
    """
    fit = _fit(landmarks, SIDE)
    if fit is None:
        return None
    turn, shift = fit
    side = SIDE / abs(turn)
    reach = side * (abs(turn.real) + abs(turn.imag)) / abs(turn) / 2 + 2  # from the centre to all of the turned square
    centre = ((0.5 + 0.5j) * SIDE - shift) / turn
    height, width = image_HWC.shape[:2]
    x0, y0 = (max(math.floor(value - reach), 0) for value in (centre.real, centre.imag))
    x1, y1 = math.ceil(centre.real + reach), math.ceil(centre.imag + reach)
    inside = min(x1, y1) > 0 and x0 < width and y0 < height
    part = grey(image_HWC[y0 : min(y1, height), x0 : min(x1, width)]) if inside else None
    if part is None:
        return None
    times = 1
    while side >= 2 * _LARGE * times and min(part.shape) > 1:  # exact halves are averaged several times faster
        half = (part.shape[1] // 2, part.shape[0] // 2)
        part = cv2.resize(part[: 2 * half[1], : 2 * half[0]], half, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        times *= 2
    points = (np.array(landmarks, np.float64).reshape(5, 2) - (x0, y0)) / times
    return part, tuple(points.reshape(-1).tolist())


def aligned(grey_HW: Grey, landmarks: Landmarks) -> Grey | None:
    """The face on the template, (64, 64): the similarity that fits the five landmarks best; edge pixels repeat.

    None if the landmarks are one point.
    """
    fit = _fit(landmarks, SIDE * _TIMES)
    if fit is None:
        return None
    turn, shift = fit
    shift += turn * (0.5 + 0.5j) - (0.5 + 0.5j)  # pixel centres are at half-integer positions
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    size = (SIDE * _TIMES, SIDE * _TIMES)
    large = cv2.warpAffine(grey_HW, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(large, (SIDE, SIDE), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _fit(landmarks: Landmarks, side: int) -> tuple[complex, complex] | None:
    """The similarity z -> turn z + shift that maps the landmarks to the template with least squares."""
    points = np.array(landmarks, np.float64).reshape(5, 2) @ (1, 1j)
    centre, middle = points.mean(), _TEMPLATE.mean()
    spread = float((np.abs(points - centre) ** 2).sum())
    if spread < 1e-6:
        return None
    turn = complex((np.conj(points - centre) * (_TEMPLATE - middle)).sum() / spread) * side
    return (turn, complex(middle) * side - turn * complex(centre)) if abs(turn) > 1e-9 else None


def mirrored(grey_HW: Grey, landmarks: Landmarks) -> tuple[Grey, Landmarks]:
    """The picture with left and right exchanged, and the landmarks of the face in it."""
    points = np.array(landmarks, np.float64).reshape(5, 2)[list(_SWAPPED)]
    points[:, 0] = grey_HW.shape[1] - points[:, 0]
    return np.ascontiguousarray(grey_HW[:, ::-1]), tuple(points.reshape(-1).tolist())


def aligned_phash(grey_HW: Grey, landmarks: Landmarks) -> int | None:
    """64-bit hash of the aligned face: DCT of 64 x 64, the lowest 8 x 8 terms but the mean against their median, row
    by row from the second highest bit; the highest is 0 (after Zauner 2010). None if the landmarks are one point.
    """
    face = aligned(grey_HW, landmarks)
    if face is None:
        return None
    low: NDArray[np.float32] = cv2.dct(face.astype(np.float32))[:_LOW, :_LOW].reshape(-1)[1:]  # type: ignore[assignment]
    bits = np.concatenate([[False], low > np.median(low)])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")

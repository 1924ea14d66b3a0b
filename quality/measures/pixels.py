"""Formulas over pixels: grey or RGB arrays to numbers."""

from __future__ import annotations

import math
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from semblance.manifests.records import Box, Image

_KV: Final = np.array(
    [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]], np.float32
)
_KV_SUM: Final = 12
_HASH_LARGE: Final = 256  # px, the shorter side: larger pictures are halved before they are hashed


def grey(image_HWC: Image) -> NDArray[np.uint8]:
    """BT.601 grey, 0 to 255, (H, W)."""
    return cv2.cvtColor(image_HWC, cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]


def blur(grey_HW: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian 0 1 0 / 1 -4 1 / 0 1 0, edges reflected without repeating the edge pixel
    (Pech-Pacheco et al. 2000): high is sharp.
    """
    return _spread(_laplacian(grey_HW)) ** 2


def blur_face(grey_HW: NDArray[np.uint8], box: Box) -> float | None:
    """``blur`` of the part of the crop inside the face box; None if the box is outside the crop."""
    laplacian = _laplacian(grey_HW)[inside(box, grey_HW.shape)]
    return _spread(laplacian) ** 2 if laplacian.size else None


def _laplacian(grey_HW: NDArray[np.uint8]) -> NDArray[np.int16]:
    return cv2.Laplacian(grey_HW, cv2.CV_16S, ksize=1, borderType=cv2.BORDER_REFLECT_101)  # type: ignore[return-value]


def _spread(values_HW: NDArray[Any]) -> float:
    """Standard deviation of integers; OpenCV sums them exactly, ten times faster than floats."""
    return float(cv2.meanStdDev(values_HW)[1][0, 0])


def brightness(grey_HW: NDArray[np.uint8]) -> float:
    """Mean grey, 0 to 1."""
    return float(grey_HW.mean() / 255)


def contrast(grey_HW: NDArray[np.uint8]) -> float:
    """Standard deviation of grey, 0 to 0.5."""
    return _spread(grey_HW) / 255


def phash(image_HWC: Image) -> int:
    """64-bit perceptual hash: 32 x 32 grey, DCT, the lowest 8 x 8 terms against their median, row by row
    from the highest bit (Zauner 2010, as in ImageHash). Large pictures are halved first, which is four times
    faster: a whole frame is averaged over hundreds of pixels either way.
    """
    while min(image_HWC.shape[:2]) >= _HASH_LARGE:
        half = (image_HWC.shape[1] // 2, image_HWC.shape[0] // 2)
        image_HWC = cv2.resize(image_HWC, half, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    small = cv2.resize(grey(image_HWC), (32, 32), interpolation=cv2.INTER_AREA).astype(np.float64)
    low = np.array(cv2.dct(small)[:8, :8], np.float64)
    low[0] *= math.sqrt(2)  # OpenCV's DCT is orthonormal; the hash is defined on the plain one
    low[:, 0] *= math.sqrt(2)
    bits = (low > np.median(low)).reshape(-1)
    return int("".join("1" if bit else "0" for bit in bits), 2)


def residual(grey_HW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a pixel differs from its neighbours' prediction by, (H - 4, W - 4), in grey levels: the 5 x 5 filter KV
    (Ker and Boehme 2008; Fridrich and Kodovsky 2012), without the edges. Empty for pictures of less than 5 px.
    """
    if min(grey_HW.shape) < len(_KV):
        return np.zeros((0, 0), np.float32)
    edge = len(_KV) // 2
    whole = cv2.filter2D(grey_HW, cv2.CV_16S, _KV, borderType=cv2.BORDER_REFLECT_101)  # integers: exact
    return np.asarray(whole[edge:-edge, edge:-edge] / np.float32(_KV_SUM), np.float32)


def kurtosis(values: NDArray[np.float32]) -> float | None:
    """Mean fourth power over the squared mean square: 3 for Gaussian noise of mean 0; None if all are 0."""
    square = np.square(values, dtype=np.float64)
    middle = float(square.mean()) if square.size else 0.0
    return float(np.square(square).mean()) / middle**2 if middle else None


def hamming(a: int, b: int) -> int:
    """Number of differing bits."""
    return (a ^ b).bit_count()


def inside(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The part of an (H, W) array inside the box, in whole pixels."""
    x0, y0, x1, y1 = box
    columns = slice(min(max(round(x0), 0), shape[1]), min(max(round(x1), 0), shape[1]))
    rows = slice(min(max(round(y0), 0), shape[0]), min(max(round(y1), 0), shape[0]))
    return rows, columns

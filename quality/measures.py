"""Pixels to measures: one function, one formula and one source each; what cannot be known is None."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from semblance.manifests.records import Box, Crop, Geometry, Image, Landmarks, Measures

RATIO_MARGIN: Final = 1.3  # of face_ratio, whatever the recipe's margin
_INSIDE_BLOCK: Final = 12  # px
_WHOLE_BLOCK: Final = 16  # px
_HASH_LARGE: Final = 256  # px, the shorter side: larger pictures are halved before they are hashed
_TILES: Final = 4  # by four: where a frame is looked at away from its faces
_TILE: Final = 96  # px, the largest side of such a tile
_LEAST_TILES: Final = 4  # free of faces; with fewer nothing is said
_NOISE_FLOOR: Final = 0.5  # of 255: the least that counts as difference by re-encoding

# ITA is an estimate on a web video: these limits are ours, and wide of them it is not given.
_ITA_PATCH: Final = 5  # px, least side of a cheek patch
_ITA_LIGHTNESS: Final = (20.0, 95.0)  # L*: too dark or burnt out
_ITA_LEAST_B: Final = 2.0  # b*: bluish light makes the angle meaningless
_ITA_CHEEKS: Final = 25.0  # degrees between the two cheeks: side light


def measure_frame(image_HWC: Image, faces: Sequence[Geometry]) -> Measures:
    """What is measured of the frame and holds for all of its ``faces``, whose crops are kept out of it.

    ``*_outside``: ``blur``, ``brightness`` and ``contrast`` of native tiles of at most 96 px in the middle of a 4 x 4
    grid's fields, those left out that touch a crop: the means over the tiles, for brightness and contrast of all
    their pixels together. None where fewer than four tiles are free.
    """
    height, width = image_HWC.shape[:2]
    tiles = [grey(image_HWC[tile]) for tile in _tiles(height, width) if not any(_touches(tile, one) for one in faces)]
    frame = Measures(frame_phash=phash(image_HWC))
    if len(tiles) < _LEAST_TILES:
        return frame
    pixels = np.vstack(tiles)
    return replace(
        frame,
        blur_outside=float(np.mean([blur(tile) for tile in tiles])),
        brightness_outside=brightness(pixels),
        contrast_outside=contrast(pixels),
    )


def _tiles(height: int, width: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the tiles."""
    high, wide = height // _TILES, width // _TILES
    side = min(_TILE, high, wide)
    starts = [
        (place * high + (high - side) // 2, step * wide + (wide - side) // 2)
        for place in range(_TILES)
        for step in range(_TILES)
    ]
    return [(slice(y, y + side), slice(x, x + side)) for y, x in starts] if side else []


def _touches(tile: tuple[slice, slice], crop: Geometry) -> bool:
    rows, columns = tile
    return bool(
        rows.start < crop.y0 + crop.side
        and rows.stop > crop.y0
        and columns.start < crop.x0 + crop.side
        and columns.stop > crop.x0
    )


def measure(crop: Crop, frame: Measures, width: int, height: int) -> Measures:
    """All measures of a crop but those that need a partner. ``frame`` holds those of the whole frame, ``width`` and
    ``height`` are its size.
    """
    shades = grey(crop.probe)
    return replace(
        frame,
        blur=blur(shades),
        blur_face=blur_face(shades, crop.box_in_probe),
        brightness=brightness(shades),
        contrast=contrast(shades),
        face_ratio=face_ratio(crop.face.box, width, height),
        ita=ita(crop.probe, crop.landmarks_in_probe),
        phash=phash(crop.probe),
    )


def measure_picture(image_HWC: Image) -> Measures:
    """What can be measured of a face that came cut out: its box, landmarks and frame are unknown."""
    shades = grey(image_HWC)
    return Measures(blur=blur(shades), brightness=brightness(shades), contrast=contrast(shades), phash=phash(image_HWC))


def compare(crop: Crop, partner_HWC: Image) -> tuple[float | None, float | None, float]:
    """``change``, ``change_peak`` and the difference outside the face between a crop and its original's."""
    difference = absolute_difference(crop.image, partner_HWC)
    scale = crop.image.shape[0] / crop.probe.shape[0]
    x0, y0, x1, y1 = crop.box_in_probe
    box = (x0 * scale, y0 * scale, x1 * scale, y1 * scale)
    return change(difference, box), change_peak(difference, box), outside(difference, box)


def grey(image_HWC: Image) -> NDArray[np.uint8]:
    """BT.601 grey, 0 to 255, (H, W)."""
    return cv2.cvtColor(image_HWC, cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]


def blur(grey_HW: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian 0 1 0 / 1 -4 1 / 0 1 0, edges reflected without repeating the edge pixel
    (Pech-Pacheco et al. 2000): high is sharp.
    """
    return _spread(_laplacian(grey_HW)) ** 2


def blur_face(grey_HW: NDArray[np.uint8], box: Box) -> float | None:
    """``blur`` of the part of the crop inside the face box; None where nothing of it is there."""
    laplacian = _laplacian(grey_HW)[_inside(box, grey_HW.shape)]
    return _spread(laplacian) ** 2 if laplacian.size else None


def _laplacian(grey_HW: NDArray[np.uint8]) -> NDArray[np.int16]:
    return cv2.Laplacian(grey_HW, cv2.CV_16S, ksize=1, borderType=cv2.BORDER_REFLECT_101)  # type: ignore[return-value]


def _spread(values_HW: NDArray[Any]) -> float:
    """Standard deviation of whole numbers, whose sums OpenCV takes exactly, ten times faster than by floats."""
    return float(cv2.meanStdDev(values_HW)[1][0, 0])


def brightness(grey_HW: NDArray[np.uint8]) -> float:
    """Mean grey, 0 to 1."""
    return float(grey_HW.mean() / 255)


def contrast(grey_HW: NDArray[np.uint8]) -> float:
    """Standard deviation of grey, 0 to 0.5."""
    return _spread(grey_HW) / 255


def face_ratio(box: Box, width: int, height: int) -> float:
    """sqrt(box area inside the frame) / (1.3 x the longer side of the whole box): about 0.67 for a whole
    face, 0.6 where a fifth is outside.
    """
    x0, y0, x1, y1 = box
    inside = max(min(x1, width) - max(x0, 0.0), 0.0) * max(min(y1, height) - max(y0, 0.0), 0.0)
    return math.sqrt(inside) / (RATIO_MARGIN * max(x1 - x0, y1 - y0))


def ita(image_HWC: Image, landmarks: Landmarks) -> float | None:
    """Individual typology angle, atan((L* - 50) / b*) in degrees (Chardon et al. 1991), of the two cheeks.

    The cheeks lie halfway between each eye and its mouth corner, patches a quarter of the eye distance
    wide. None where a patch is small or outside, the light too dark, burnt out or blue, or the cheeks differ.
    """
    points = np.array(landmarks).reshape(5, 2)
    half = float(np.hypot(*(points[1] - points[0]))) / 8
    angles = []
    for eye, mouth in ((points[0], points[3]), (points[1], points[4])):
        x, y = (eye + mouth) / 2
        x0, y0, x1, y1 = round(x - half), round(y - half), round(x + half), round(y + half)
        patch = image_HWC[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
        if min(patch.shape[:2]) < _ITA_PATCH or patch.shape[:2] != (y1 - y0, x1 - x0):
            return None
        lab = cv2.cvtColor(patch.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
        lightness, b = float(np.median(lab[..., 0])), float(np.median(lab[..., 2]))
        if not _ITA_LIGHTNESS[0] <= lightness <= _ITA_LIGHTNESS[1] or b < _ITA_LEAST_B:
            return None
        angles.append(math.degrees(math.atan2(lightness - 50, b)))
    return sum(angles) / 2 if abs(angles[0] - angles[1]) <= _ITA_CHEEKS else None


def phash(image_HWC: Image) -> int:
    """64-bit perceptual hash: 32 x 32 grey, DCT, the lowest 8 x 8 terms against their median, row by row
    from the highest bit (Zauner 2010, as ImageHash has it). A large picture is halved first: a whole frame is
    averaged over hundreds of pixels either way, and this way four times faster.
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


def hamming(a: int, b: int) -> int:
    """How many bits differ."""
    return (a ^ b).bit_count()


def absolute_difference(image_HWC: Image, partner_HWC: Image) -> NDArray[np.float32]:
    """Mean over RGB of the absolute difference at each pixel, (H, W), 0 to 255."""
    difference = cv2.absdiff(image_HWC, partner_HWC).astype(np.float32)
    return np.asarray(cv2.transform(difference, np.ones((1, 3), np.float32)) / np.float32(3))


def change(difference_HW: NDArray[np.float32], box: Box) -> float | None:
    """Mean difference inside the face box; it cannot tell re-encoding from forgery."""
    inside = difference_HW[_inside(box, difference_HW.shape)]
    return float(inside.mean(dtype=np.float64)) if inside.size else None


def change_peak(difference_HW: NDArray[np.float32], box: Box) -> float | None:
    """95th percentile of the 12 x 12 block means inside the face box, over the median (at least 0.5) of the
    16 x 16 block means of the whole crop: about 2 for mere re-encoding, above 3 for a forgery (ours).
    """
    inside = block_means(difference_HW[_inside(box, difference_HW.shape)], _INSIDE_BLOCK)
    if not inside.size:
        return None
    whole = block_means(difference_HW, _WHOLE_BLOCK)
    return float(np.percentile(inside, 95) / max(float(np.median(whole)), _NOISE_FLOOR))


def outside(difference_HW: NDArray[np.float32], box: Box) -> float:
    """Median of the means of those 16 x 16 blocks that lie wholly outside the face box; of all blocks where
    the box leaves none.
    """
    means = block_means(difference_HW, _WHOLE_BLOCK)
    rows, columns = np.indices(means.shape) * _WHOLE_BLOCK
    x0, y0, x1, y1 = box
    touched = (columns < x1) & (columns + _WHOLE_BLOCK > x0) & (rows < y1) & (rows + _WHOLE_BLOCK > y0)
    clear = means[~touched]
    return float(np.median(clear if clear.size else means))


def block_means(values_HW: NDArray[np.float32], side: int) -> NDArray[np.float64]:
    """Means of the whole side x side blocks, (H // side, W // side); what is left at the ends is not used."""
    rows, columns = values_HW.shape[0] // side, values_HW.shape[1] // side
    blocks = values_HW[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float64))


def _inside(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The part of an (H, W) array inside the box, in whole pixels."""
    x0, y0, x1, y1 = box
    columns = slice(min(max(round(x0), 0), shape[1]), min(max(round(x1), 0), shape[1]))
    rows = slice(min(max(round(y0), 0), shape[0]), min(max(round(y1), 0), shape[0]))
    return rows, columns

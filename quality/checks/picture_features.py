"""What a crop says without a network: frequencies, noise, edges and colours of blocks of its face, or away from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from semblance.manifests.records import Box, Image
from semblance.quality.measures import pixels

Region = Literal["outside", "face", "whole"]
Numbers = NDArray[np.float64]

ENLARGED: Final = 1.1  # the face box is taken this much wider and higher before anything counts as outside
BLOCK: Final = 8  # px
_SHARE: Final = 12  # one block in so many of a picture is looked at
_LEAST: Final = 16  # blocks; a region with fewer is unknown
_TRUNCATED: Final = 2  # grey levels: larger differences of neighbours count as this
_BINS: Final = 8  # of a colour histogram
_TURNS: Final = 9  # of a gradient's direction
_FLOOR: Final = 1e-3  # grey levels

Blocks = NDArray[np.float32]  # (N, 8, 8)


def features(image_HWC: Image, regions: Sequence[Region], box: Box, valid: Box) -> dict[Region, Numbers] | None:
    """(146,) statistics of each region of an RGB crop; None if one of them has too few blocks.

    ``box`` is the face's, ``valid`` the part of the crop that shows the frame and not its repeated edge, both in pixels
    of the crop. Nothing is masked or filled: ``outside`` looks at 8 x 8 px blocks that do not touch the enlarged box,
    ``face`` at those inside the box. How many blocks are looked at depends on the size of the picture alone, and they
    are the first of one order of all its places, so that neither size nor edges of the box enter a statistic.

    Logarithms of the mean absolute DCT coefficients (63) and their tails by frequency (14); the residual of the filter
    KV and its tails (2); how differences of neighbours follow each other (25; Pevny et al. 2010); gradients by
    direction, over the whole region, and their strength (10; Dalal and Triggs 2005); histograms and moments of luma and
    chroma (30), and the differences of chroma (2).
    """
    places = {region: _places(image_HWC.shape, region, box, valid) for region in regions}
    ycc = cv2.cvtColor(image_HWC, cv2.COLOR_RGB2YCrCb)
    planes = [ycc[..., channel].astype(np.float32) for channel in range(3)]
    residual = pixels.residual(np.ascontiguousarray(ycc[..., 0]))  # of a block's inner 4 x 4 px: 5 x 5 px around each
    found: dict[Region, Numbers] = {}
    for region, where in places.items():
        if where is None:
            return None
        luma, *chroma = (_blocks(plane, where) for plane in planes)
        parts = [_frequencies(luma), _noise(_blocks(residual, where, BLOCK - 4)), _neighbours(luma), _directions(luma)]
        found[region] = np.concatenate([*parts, _colours([luma, *chroma])]).astype(np.float64)
    return found


def in_crop(row: Mapping[str, Any], size: int) -> tuple[Box, Box] | None:
    """Box of the face and the part that shows the frame, in pixels of a crop of ``size`` px.

    ``row``: box, crop and the frame's ``width`` and ``height`` (None: all of the crop is taken for the frame). None if
    the place of the face in its crop is unknown.
    """
    if row["crop_side"] is None or row["box_x0"] is None:
        return None
    scale = size / row["crop_side"]
    left, top = row["crop_x0"], row["crop_y0"]
    x0, x1 = ((row[end] - left) * scale for end in ("box_x0", "box_x1"))
    y0, y1 = ((row[end] - top) * scale for end in ("box_y0", "box_y1"))
    right = size if row["width"] is None else min((row["width"] - left) * scale, size)
    bottom = size if row["height"] is None else min((row["height"] - top) * scale, size)
    return (x0, y0, x1, y1), (max(-left * scale, 0.0), max(-top * scale, 0.0), right, bottom)


def _places(shape: tuple[int, ...], region: Region, box: Box, valid: Box) -> NDArray[np.int64] | None:
    """The upper left corners (N, 2) of the blocks that are looked at."""
    rows, columns = shape[0] // BLOCK, shape[1] // BLOCK
    order = np.random.default_rng(rows * 100_003 + columns).permutation(rows * columns)
    y, x = np.divmod(order, columns) if columns else (order, order)
    y, x = y * BLOCK, x * BLOCK
    use = _inside(x, y, valid)
    if region == "face":
        use &= _inside(x, y, box)
    elif region == "outside":
        use &= ~_touching(x, y, _enlarged(box))
    wanted = max(rows * columns // _SHARE, _LEAST)
    found = np.stack([y[use], x[use]], axis=1)[:wanted]
    return found if len(found) == wanted else None


def _inside(x: NDArray[np.int64], y: NDArray[np.int64], box: Box) -> NDArray[np.bool_]:
    return (x >= box[0]) & (y >= box[1]) & (x + BLOCK <= box[2]) & (y + BLOCK <= box[3])


def _touching(x: NDArray[np.int64], y: NDArray[np.int64], box: Box) -> NDArray[np.bool_]:
    return (x < box[2]) & (y < box[3]) & (x + BLOCK > box[0]) & (y + BLOCK > box[1])


def _enlarged(box: Box) -> Box:
    wide, high = ((box[end + 2] - box[end]) * (ENLARGED - 1) / 2 for end in (0, 1))
    return box[0] - wide, box[1] - high, box[2] + wide, box[3] + high


def _blocks(plane_HW: NDArray[np.float32], places: NDArray[np.int64], side: int = BLOCK) -> Blocks:
    steps = np.arange(side)
    return np.asarray(plane_HW[places[:, 0, None, None] + steps[:, None], places[:, 1, None, None] + steps])


def _dct() -> NDArray[np.float32]:
    """The orthonormal DCT-II of 8 values as a matrix."""
    k, n = np.arange(BLOCK)[:, None], np.arange(BLOCK)
    matrix = np.cos(np.pi * (2 * n + 1) * k / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix, np.float32)


_DCT: Final = _dct()
_RING: Final = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))  # 0 to 14: the frequency of a coefficient


def _frequencies(luma: Blocks) -> Numbers:
    size = np.abs(_DCT @ luma @ _DCT.T)
    mean, square = size.mean(0) + _FLOOR, np.square(size).mean(0)
    rings = [ring == _RING for ring in range(1, 2 * BLOCK - 1)]
    tails = [np.log((square[ring].mean() + _FLOOR**2) / np.square(mean[ring]).mean()) for ring in rings]
    return np.concatenate([np.log(mean).reshape(-1)[1:], np.array(tails)])


def _noise(residual: Blocks) -> Numbers:
    mean = np.abs(residual).mean() + _FLOOR
    return np.array([np.log(mean), np.log((np.square(residual).mean() + _FLOOR**2) / mean**2)])


def _neighbours(luma: Blocks) -> Numbers:
    """How often a difference of neighbours, cut to -2 to 2, follows another: both directions together, as roots."""
    kinds = 2 * _TRUNCATED + 1
    counts = np.zeros(kinds * kinds)
    for one in (luma, luma.transpose(0, 2, 1)):
        steps = np.clip(np.diff(one, axis=2), -_TRUNCATED, _TRUNCATED).astype(np.int64) + _TRUNCATED
        counts += np.bincount((steps[..., :-1] * kinds + steps[..., 1:]).reshape(-1), minlength=kinds * kinds)
    return np.asarray(np.sqrt(counts / counts.sum()))


def _directions(luma: Blocks) -> Numbers:
    across = (luma[:, 1:-1, 2:] - luma[:, 1:-1, :-2]).reshape(-1)
    down = (luma[:, 2:, 1:-1] - luma[:, :-2, 1:-1]).reshape(-1)
    strength = np.hypot(across, down)
    turn = np.minimum((np.arctan2(down, across) % np.pi / np.pi * _TURNS).astype(np.int64), _TURNS - 1)
    shares = np.bincount(turn, strength, minlength=_TURNS) / (strength.sum() + _FLOOR)
    return np.append(shares, np.log(strength.mean() + _FLOOR))


def _colours(planes: list[Blocks]) -> Numbers:
    found: list[Any] = []
    for plane in planes:
        counts = np.bincount((plane.reshape(-1) * _BINS / 256).astype(np.int64), minlength=_BINS)
        found += [*np.sqrt(counts / counts.sum()), plane.mean() / 255, plane.std() / 255]
    found += [np.log(np.abs(np.diff(plane, axis=2)).mean() + _FLOOR) for plane in planes[1:]]
    return np.array(found)

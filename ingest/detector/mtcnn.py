"""The MTCNN cascade (Zhang et al. 2016) with facenet-pytorch's decisions, on reduced 8-bit frames.

facenet-pytorch 2.5.3 pools every pyramid level in float from the full frame and crops every candidate from it. Here
the frame is halved repeatedly in 8 bits, and each level and candidate is drawn from the smallest half that still has a
multiple of its pixels. Thresholds, strides, rounding and the three suppressions are those of facenet-pytorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from semblance.ingest.detector.openvino import Floats, Name, Network
from semblance.manifests.records import Image

FACTOR: Final = 0.709  # between two levels of the pyramid
THRESHOLDS: Final = (0.6, 0.7, 0.7)  # of the three networks' scores
_CELL: Final = 12  # px that one output of the first network sees
_STRIDE: Final = 2
_FINE: Final = 3  # each level is drawn this many times larger, then averaged: close to facenet's exact pooling
_FINE_CUT: Final = 2  # the same for a candidate
Boxes = NDArray[np.float32]  # (N, 5): x0, y0, x1, y1, score


class Cascade:
    """Three networks; each one filters the candidates of the one before."""

    def __init__(self, networks: Mapping[Name, Network], min_face: int) -> None:
        self._networks = networks
        self._scale = _CELL / min_face

    def find(self, images: Sequence[Image]) -> list[tuple[Boxes, Floats]]:
        """Boxes (N, 5) and landmarks (N, 5, 2) of every face in each (H, W, 3) RGB frame, best first.

        Each step runs over all frames before the next step begins, which keeps its code and memory in the processor's
        caches: four frames of 1080p take a sixth less time than one by one. The frames do not affect each other.
        """
        stacks = [_halves(image) for image in images]
        proposed = self._propose(stacks)
        refined = [self._refine(boxes, halves) for boxes, halves in zip(proposed, stacks, strict=True)]
        return [self._output(boxes, halves) for boxes, halves in zip(refined, stacks, strict=True)]

    def _propose(self, stacks: Sequence[Sequence[Image]]) -> list[Boxes]:
        """Square proposals of the first network over every frame's pyramid."""
        pyramids = [self._pyramid(halves) for halves in stacks]
        passed: list[list[Floats]] = [[] for _ in stacks]
        for place in range(max(map(len, pyramids), default=0)):
            for rows, pyramid in zip(passed, pyramids, strict=True):
                if place < len(pyramid):
                    rows.append(self._candidates(*pyramid[place]))
        return [_proposals(rows) for rows in passed]

    def _pyramid(self, halves: Sequence[Image]) -> list[tuple[Image, float]]:
        """The levels of the pyramid with their scales, largest first."""
        height, width = halves[0].shape[:2]
        levels = []
        scale = self._scale
        while min(height, width) * scale >= _CELL:
            levels.append((_reduced(halves, (int(width * scale + 1), int(height * scale + 1))), scale))
            scale *= FACTOR
        return levels

    def _candidates(self, level: Image, scale: float) -> Floats:
        """The candidates of the first network at one level, (N, 9): box, score, regression."""
        regression, score = self._networks["pnet"](level[None])
        rows, columns = np.nonzero(score[0, 1] >= THRESHOLDS[0])
        if not len(rows):
            return np.zeros((0, 9), np.float32)
        cells = np.stack([columns, rows], 1).astype(np.float32)
        begin = np.floor((_STRIDE * cells + 1) / np.float32(scale))
        end = np.floor((_STRIDE * cells + _CELL) / np.float32(scale))
        candidates = np.concatenate([begin, end, score[0, 1, rows, columns, None], regression[0, :, rows, columns]], 1)
        return candidates.astype(np.float32)

    def _refine(self, boxes: Boxes, halves: Sequence[Image]) -> Boxes:
        crops, boxes = _cut(boxes, halves, 24)
        if not len(boxes):
            return boxes
        regression, score = self._networks["rnet"](crops)
        kept = score[:, 1] > THRESHOLDS[1]
        boxes = np.concatenate([boxes[kept, :4], score[kept, 1:]], 1)
        picked = suppressed(boxes, 0.7)
        return _squared(_regressed(boxes[picked], regression[kept][picked]))

    def _output(self, boxes: Boxes, halves: Sequence[Image]) -> tuple[Boxes, Floats]:
        crops, boxes = _cut(boxes, halves, 48)
        if not len(boxes):
            return boxes, np.zeros((0, 5, 2), np.float32)
        regression, points, score = self._networks["onet"](crops)
        kept = score[:, 1] > THRESHOLDS[2]
        boxes = np.concatenate([boxes[kept, :4], score[kept, 1:]], 1)
        size = boxes[:, 2:4] - boxes[:, :2] + 1
        landmarks = points[kept].reshape(-1, 2, 5).transpose(0, 2, 1) * size[:, None] + boxes[:, None, :2] - 1
        boxes = _regressed(boxes, regression[kept])
        picked = suppressed(boxes, 0.7, smaller=True)
        return boxes[picked], landmarks[picked]


def _proposals(passed: Sequence[Floats]) -> Boxes:
    """Squares from the candidates (N, 9) of all levels, suppressed within each level, then across levels."""
    levels = [rows[suppressed(rows[:, :5], 0.5)] for rows in passed if len(rows)]
    if not levels:
        return np.zeros((0, 5), np.float32)
    rows = np.concatenate(levels)
    rows = rows[suppressed(rows[:, :5], 0.7)]
    size = np.stack([rows[:, 2] - rows[:, 0], rows[:, 3] - rows[:, 1]], 1)
    boxes = rows[:, :5].copy()
    boxes[:, :4] += rows[:, 5:] * np.concatenate([size, size], 1)
    return _squared(boxes)


def _halves(image_HWC: Image) -> list[Image]:
    """The frame, its half, quarter, ... each pixel the mean of four; odd sides repeat their last row or column."""
    halves = [image_HWC]
    while min(halves[-1].shape[:2]) >= 2 * _CELL:
        last = halves[-1]
        height, width = last.shape[:2]
        if height % 2 or width % 2:
            last = cv2.copyMakeBorder(last, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
        size = (last.shape[1] // 2, last.shape[0] // 2)
        halves.append(cv2.resize(last, size, interpolation=cv2.INTER_AREA))  # type: ignore[arg-type]
    return halves


def _place(halves: Sequence[Image], scale: float) -> int:
    """The index of the smallest half that is at least ``scale`` times the frame."""
    place = 0
    while place + 1 < len(halves) and 0.5 ** (place + 1) >= scale:
        place += 1
    return place


def _reduced(halves: Sequence[Image], size: tuple[int, int]) -> Image:
    """The frame resized to ``size`` (width, height): bilinear from a half to a multiple of the size, then averaged."""
    source = halves[_place(halves, _FINE * size[0] / halves[0].shape[1])]
    fine = cv2.resize(source, (size[0] * _FINE, size[1] * _FINE), interpolation=cv2.INTER_LINEAR)
    # every third running mean: the same bits as INTER_AREA in a third of the time
    means = cv2.blur(fine, (_FINE, _FINE), anchor=(0, 0))
    return np.asarray(cv2.resize(means, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _cut(boxes: Boxes, halves: Sequence[Image], side: int) -> tuple[NDArray[np.uint8], Boxes]:
    """The candidates that overlap the frame, as (N, side, side, 3) pictures, and their boxes.

    As in facenet-pytorch, the part outside the frame is cut off and the remainder is stretched to the square.
    """
    height, width = halves[0].shape[:2]
    corners = boxes[:, :4].astype(np.int32)
    x0, y0 = np.maximum(corners[:, 0], 1) - 1, np.maximum(corners[:, 1], 1) - 1
    x1, y1 = np.minimum(corners[:, 2], width), np.minimum(corners[:, 3], height)
    inside = np.nonzero((x1 > x0) & (y1 > y0))[0]
    cut = np.empty((len(inside), side, side, 3), np.uint8)
    for place, i in enumerate(inside.tolist()):
        part = int(x0[i]), int(y0[i]), int(x1[i]), int(y1[i])
        _draw(halves, part, cut[place])
    return cut, boxes[inside]


def _draw(halves: Sequence[Image], part: tuple[int, int, int, int], picture: Image) -> None:
    """Fill the square ``picture`` with the region x0, y0, x1, y1 of the frame."""
    x0, y0, x1, y1 = part
    side = picture.shape[0]
    fine = side * _FINE_CUT
    if min(x1 - x0, y1 - y0) < fine:
        cv2.resize(halves[0][y0:y1, x0:x1], (side, side), dst=picture, interpolation=cv2.INTER_AREA)
        return
    place = _place(halves, fine / min(x1 - x0, y1 - y0))
    by = 2**place
    across, down = (x1 - x0) / by / fine, (y1 - y0) / by / fine  # px of the half per px drawn
    # pixel centres are at half-integer positions
    matrix = np.array([[across, 0, x0 / by + across / 2 - 0.5], [0, down, y0 / by + down / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpAffine(halves[place], matrix, (fine, fine), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    cv2.resize(drawn, (side, side), dst=picture, interpolation=cv2.INTER_AREA)


def _squared(boxes: Boxes) -> Boxes:
    """Squares with the centre and the longer side of each box."""
    size = boxes[:, 2:4] - boxes[:, :2]
    longer = size.max(1, keepdims=True, initial=0)
    begin = boxes[:, :2] + size * np.float32(0.5) - longer * np.float32(0.5)
    return np.concatenate([begin, begin + longer, boxes[:, 4:]], 1)


def _regressed(boxes: Boxes, regression: Floats) -> Boxes:
    """The boxes shifted by the network's regression, which is in units of their size."""
    size = boxes[:, 2:4] - boxes[:, :2] + 1
    moved = boxes.copy()
    moved[:, :4] += regression * np.concatenate([size, size], 1)
    return moved


def suppressed(boxes: Boxes, limit: float, *, smaller: bool = False) -> NDArray[np.intp]:
    """Non-maximum suppression: indices of the remaining boxes, best first.

    No remaining box overlaps a better one by more than ``limit``.

    Overlap is intersection over union; with ``smaller`` it is intersection over the smaller box, both measured
    with one pixel added to each side, as facenet-pytorch does in its last stage. Equal scores are ordered by box.
    """
    if len(boxes) < 2:
        return np.arange(len(boxes))
    order = np.lexsort((boxes[:, 3], boxes[:, 2], boxes[:, 1], boxes[:, 0], -boxes[:, 4]))
    x0, y0, x1, y1 = boxes[order, :4].T.astype(np.float64)
    extra = 1.0 if smaller else 0.0
    area = (x1 - x0 + extra) * (y1 - y0 + extra)
    width = np.minimum(x1[:, None], x1) - np.maximum(x0[:, None], x0) + extra
    height = np.minimum(y1[:, None], y1) - np.maximum(y0[:, None], y0) + extra
    both = np.maximum(width, 0) * np.maximum(height, 0)
    reference = np.minimum(area[:, None], area) if smaller else area[:, None] + area - both
    over = both > limit * reference
    alive = np.ones(len(order), bool)
    for i in range(len(order)):
        if alive[i]:
            alive[i + 1 :] &= ~over[i, i + 1 :]
    return order[alive]

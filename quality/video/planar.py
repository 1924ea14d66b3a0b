"""8 bit 4:2:0 to RGB, unbiased like swscale's exact way and within two levels of it, in half its time."""

from __future__ import annotations

from typing import Any, Final, Literal

import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from semblance.manifests.records import Image

Siting = Literal["left", "centre"]  # of a chroma sample over its two columns of luma; between its two rows in both
Bytes = NDArray[np.uint8]

FORMATS: Final = ("yuv420p", "yuvj420p")
_ROWS: Final = 96  # of chroma at a time: what is computed on stays in the processor's cache


class Planar:
    """Converts frames of one video; its buffers are kept from frame to frame."""

    def __init__(self) -> None:
        self._width = 0

    def rgb(self, frame: Any, siting: Siting, luma: tuple[float, float], full: bool) -> Image:
        """(H, W, 3) RGB of a frame in one of ``FORMATS`` with even sides, chroma interpolated linearly.

        ``luma``: the weights of red and blue in its matrix; ``full``: whether its range is full.
        """
        y, u, v = (
            np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
            for plane in frame.planes
        )
        self._allocate(frame.width)
        matrix = to_rgb(luma, full)
        image = np.empty((frame.height, frame.width, 3), np.uint8)
        for start in range(0, len(u), _ROWS):
            count = min(_ROWS, len(u) - start)
            rows = slice(2 * start, 2 * (start + count))
            packed = self._packed[: 2 * count]
            cb, cr = (self._enlarged(place, plane, start, count, siting) for place, plane in enumerate((u, v)))
            cv2.merge([y[rows], cb, cr], dst=packed)
            cv2.transform(packed, matrix, dst=image[rows])
        return image

    def _allocate(self, width: int) -> None:
        if width == self._width:
            return
        self._width = width
        half, high = width // 2, 2 * _ROWS
        self._packed = np.empty((high, width, 3), np.uint8)
        self._chroma = np.empty((2, high, width), np.uint8)
        self._around = np.empty((_ROWS + 2, half), np.uint8)
        self._tall, self._between = np.empty((2, high, half), np.uint8)

    def _enlarged(self, place: int, plane: Bytes, start: int, count: int, siting: Siting) -> Bytes:
        """``count`` rows of chroma at twice their height and width; beyond its edges it goes on as it ends."""
        around, tall, to = self._around[: count + 2], self._tall[: 2 * count], self._chroma[place, : 2 * count]
        around[1:-1] = plane[start : start + count]
        around[0], around[-1] = plane[max(start - 1, 0)], plane[min(start + count, len(plane) - 1)]
        if siting == "centre":
            enlarged = cv2.resize(around, (2 * around.shape[1], 2 * len(around)), interpolation=cv2.INTER_LINEAR)
            return np.asarray(enlarged[2:-2], np.uint8)
        cv2.addWeighted(around[1:-1], 0.75, around[:-2], 0.25, 0, dst=tall[0::2])
        cv2.addWeighted(around[1:-1], 0.75, around[2:], 0.25, 0, dst=tall[1::2])
        between = self._between[: 2 * count]
        cv2.addWeighted(tall[:, :-1], 0.5, tall[:, 1:], 0.5, 0, dst=between[:, :-1])
        between[:, -1] = tall[:, -1]
        cv2.merge([tall, between], dst=to.reshape(2 * count, -1, 2))
        return to


def to_rgb(luma: tuple[float, float], full: bool) -> NDArray[np.float32]:
    """(3, 4): 8 bit Y, Cb, Cr and 1 to 8 bit R, G, B (ITU-T H.273, equations 34 to 52)."""
    red, blue = luma
    black, white, chroma = (0.0, 255.0, 255.0) if full else (16.0, 219.0, 224.0)
    of_cb = np.array([0, -2 * blue * (1 - blue) / (1 - red - blue), 2 * (1 - blue)]) / chroma
    of_cr = np.array([2 * (1 - red), -2 * red * (1 - red) / (1 - red - blue), 0]) / chroma
    of_one = -black / white - (of_cb + of_cr) * 128
    return np.stack([np.full(3, 1 / white), of_cb, of_cr, of_one], axis=1, dtype=np.float32, casting="same_kind") * 255


def siting_of(frame: Any, swscale: VideoReformatter) -> Siting | None:
    """Where swscale takes the frame's chroma samples to be, None for another place than the two common ones.

    PyAV does not tell, so a small frame with the same properties and ramps for chroma is enlarged.
    """
    small = swscale.reformat(frame, width=16, height=16, format="yuv420p", interpolation=Interpolation.POINT, threads=1)
    ramp = np.arange(0, 256, 32, dtype=np.uint8)
    for plane, values in zip(small.planes[1:], (np.tile(ramp, (8, 1)), np.tile(ramp[:, None], (1, 8))), strict=True):
        padded = np.zeros((8, plane.line_size), np.uint8)
        padded[:, :8] = values
        plane.update(padded.tobytes())
    exact = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    large: Any = swscale.reformat(small, format="yuv444p", interpolation=exact, threads=1)
    _, u, v = large.planes
    across, down = (int(np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[8, 8]) for plane in (u, v))
    known: dict[tuple[int, int], Siting] = {(128, 120): "left", (120, 120): "centre"}
    return known.get((across, down))

"""Pictures at another size: the one place where a filter is chosen, so that training and prediction see the same."""

from __future__ import annotations

from typing import Final, Literal

import cv2
import numpy as np

from semblance.manifests.records import Image

Filter = Literal["area", "cubic", "linear", "nearest"]
_FLAGS: Final[dict[Filter, int]] = {
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
    "linear": cv2.INTER_LINEAR,
    "nearest": cv2.INTER_NEAREST,
}


def resize(image_HWC: Image, width: int, height: int, kind: Filter) -> Image:
    """The (H, W, 3) picture at ``height`` x ``width`` px, with an explicit filter."""
    return cv2.resize(image_HWC, (width, height), interpolation=_FLAGS[kind])  # type: ignore[return-value]


def to_square(image_HWC: Image, side: int) -> Image:
    """A square of ``side`` px, contiguous: area averaging where the shorter side shrinks, else cubic.

    A picture of that size already keeps its pixels.
    """
    if image_HWC.shape[:2] == (side, side):
        return np.ascontiguousarray(image_HWC)
    return resize(image_HWC, side, side, "area" if side < min(image_HWC.shape[:2]) else "cubic")


def shrink(image_HWC: Image, scale: float, down: Filter, up: Filter = "linear") -> Image:
    """The picture made smaller by ``scale``, at least 1 px, and as large again: what is lost is its detail."""
    height, width = image_HWC.shape[:2]
    small = resize(image_HWC, max(round(width * scale), 1), max(round(height * scale), 1), down)
    return resize(small, width, height, up)

"""Augmentations of one picture, as pure functions of the picture and the random numbers drawn.

All take and return (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from semblance.manifests.records import Image
from semblance.quality import codec

Floats = NDArray[np.float32]


def gridmask(image_HWC: Image, cells: int, ratio: float, shift: tuple[float, float]) -> Image:
    """GridMask (Chen et al. 2020): one black square in each of ``cells`` x ``cells`` cells.

    ``ratio``: side of the square relative to the cell. ``shift``: (down, right) offset of the grid, in cells.
    """
    holes = []
    for length, offset in zip(image_HWC.shape[:2], shift, strict=True):
        cell = length / cells
        holes.append(((np.arange(length) + 0.5) / cell - offset) % 1 < ratio)
    masked = image_HWC.copy()
    masked[holes[0][:, None] & holes[1][None, :]] = 0
    return masked


def spectral_noise(image_HWC: Image, strength: float, start: float, normal_HW: Floats) -> Image:
    """Each DCT coefficient from frequency ``start`` on, multiplied by 1 + ``strength`` x its normal number.

    Frequencies are diagonals, from 0 (the mean, which stays) to 1. All three colours get the same noise.
    """
    spectrum_HWC = scipy.fft.dctn(image_HWC.astype(np.float32), axes=(0, 1), norm="ortho")
    factor_HW = np.where(_height(*image_HWC.shape[:2]) >= start, 1 + strength * normal_HW, 1).astype(np.float32)
    factor_HW[0, 0] = 1
    return rounded(scipy.fft.idctn(spectrum_HWC * factor_HW[..., None], axes=(0, 1), norm="ortho"))


def encode_twice(image_HWC: Image, first: int, second: int, shift: tuple[int, int]) -> Image:
    """JPEG of quality ``first``, then of quality ``second`` with its 8 px grid shifted by (down, right) px."""
    height, width = image_HWC.shape[:2]
    down, right = shift
    wide = cv2.copyMakeBorder(image_HWC, down, 8, right, 8, cv2.BORDER_REFLECT_101)
    once = codec.degrade(_image(wide), first)[down : down + height, right : right + width]
    return codec.degrade(np.ascontiguousarray(once), second)


def blur(image_HWC: Image, sigma: float) -> Image:
    """Gaussian blur; ``sigma`` in px."""
    return _image(cv2.GaussianBlur(image_HWC, (0, 0), sigma))


def sharpen(image_HWC: Image, amount: float) -> Image:
    """Unsharp mask with a sigma of 1 px and strength ``amount``."""
    image = image_HWC.astype(np.float32)
    return rounded(cv2.addWeighted(image, 1 + amount, cv2.GaussianBlur(image, (0, 0), 1.0), -amount, 0))


def noise(image_HWC: Image, sigma: float, normal_HWC: Floats) -> Image:
    """Additive noise with a standard deviation of ``sigma`` grey levels."""
    return rounded(image_HWC.astype(np.float32) + sigma * normal_HWC)


def gamma(image_HWC: Image, exponent: float) -> Image:
    """Gamma correction: grey levels, divided by 255, to the power of ``exponent``."""
    return _image(cv2.LUT(image_HWC, rounded(np.linspace(0, 1, 256, dtype=np.float32) ** exponent * 255)))


def tint(image_HWC: Image, levels_C: Floats) -> Image:
    """``levels_C`` grey levels added to each colour."""
    table_1VC = rounded(np.arange(256, dtype=np.float32)[None, :, None] + levels_C)
    return _image(cv2.LUT(image_HWC, table_1VC))


def fade(image_HWC: Image, saturation: float) -> Image:
    """Saturation changed: colours moved towards (below 1) or away from (above 1) their BT.601 grey."""
    grey_HWC = cv2.cvtColor(cv2.cvtColor(image_HWC, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return _image(cv2.addWeighted(image_HWC, saturation, grey_HWC, 1 - saturation, 0))


def posterise(image_HWC: Image, bits: int) -> Image:
    """The upper ``bits`` of each value, 1 to 8; the others are zero."""
    return image_HWC & np.uint8(256 - (1 << (8 - bits)))


def occlude(image_HWC: Image, centre: tuple[float, float], half: tuple[float, float], level: int) -> Image:
    """A rectangle of one grey level; ``centre`` (x, y) and ``half`` (half width, half height) in px."""
    occluded = image_HWC.copy()
    (x, y), (width, height) = centre, half
    rows = slice(max(round(y - height), 0), max(round(y + height), 0))
    occluded[rows, max(round(x - width), 0) : max(round(x + width), 0)] = level
    return occluded


def rounded(values: NDArray[Any]) -> Image:
    """Rounded to the nearest grey level and clipped to 0..255."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


@lru_cache(maxsize=16)
def _height(rows: int, columns: int) -> Floats:
    down, right = np.arange(rows) / rows, np.arange(columns) / columns
    return ((down[:, None] + right[None, :]) / 2).astype(np.float32)


def _image(values: NDArray[Any]) -> Image:
    return values  # cv2's stubs say "integer or floating"; uint8 in is uint8 out

"""HDR to SDR: PQ and HLG to nits, BT.2020 to BT.709, highlights above the reference white compressed."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semblance.manifests.records import Image

Floats = NDArray[np.float32]

TRANSFERS: Final = ("smpte2084", "arib-std-b67")  # PQ and HLG, ITU-R BT.2100
WHITE: Final = 203.0  # nits of diffuse white in HDR (ITU-R BT.2408), which becomes SDR's white
PEAK: Final = 1000.0  # nits of the brightest highlight that keeps its shape; HLG's nominal display
KNEE: Final = 0.8  # of SDR's white, linear: below, colours are exact
_GAMMA: Final = 1.2  # of HLG's OOTF for a display of 1000 nits
_ROWS: Final = 64  # at a time, so that the intermediate values stay small
_LEVELS: Final = 1 << 16
_LUMA: Final = np.array([0.2627, 0.6780, 0.0593], np.float32)  # of BT.2020
# Linear RGB to linear RGB of BT.709 (ITU-R BT.2087 for BT.2020; both have the white point D65).
_TO_BT709: Final = {
    "bt2020": [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]],
    "smpte432": [[1.224940, -0.224940, 0.0], [-0.042057, 1.042057, 0.0], [-0.019638, -0.078636, 1.098274]],
    "bt709": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
}


def tone_mapped(frame: Any, luma: tuple[float, float], full: bool, transfer: str, primaries: str | None) -> Image:
    """(H, W, 3) SDR RGB, sRGB's curve and BT.709's primaries, of a frame in yuv444p16le whose values are PQ or HLG.

    ``luma``: the weights of red and blue in its matrix; ``full``: whether its range is full. Linear light relative to
    the reference white of 203 nits is kept as it is up to ``KNEE``; above, all three channels are scaled by what the
    largest of them loses to a Moebius curve that reaches 1 at 1000 nits (ffmpeg's ``tonemap=mobius``). So faces, which
    are darker than diffuse white, keep their exact colours, hues stay, and highlights keep their shape. Colours outside
    BT.709 are clipped.
    """
    planes = [
        np.frombuffer(plane, np.uint16).reshape(-1, plane.line_size // 2)[: plane.height, : plane.width]
        for plane in frame.planes
    ]
    to_rgb = _to_rgb(luma, full)
    image = np.empty((frame.height, frame.width, 3), np.uint8)
    for start in range(0, frame.height, _ROWS):
        rows = slice(start, start + _ROWS)
        coded = np.stack([plane[rows] for plane in planes], axis=-1).astype(np.float32)
        rgb = coded @ to_rgb[:, :3].T + to_rgb[:, 3]
        coded_rgb = (np.clip(rgb, 0, 1) * (_LEVELS - 1) + 0.5).astype(np.uint16)
        image[rows] = _sdr(_light(coded_rgb, transfer), primaries)
    return image


def tone_mapped_8bit(image: Image, transfer: str, primaries: str | None) -> Image:
    """The same from (H, W, 3) RGB whose 8 bit values are PQ or HLG, which shows steps in dark gradients."""
    sdr = np.empty_like(image)
    for start in range(0, len(image), _ROWS):
        rows = slice(start, start + _ROWS)
        sdr[rows] = _sdr(_light(image[rows].astype(np.uint16) * 257, transfer), primaries)
    return sdr


def _light(coded: NDArray[np.uint16], transfer: str) -> Floats:
    """(H, W, 3) light of the display, 1 at the reference white, of 16 bit codes (PQ, or HLG on 1000 nits)."""
    light = _linear(transfer)[coded]
    if transfer == "arib-std-b67":
        light *= (PEAK / WHITE) * np.maximum(light @ _LUMA, 1e-6)[..., None] ** np.float32(_GAMMA - 1)
    return light


def _to_rgb(luma: tuple[float, float], full: bool) -> Floats:
    """(3, 4): 16 bit Y, Cb, Cr and 1 to R, G, B, 0 to 1 (ITU-R BT.2100; 10 bit codes times 64)."""
    red, blue = luma
    black, white, chroma = (0.0, 65535.0, 65535.0) if full else (16 * 256.0, 219 * 256.0, 224 * 256.0)
    of_cb = np.array([0, -2 * blue * (1 - blue) / (1 - red - blue), 2 * (1 - blue)]) / chroma
    of_cr = np.array([2 * (1 - red), -2 * red * (1 - red) / (1 - red - blue), 0]) / chroma
    of_one = -black / white - (of_cb + of_cr) * 32768
    return np.stack([np.full(3, 1 / white), of_cb, of_cr, of_one], axis=1).astype(np.float32)


def _sdr(light: Floats, primaries: str | None) -> Image:
    """(H, W, 3) 8 bit sRGB of linear light in these primaries, 1 at the reference white."""
    light = light @ np.array(_TO_BT709.get(primaries or "bt2020", _TO_BT709["bt2020"]), np.float32).T
    most = light.max(axis=-1, keepdims=True)
    light = light * (_knee(most) / np.maximum(most, 1e-6))
    coded: Image = _srgb()[(np.clip(light, 0, 1) * (_LEVELS - 1) + 0.5).astype(np.uint16)]
    return coded


def _knee(light: Floats) -> Floats:
    """The Moebius curve: the identity up to ``KNEE``, and smoothly on to 1 at ``PEAK``."""
    peak = PEAK / WHITE
    a = -(KNEE**2) * (peak - 1) / (KNEE**2 - 2 * KNEE + peak)
    b = (KNEE**2 - 2 * KNEE * peak + peak) / (peak - 1)
    above = np.clip(light, KNEE, peak)
    return np.where(light <= KNEE, light, (b**2 + 2 * b * KNEE + KNEE**2) / (b - a) * (above + a) / (above + b))


@cache
def _linear(transfer: str) -> Floats:
    return _pq() if transfer == "smpte2084" else _hlg()


def _pq() -> Floats:
    """Light relative to the reference white by 16 bit code (SMPTE ST 2084)."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = (np.arange(_LEVELS) / (_LEVELS - 1)) ** (1 / m2)
    light = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return (light * 10_000 / WHITE).astype(np.float32)


def _hlg() -> Floats:
    """Scene light, 0 to 1, by 16 bit code: the inverse OETF (ARIB STD-B67, ITU-R BT.2100)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    code = np.arange(_LEVELS) / (_LEVELS - 1)
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)


@cache
def _srgb() -> NDArray[np.uint8]:
    """8 bit code by linear light in 16 bits (IEC 61966-2-1)."""
    light = np.arange(_LEVELS) / (_LEVELS - 1)
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    levels: NDArray[np.uint8] = np.rint(code * 255).astype(np.uint8)
    return levels

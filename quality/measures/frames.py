"""Measures of the whole frame, shared by all of its faces; most exclude the crops themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semblance.manifests.records import Geometry, Image, Measures
from semblance.quality.measures import pixels
from semblance.quality.measures.measure import Measure

_TILES: Final = 4  # by four: where a frame is looked at away from its faces
_TILE: Final = 96  # px, the largest side of such a tile
_LEAST_TILES: Final = 4  # free of faces; with fewer, what lies outside is unknown


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameView:
    """The input of the frame measures: ``image`` (H, W, 3) RGB, and ``tiles``, grey, native and free of faces.

    ``outside`` holds all pixels of the tiles in one array, ``residual`` those of their high-pass residual; all three
    are None if too few tiles are free.
    """

    image: Image
    tiles: Sequence[NDArray[np.uint8]] | None
    outside: NDArray[np.uint8] | None
    residual: NDArray[np.float32] | None


def measure_frame(image_HWC: Image, faces: Sequence[Geometry]) -> Measures:
    """The measures of a frame; ``faces`` are the squares that were cropped from it.

    ``*_outside``: ``blur``, ``brightness``, ``contrast`` and ``residual`` of native tiles of at most 96 px in the
    middle of a 4 x 4 grid's fields, without those that touch a crop: the mean over the tiles for blur, all their
    pixels together for the others. None if fewer than four tiles are free.
    """
    height, width = image_HWC.shape[:2]
    free = [tile for tile in _tiles(height, width) if not any(_touches(tile, face) for face in faces)]
    tiles = [pixels.grey(image_HWC[tile]) for tile in free] if len(free) >= _LEAST_TILES else None
    outside = None if tiles is None else np.vstack(tiles)
    residual = None if tiles is None else np.vstack([pixels.residual(tile) for tile in tiles])
    view = FrameView(image=image_HWC, tiles=tiles, outside=outside, residual=residual)
    found: dict[str, Any] = {measure.name: measure.function(view) for measure in MEASURES}
    return Measures(**found)


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


def _blur_outside(view: FrameView) -> float | None:
    return None if view.tiles is None else float(np.mean([pixels.blur(tile) for tile in view.tiles]))


def _brightness_outside(view: FrameView) -> float | None:
    return None if view.outside is None else pixels.brightness(view.outside)


def _contrast_outside(view: FrameView) -> float | None:
    return None if view.outside is None else pixels.contrast(view.outside)


def _residual_outside(view: FrameView) -> float | None:
    if view.residual is None or not view.residual.size:
        return None
    return float(np.abs(view.residual).mean(dtype=np.float64))


def _residual_kurtosis_outside(view: FrameView) -> float | None:
    return None if view.residual is None else pixels.kurtosis(view.residual)


MEASURES: Final[tuple[Measure[FrameView], ...]] = (
    Measure(
        name="blur_outside",
        function=_blur_outside,
        source="Pech-Pacheco et al. 2000",
        role="acquisition",
    ),
    Measure(name="brightness_outside", function=_brightness_outside, source="ITU-R BT.601", role="acquisition"),
    Measure(name="contrast_outside", function=_contrast_outside, source="ITU-R BT.601", role="acquisition"),
    Measure(
        name="residual_outside",
        function=_residual_outside,
        source="Fridrich and Kodovsky 2012",
        role="acquisition",
    ),
    Measure(
        name="residual_kurtosis_outside",
        function=_residual_kurtosis_outside,
        source="Fridrich and Kodovsky 2012",
        role="acquisition",
    ),
    Measure(name="frame_phash", function=lambda view: pixels.phash(view.image), source="Zauner 2010", role="identity"),
)

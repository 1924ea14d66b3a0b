"""Measures of a guided crop against its original: how much was changed, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from semblance.manifests.records import Box, Crop, Image, Measures
from semblance.quality.measures.measure import Measure
from semblance.quality.measures.pixels import inside

_INSIDE_BLOCK: Final = 12  # px
_WHOLE_BLOCK: Final = 16  # px
_NOISE_FLOOR: Final = 0.5  # of 255: the least that counts as difference by re-encoding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairView:
    """The input of the pair measures: the ``absolute_difference`` of two crops, (H, W), and the face box in its
    pixels.
    """

    difference: NDArray[np.float32]
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Measures of a pair by name, and ``outside``, the difference away from the face: large if the content differs."""

    measures: Mapping[str, Any]
    outside: float


def compare(crop: Crop, partner_HWC: Image) -> Compared:
    """Compare a crop with its original's, both at the recipe's size and before encoding."""
    difference = absolute_difference(crop.image, partner_HWC)
    scale = crop.image.shape[0] / crop.probe.shape[0]
    x0, y0, x1, y1 = crop.box_in_probe
    view = PairView(difference=difference, box=(x0 * scale, y0 * scale, x1 * scale, y1 * scale))
    found = {measure.name: measure.function(view) for measure in MEASURES}
    return Compared(measures=found, outside=outside(difference, view.box))


def of_pair(measures: Measures) -> dict[str, Any]:
    """The measures of a pair among ``measures``, by name."""
    return {measure.name: getattr(measures, measure.name) for measure in MEASURES}


def absolute_difference(image_HWC: Image, partner_HWC: Image) -> NDArray[np.float32]:
    """Mean over RGB of the absolute difference at each pixel, (H, W), 0 to 255."""
    difference = cv2.absdiff(image_HWC, partner_HWC).astype(np.float32)
    return np.asarray(cv2.transform(difference, np.ones((1, 3), np.float32)) / np.float32(3))


def change(difference_HW: NDArray[np.float32], box: Box) -> float | None:
    """Mean difference inside the face box; it does not distinguish re-encoding from forgery."""
    part = difference_HW[inside(box, difference_HW.shape)]
    return float(part.mean(dtype=np.float64)) if part.size else None


def change_peak(difference_HW: NDArray[np.float32], box: Box) -> float | None:
    """95th percentile of the 12 x 12 block means inside the face box, over the median (at least 0.5) of the
    16 x 16 block means of the whole crop: about 2 for mere re-encoding, above 3 for a forgery (ours).
    """
    blocks = block_means(difference_HW[inside(box, difference_HW.shape)], _INSIDE_BLOCK)
    if not blocks.size:
        return None
    whole = block_means(difference_HW, _WHOLE_BLOCK)
    return float(np.percentile(blocks, 95) / max(float(np.median(whole)), _NOISE_FLOOR))


def outside(difference_HW: NDArray[np.float32], box: Box) -> float:
    """Median of the means of the 16 x 16 blocks completely outside the face box; of all blocks if there are
    none.
    """
    means = block_means(difference_HW, _WHOLE_BLOCK)
    rows, columns = np.indices(means.shape) * _WHOLE_BLOCK
    x0, y0, x1, y1 = box
    touched = (columns < x1) & (columns + _WHOLE_BLOCK > x0) & (rows < y1) & (rows + _WHOLE_BLOCK > y0)
    clear = means[~touched]
    return float(np.median(clear if clear.size else means))


def block_means(values_HW: NDArray[np.float32], side: int) -> NDArray[np.float64]:
    """Means of the complete side x side blocks, (H // side, W // side); incomplete blocks are not used."""
    rows, columns = values_HW.shape[0] // side, values_HW.shape[1] // side
    blocks = values_HW[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float64))


MEASURES: Final[tuple[Measure[PairView], ...]] = (
    Measure(
        name="change",
        function=lambda pair: change(pair.difference, pair.box),
        source="ours",
        role="label",
        title="Change from the original, mean",
        logarithmic=True,
    ),
    Measure(
        name="change_peak",
        function=lambda pair: change_peak(pair.difference, pair.box),
        source="ours",
        role="label",
        title="Change from the original, peak",
        logarithmic=True,
    ),
)

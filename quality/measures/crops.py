"""Measures of a face crop: of its pixels at no more than 224 px, and of its position in the frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semblance.manifests.records import Box, Crop, Grey, Image, Landmarks, Measures
from semblance.quality.measures import aligned, pixels
from semblance.quality.measures.measure import Gate, Measure
from semblance.quality.measures.skin import ita

RATIO_MARGIN: Final = 1.3  # of face_ratio, whatever the recipe's margin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CropView:
    """The input of the crop measures. For a face that was published as a crop, box, landmarks and frame are None.

    ``image`` is (P, P, 3) RGB, P = min(native side, 224), ``grey`` its BT.601 grey; ``box`` and ``landmarks`` are in
    its pixels. ``frame_box`` and ``frame_size`` (width, height) are in pixels of the upright source frame. ``face`` is
    what ``aligned.cut`` took from that.
    """

    image: Image
    grey: NDArray[np.uint8]
    box: Box | None = None
    landmarks: Landmarks | None = None
    frame_box: Box | None = None
    frame_size: tuple[int, int] | None = None
    face: tuple[Grey, Landmarks] | None = None


def measure(crop: Crop, frame: Measures, image_HWC: Image) -> Measures:
    """All measures of a crop except those that need a partner. ``frame`` holds those of the whole frame, which is
    ``image_HWC``, upright.
    """
    view = CropView(
        image=crop.probe,
        grey=pixels.grey(crop.probe),
        box=crop.box_in_probe,
        landmarks=crop.landmarks_in_probe,
        frame_box=crop.face.box,
        frame_size=(image_HWC.shape[1], image_HWC.shape[0]),
        face=aligned.cut(image_HWC, crop.face.landmarks),
    )
    return replace(frame, **_values(view))


def measure_picture(image_HWC: Image) -> Measures:
    """The measures of a face that was published as a crop: box, landmarks and frame are unknown."""
    return Measures(**_values(CropView(image=image_HWC, grey=pixels.grey(image_HWC))))


def face_ratio(box: Box, width: int, height: int) -> float:
    """sqrt(box area inside the frame) / (1.3 x the longer side of the whole box): about 0.67 for a whole
    face, 0.6 if a fifth is outside.
    """
    x0, y0, x1, y1 = box
    inside = max(min(x1, width) - max(x0, 0.0), 0.0) * max(min(y1, height) - max(y0, 0.0), 0.0)
    return math.sqrt(inside) / (RATIO_MARGIN * max(x1 - x0, y1 - y0))


def _blur_face(view: CropView) -> float | None:
    return None if view.box is None else pixels.blur_face(view.grey, view.box)


def _face_ratio(view: CropView) -> float | None:
    if view.frame_box is None or view.frame_size is None:
        return None
    return face_ratio(view.frame_box, *view.frame_size)


def _ita(view: CropView) -> float | None:
    return None if view.landmarks is None else ita(view.image, view.landmarks)


def _aligned_phash(view: CropView) -> int | None:
    return None if view.face is None else aligned.aligned_phash(*view.face)


def _aligned_phash_mirrored(view: CropView) -> int | None:
    return None if view.face is None else aligned.aligned_phash(*aligned.mirrored(*view.face))


def _values(view: CropView) -> dict[str, Any]:
    return {measure.name: measure.function(view) for measure in MEASURES}


MEASURES: Final[tuple[Measure[CropView], ...]] = (
    Measure(
        name="blur",
        function=lambda view: pixels.blur(view.grey),
        source="Pech-Pacheco et al. 2000",
        role="face",
        title="Sharpness (blur)",
        gate=Gate(key="blur", place=50, default=50.0, below="blur", extreme="softest"),
        logarithmic=True,
    ),
    Measure(name="blur_face", function=_blur_face, source="Pech-Pacheco et al. 2000", role="face"),
    Measure(
        name="brightness",
        function=lambda view: pixels.brightness(view.grey),
        source="ITU-R BT.601",
        role="face",
        title="Brightness",
        gate=Gate(key="brightness", place=30, default=(0.3, 0.9), below="dark", above="bright", extreme="darkest"),
    ),
    Measure(
        name="contrast",
        function=lambda view: pixels.contrast(view.grey),
        source="ITU-R BT.601",
        role="face",
        title="Contrast",
        step=0.005,
    ),
    Measure(
        name="face_ratio",
        function=_face_ratio,
        source="ours",
        role="framing",
        title="Face ratio",
        gate=Gate(key="face_ratio", place=40, default=0.6, below="face_ratio", extreme="most cut off"),
        step=0.005,
    ),
    Measure(name="ita", function=_ita, source="Chardon et al. 1991", role="identity"),
    Measure(name="phash", function=lambda view: pixels.phash(view.image), source="Zauner 2010", role="identity"),
    Measure(name="aligned_phash", function=_aligned_phash, source="after Zauner 2010", role="identity"),
    Measure(
        name="aligned_phash_mirrored", function=_aligned_phash_mirrored, source="after Zauner 2010", role="identity"
    ),
)

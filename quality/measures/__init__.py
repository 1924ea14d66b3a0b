"""Measures of pixels: one function, formula and source each; unknown values are None."""

from semblance.quality.measures.crops import face_ratio, measure, measure_picture
from semblance.quality.measures.frames import measure_frame
from semblance.quality.measures.pairs import (
    Compared,
    absolute_difference,
    block_means,
    change,
    change_peak,
    compare,
    of_pair,
    outside,
)
from semblance.quality.measures.pixels import blur, blur_face, brightness, contrast, grey, hamming, phash
from semblance.quality.measures.skin import ita

__all__ = [
    "Compared",
    "absolute_difference",
    "block_means",
    "blur",
    "blur_face",
    "brightness",
    "change",
    "change_peak",
    "compare",
    "contrast",
    "face_ratio",
    "grey",
    "hamming",
    "ita",
    "measure",
    "measure_frame",
    "measure_picture",
    "of_pair",
    "outside",
    "phash",
]

"""Measures of a detected face, computed from its box and confidence, which have their own columns."""

from __future__ import annotations

from typing import Final

from semblance.manifests.records import Face
from semblance.quality.measures.measure import Gate, Measure

SIDE: Final = "greatest(box_x1 - box_x0, box_y1 - box_y0)"  # over the columns of samples and rejects


def confidence(face: Face) -> float:
    """The detector's probability that this is a face, 0 to 1."""
    return face.confidence


def side(face: Face) -> float:
    """The longer side of the box, in pixels of the upright source frame."""
    x0, y0, x1, y1 = face.box
    return max(x1 - x0, y1 - y0)


MEASURES: Final[tuple[Measure[Face], ...]] = (
    Measure(
        name="confidence",
        function=confidence,
        source="Zhang et al. 2016 (MTCNN), last stage",
        role="label",  # a guided face's is its original's
        title="Confidence",
        gate=Gate(key="confidence", place=10, default=0.95, below="confidence", extreme="least confident"),
        step=0.0025,
    ),
    Measure(
        name="side",
        function=side,
        source="ours",
        role="framing",
        title="Face size",
        gate=Gate(key="min_face", place=20, default=80.0, below="small", extreme="smallest"),
        logarithmic=True,
        sql=SIDE,
        derived_unit="px",
    ),
)

"""The result of one sampled frame: a face with its crop, measures and verdict, or no face."""

from __future__ import annotations

from dataclasses import dataclass

from semblance.manifests.records import Face, Geometry, Image, Mask, Measures, Verdict


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """One face of one sampled frame with its measures and verdict, or a frame without a face.

    ``image`` is the crop at the recipe's size, ``mask`` is cut like it. ``face`` and ``geometry`` are None where the
    dataset's authors cropped the face, since its position in the frame is unknown.
    """

    frame_index: int
    time_s: float | None
    image: Image | None = None
    face: Face | None = None
    geometry: Geometry | None = None
    measures: Measures | None = None
    verdict: Verdict | None = None
    stage: str = "detect"
    mask: Mask | None = None

    @property
    def person(self) -> int | None:
        """None where the face is perhaps none."""
        return self.face.person if self.face is not None else 0

    @property
    def track(self) -> int:
        return self.face.track if self.face is not None else 0

"""The guide: what an original tells its fakes, so that every fake crop has its partner at the same frame and box."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from semblance.manifests.config import Config
from semblance.manifests.records import Face, Frame, GuideReason, Image, Properties, Verdict


class GuideConfig(Config):
    """``outside``: largest median block difference outside the face box, of 255, at which a guided crop
    still agrees with its original's. ``change_peak``: the limit above which a face counts as altered
    (weak at c40, where re-encoding alone comes near it).
    """

    use: bool = True
    outside: float = Field(default=10.0, gt=0)
    change_peak: float = Field(default=3.0, gt=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuideFace:
    """A face of the original: where, how it was judged, and its crop's place in the stack."""

    frame_index: int
    face: Face
    verdict: Verdict
    place: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Guide:
    """An original's frames, faces and crops, rejected ones too.

    The crops are those before encoding, as they are: PNG at its fastest would take about half of their bytes away and
    cost some 3 ms for each.
    """

    width: int
    height: int
    fps: float
    frames_total: int
    indices: tuple[int, ...]
    faces: tuple[GuideFace, ...]
    crops: NDArray[np.uint8]  # (N, S, S, 3) RGB


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partner:
    """The original's crop and verdict that stand beside one guided crop."""

    image: Image
    verdict: Verdict


class Partners:
    """A guide looked up: faces by frame, partners by frame and track."""

    def __init__(self, guide: Guide) -> None:
        self._faces: dict[int, list[Face]] = {}
        self._partners: dict[tuple[int, int], Partner] = {}
        for seen in guide.faces:
            self._faces.setdefault(seen.frame_index, []).append(seen.face)
            partner = Partner(image=guide.crops[seen.place], verdict=seen.verdict)
            self._partners[seen.frame_index, seen.face.track] = partner

    def of(self, frame_index: int, track: int) -> Partner:
        return self._partners[frame_index, track]

    def follow(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[Face]]]:
        """Each frame with the original's faces at its index."""
        for frame in frames:
            yield frame, self._faces.get(frame.index, [])


def pack(
    properties: Properties, indices: Sequence[int], seen: Sequence[tuple[int, Face, Verdict, Image]]
) -> Guide | None:
    """A guide from every face seen as (frame index, face, verdict, crop); None where nothing can guide."""
    if not seen or None in (properties.width, properties.height, properties.fps, properties.frames_total):
        return None
    faces = (
        GuideFace(frame_index=index, face=face, verdict=verdict, place=place)
        for place, (index, face, verdict, _) in enumerate(seen)
    )
    return Guide(
        width=properties.width or 0,
        height=properties.height or 0,
        fps=properties.fps or 0.0,
        frames_total=properties.frames_total or 0,
        indices=tuple(indices),
        faces=tuple(faces),
        crops=np.stack([image for *_, image in seen]),
    )


def choose(guide: Guide | None, properties: Properties) -> GuideReason:
    """Whether the original can guide a video with these properties, or why not; content is judged later.

    A video that is shorter than its original is guided as far as it goes.
    """
    if guide is None:
        return "no_original"
    if (guide.width, guide.height) != (properties.width, properties.height):
        return "size"
    if guide.fps != properties.fps:
        return "fps"
    if (properties.frames_total or 0) > guide.frames_total:
        return "longer"
    return "original"


def shared_indices(guide: Guide, total: int) -> list[int]:
    """Those of the original's sampled indices that a video of ``total`` frames has."""
    return [index for index in guide.indices if index < total]

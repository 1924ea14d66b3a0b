"""The guide: the faces of an original, reused so that each fake crop has a partner in the same frame and box."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from semblance.manifests.config import Config
from semblance.manifests.errors import ContentDiffersError
from semblance.manifests.records import Face, Frame, GuideReason, Image, Properties, Verdict

_ELSE: Final = 3.0  # times the limit: no movement within a second explains that


class GuideConfig(Config):
    """When a fake is guided by its original, and when a guided face counts as altered.

    ``outside``: a guided crop agrees with its original's if the median block difference outside the face box does not
    exceed this (of 255). Where that fails for all persons, the fake is not guided; where it fails for some, their
    ``change`` is unknown. ``change_peak``: a person counts as altered above this limit, which is weak at c40, where
    re-encoding alone comes close to it. ``clear``: also a person whose ``change_peak`` is this many times that of
    another one in the same frames.
    """

    use: bool = True
    outside: float = Field(default=10.0, gt=0)
    change_peak: float = Field(default=3.0, gt=0)
    clear: float = Field(default=1.4, gt=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuideFace:
    """A face of the original, its verdict, and the index of its crop in ``Guide.crops``."""

    frame_index: int
    face: Face
    verdict: Verdict
    place: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Guide:
    """The sampled frames, faces and crops of an original, including rejected faces.

    The crops are those before encoding and are not compressed: the fastest PNG would save about half of the bytes but
    take some 3 ms per crop.
    """

    width: int
    height: int
    fps: float | None  # None: pictures, or a container that does not say
    frames_total: int
    indices: tuple[int, ...]
    faces: tuple[GuideFace, ...]
    crops: NDArray[np.uint8]  # (N, S, S, 3) RGB


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partner:
    """The original's crop and verdict that correspond to one guided crop."""

    image: Image
    verdict: Verdict


class Partners:
    """Lookup in a guide: faces by frame, partners by frame and track."""

    def __init__(self, guide: Guide) -> None:
        self._faces: dict[int, list[Face]] = {}
        self._partners: dict[tuple[int, int], Partner] = {}
        self.differing: set[int | None] = set()  # persons who are shown at another moment, or changed all over
        for guide_face in guide.faces:
            frame_index, face = guide_face.frame_index, guide_face.face
            self._faces.setdefault(frame_index, []).append(face)
            partner = Partner(image=guide.crops[guide_face.place], verdict=guide_face.verdict)
            self._partners[frame_index, face.track] = partner
        self.persons = {guide_face.face.person for guide_face in guide.faces} - {None}

    def of(self, frame_index: int, track: int) -> Partner:
        """The partner of one guided face; raises KeyError for a face that the guide does not have."""
        return self._partners[frame_index, track]

    def check(self, face: Face, outside: float, limit: float) -> None:
        """Note whose crop differs from the original's by more than ``limit`` outside the face.

        Raises ContentDiffersError where that holds for every person, or where a crop shows something else altogether.
        """
        if outside <= limit:
            return
        self.differing.add(face.person)
        if outside > _ELSE * limit or self.differing >= self.persons:
            raise ContentDiffersError

    def follow(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[Face]]]:
        """Each frame with the faces of the original in the frame of the same index."""
        for frame in frames:
            yield frame, self._faces.get(frame.index, [])


def pack(
    properties: Properties, indices: Sequence[int], seen: Sequence[tuple[int, Face, Verdict, Image]]
) -> Guide | None:
    """The guide made of every (frame index, face, verdict, crop); None without faces, or if the size is unknown."""
    if not seen or None in (properties.width, properties.height, properties.frames_total):
        return None
    faces = (
        GuideFace(frame_index=index, face=face, verdict=verdict, place=place)
        for place, (index, face, verdict, _) in enumerate(seen)
    )
    return Guide(
        width=properties.width or 0,
        height=properties.height or 0,
        fps=properties.fps,
        frames_total=properties.frames_total or 0,
        indices=tuple(indices),
        faces=tuple(faces),
        crops=np.stack([image for *_, image in seen]),
    )


def choose(guide: Guide | None, properties: Properties) -> GuideReason:
    """``original`` if the guide fits a video with these properties, else the reason; content is compared later.

    A video that is shorter than its original is guided for its whole length. An unknown rate, as that of pictures, fits
    every other one.
    """
    if guide is None:
        return "no_original"
    if (guide.width, guide.height) != (properties.width, properties.height):
        return "size"
    if None not in (guide.fps, properties.fps) and guide.fps != properties.fps:
        return "fps"
    if (properties.frames_total or 0) > guide.frames_total:
        return "longer"
    return "original"


def shared_indices(guide: Guide, total: int) -> list[int]:
    """The original's sampled indices that exist in a video of ``total`` frames."""
    return [index for index in guide.indices if index < total]

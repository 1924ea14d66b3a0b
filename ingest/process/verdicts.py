"""The verdict on every face of a video: by the gates, by its place among the others, and as the face of a person."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from semblance.ingest.recipe import Recipe
from semblance.ingest.records import Seen
from semblance.ingest.steps.pairing import Partners
from semblance.manifests.records import Crop, Face, Frame, Measures, Verdict
from semblance.quality import gates
from semblance.quality.measures import of_pair

FrameMeasures = tuple[Frame, list[tuple[Crop, Measures]]]


def judge(measured: Iterable[FrameMeasures], partners: Partners | None, recipe: Recipe) -> Iterator[Seen]:
    """A verdict for every face; a frame without a face is reported too."""
    for frame, faces in measured:
        if not faces:
            yield Seen(frame_index=frame.index, time_s=frame.time_s)
        for crop, of_crop in faces:
            original = partners.of(frame.index, crop.face.track).verdict if partners else None
            yield Seen(
                frame_index=frame.index,
                time_s=frame.time_s,
                image=crop.image,
                face=crop.face,
                geometry=crop.geometry,
                measures=of_crop,
                verdict=gates.judge(crop.face, of_crop, recipe.gates, original),
                stage="gate",
            )


def named(seen: Iterable[Seen], of_track: Mapping[int, int | None]) -> list[Seen]:
    """The faces with their persons."""
    return [
        one if one.face is None else replace(one, face=replace(one.face, person=of_track[one.face.track]))
        for one in seen
    ]


def without_change(seen: Iterable[Seen], late: Container[int | None]) -> list[Seen]:
    """The faces, without the measures of their difference from the original where these show another moment."""
    unknown = dict.fromkeys(of_pair(Measures()))
    return [
        replace(one, measures=replace(one.measures, **unknown)) if one.measures and one.person in late else one
        for one in seen
    ]


def doubted(one: Seen, recipe: Recipe) -> Seen:
    """The face, rejected if it is perhaps none, whatever else it is rejected for."""
    if one.face is None or one.person is not None or one.verdict is None:
        return one
    own = one.verdict
    measured, limit = (one.face.confidence, recipe.track.sure) if own.keep else (own.measured, own.limit)
    return replace(
        one, verdict=Verdict(reasons=(*own.reasons, "doubtful"), measured=measured, limit=limit), stage="limit"
    )


def confident(face: Face, recipe: Recipe) -> bool:
    limit: float | None = recipe.gates.confidence
    return limit is None or face.confidence >= limit


def largest(seen: Sequence[Seen], recipe: Recipe) -> list[Seen]:
    """The faces; if the recipe keeps only the largest of each frame, the other confident ones are rejected."""
    if recipe.faces == "all":
        return list(seen)
    first: dict[int, Face] = {}  # by frame index
    for face, index in ((one.face, one.frame_index) for one in seen if one.person is not None):
        if face is not None and confident(face, recipe) and (index not in first or _area(face) > _area(first[index])):
            first[index] = face
    return [_behind(one, first.get(one.frame_index), recipe) for one in seen]


def _behind(one: Seen, first: Face | None, recipe: Recipe) -> Seen:
    if one.face is None or first is None or one.face is first or not confident(one.face, recipe):
        return one
    verdict = Verdict(reasons=("not_largest",), measured=_side(one.face), limit=_side(first))
    return replace(one, verdict=verdict, stage="limit")


def _area(face: Face) -> float:
    return (face.box[2] - face.box[0]) * (face.box[3] - face.box[1])


def _side(face: Face) -> float:
    return max(face.box[2] - face.box[0], face.box[3] - face.box[1])

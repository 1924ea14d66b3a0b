"""One video, start to end: frames are decoded, faces found, linked into tracks, cut into crops, measured and
judged; what was kept and what was not are both the outcome.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from semblance.ingest.detector.door import Detector
from semblance.ingest.process import masks
from semblance.ingest.process.rows import faulty, finished, vanished
from semblance.ingest.recipe import Recipe
from semblance.ingest.records import Seen
from semblance.ingest.steps import crops, recompress, tracks
from semblance.ingest.steps import pairing as guide
from semblance.ingest.steps import sampling as decode
from semblance.manifests import errors, storage
from semblance.manifests.errors import VideoError
from semblance.manifests.records import Crop, Face, Frame, GuideReason, Measures, Outcome, Properties, Verdict, Video
from semblance.quality import gates, video
from semblance.quality import measures as meters
from semblance.quality.video import DecoderName

T = TypeVar("T")
Found = tuple[Frame, list[Face]]
_TOGETHER: Final = 24_000_000  # bytes of frames that wait for the detector: four of 1080p


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What it takes to process one video anywhere: the plan's row, the recipe, and the original's guide."""

    root: str
    video: Video
    recipe: Recipe
    decoder: DecoderName
    guide: guide.Guide | None = None
    listed: tuple[int, ...] = ()  # sampling.mode "list": this video's indices
    gives_guide: bool = False  # whether fakes wait for this video's guide
    without_masks: str | None = None  # why its masks are left out this time


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A video's outcome, and its guide where one was asked for and can be given."""

    outcome: Outcome
    guide: guide.Guide | None = None


@dataclass(slots=True)
class Clock:
    """Seconds spent in the steps of one video."""

    started: float = field(default_factory=time.perf_counter)
    decode: float = 0.0
    detect: float = 0.0

    def decoding(self, items: Iterable[T]) -> Iterator[T]:
        """Pass ``items`` on, adding the time that each took to come."""
        iterator = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.decode += time.perf_counter() - start
            yield item

    def row(self) -> dict[str, float]:
        return {
            "seconds_decode": self.decode,
            "seconds_detect": self.detect,
            "seconds_total": time.perf_counter() - self.started,
        }


def process(job: Job, detector: Detector) -> Result:
    """Take one video from its file to its outcome; a fault of the file is a status, never an exception."""
    clock = Clock()
    if job.video.fault is not None:
        return Result(outcome=faulty(job.video, job.video.fault, job.video.fault_note))
    try:
        with (
            storage.local_copy(storage.join(job.root, job.video.path)) as path,
            masks.beside(job.root, job.video, job.recipe, job.decoder, job.without_masks) as beside,
        ):
            start = time.perf_counter()
            try:
                properties = video.probe(path, job.recipe.limits.bounds)
            except VideoError as error:
                return Result(outcome=faulty(job.video, error.status, str(error)))
            finally:
                clock.decode += time.perf_counter() - start
            return _process_file(job, path, properties, detector, beside, clock)
    except FileNotFoundError:
        if storage.exists(storage.join(job.root, job.video.path)):
            raise
        return Result(outcome=vanished(job.video, job.root))


def _process_file(
    job: Job, path: str, properties: Properties, detector: Detector, beside: masks.Masks, clock: Clock
) -> Result:
    def walk(indices: list[int], partners: guide.Partners | None) -> list[Seen]:
        return list(beside.lay(_walk(job, path, indices, detector, clock, partners), indices, properties))

    def alone() -> tuple[list[int], list[Seen]]:
        indices = decode.wanted(total, properties.fps, job.recipe.sampling, job.listed)
        seen = walk(indices, None)
        if job.recipe.decode.skip != "none" and seen:  # others than the wanted ones came in their place
            indices = sorted({one.frame_index for one in seen})
        return indices, seen

    why: GuideReason | None = None  # reals are not guided, and fakes not where the recipe says so
    if job.video.label == 1 and job.recipe.guide.use:
        why = guide.choose(job.guide, properties)
    total = properties.frames_total or 0
    try:
        if why == "original" and job.guide is not None:
            indices = guide.shared_indices(job.guide, total)
            if not indices:
                raise errors.ContentDiffersError
            seen = walk(indices, guide.Partners(job.guide))
        else:
            indices, seen = alone()
    except errors.ContentDiffersError:
        why = "content"
        indices, seen = alone()
    except VideoError as error:
        return Result(outcome=faulty(job.video, error.status, str(error), properties, job.decoder))
    given = _guide(properties, indices, seen, job.recipe) if job.gives_guide else None  # the video's as it came
    try:
        seen = recompress.again(path, seen, job.recipe.recompress, job.recipe.crop, job.decoder)
    except VideoError as error:
        return Result(outcome=faulty(job.video, error.status, str(error), properties, job.decoder), guide=given)
    outcome = finished(
        job.video, job.recipe, properties, job.decoder, why, indices, seen, clock.row, mask_note=beside.note
    )
    return Result(outcome=outcome, guide=given)


def _walk(
    job: Job,
    path: str,
    indices: list[int],
    detector: Detector,
    clock: Clock,
    partners: guide.Partners | None,
) -> Iterator[Seen]:
    """The straight line. Nothing is held but what the outcome needs: frames pass a few at a time."""
    skip = job.recipe.decode.skip if partners is None else "none"  # a guided frame is its partner's, exactly
    frames = clock.decoding(decode.decode(path, indices, job.decoder, skip))
    if partners is None:
        found = tracks.link(_find(frames, detector, clock), job.recipe.track)
    else:
        found = partners.follow(frames)
    return _judge(_measure(_cut(found, job.recipe), partners, job.recipe), partners, job.recipe)


def _find(frames: Iterable[Frame], detector: Detector, clock: Clock) -> Iterator[Found]:
    for some in together(frames, lambda frame: frame.image.nbytes):
        start = time.perf_counter()
        found = list(zip(some, detector.find_all([frame.image for frame in some]), strict=True))
        clock.detect += time.perf_counter() - start
        yield from found


def together(frames: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """A few frames at a time: decoding pushes the networks out of the processor's caches, and detecting after every
    frame would fetch them anew each time.
    """
    some: list[T] = []
    held = 0
    for frame in frames:
        some.append(frame)
        held += size(frame)
        if held >= _TOGETHER:
            yield some
            some, held = [], 0
    if some:
        yield some


def _cut(found: Iterable[Found], recipe: Recipe) -> Iterator[tuple[Frame, list[Crop]]]:
    for frame, faces in found:
        yield frame, [crops.cut(frame, face, recipe.crop) for face in faces]


def _measure(
    cut: Iterable[tuple[Frame, list[Crop]]], partners: guide.Partners | None, recipe: Recipe
) -> Iterator[tuple[Frame, list[tuple[Crop, Measures]]]]:
    """Measures of every crop; raises ContentDiffersError where a guided crop disagrees with its partner."""
    for frame, found in cut:
        height, width = frame.image.shape[:2]
        whole = meters.measure_frame(frame.image, [crop.geometry for crop in found])
        measured = []
        for crop in found:
            measures = meters.measure(crop, whole, width, height)
            if partners is not None:
                partner = partners.of(frame.index, crop.face.track)
                compared = meters.compare(crop, partner.image)
                if compared.outside > recipe.guide.outside:
                    raise errors.ContentDiffersError
                measures = replace(measures, **compared.measures)
            measured.append((crop, measures))
        yield frame, measured


def _judge(
    measured: Iterable[tuple[Frame, list[tuple[Crop, Measures]]]],
    partners: guide.Partners | None,
    recipe: Recipe,
) -> Iterator[Seen]:
    """A verdict for every face; a frame without one is seen too."""
    for frame, found in measured:
        if not found:
            yield Seen(frame_index=frame.index, time_s=frame.time_s)
        largest = _largest([crop.face for crop, _ in found], recipe)
        for crop, measures in found:
            original = partners.of(frame.index, crop.face.track).verdict if partners else None
            verdict = gates.judge(crop.face, measures, recipe.gates, original)
            stage = "gate"
            if largest is not None and crop.face is not largest and _confident(crop.face, recipe):
                stage = "limit"
                verdict = Verdict(reasons=("not_largest",), measured=_side(crop.face), limit=_side(largest))
            yield Seen(
                frame_index=frame.index,
                time_s=frame.time_s,
                image=crop.image,
                face=crop.face,
                geometry=crop.geometry,
                measures=measures,
                verdict=verdict,
                stage=stage,
            )


def _largest(faces: list[Face], recipe: Recipe) -> Face | None:
    """The largest face that the confidence gate lets through, where the recipe keeps only that one."""
    if recipe.faces == "all":
        return None
    return max((face for face in faces if _confident(face, recipe)), key=_area, default=None)


def _confident(face: Face, recipe: Recipe) -> bool:
    limit: float | None = recipe.gates.confidence
    return limit is None or face.confidence >= limit


def _area(face: Face) -> float:
    return (face.box[2] - face.box[0]) * (face.box[3] - face.box[1])


def _side(face: Face) -> float:
    return max(face.box[2] - face.box[0], face.box[3] - face.box[1])


def _guide(properties: Properties, indices: list[int], seen: list[Seen], recipe: Recipe) -> guide.Guide | None:
    """The guide that this video gives; none where no face is sure to be one."""
    faces = [
        (one.frame_index, one.face, one.verdict, one.image)
        for one in seen
        if one.face is not None and one.verdict is not None and one.image is not None
    ]
    if not any(_confident(face, recipe) for _, face, _, _ in faces):
        return None
    return guide.pack(properties, indices, faces)

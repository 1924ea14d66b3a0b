"""One video, start to end: frames are decoded, faces found, linked into tracks, cut into crops, measured and
judged; what was kept and what was not are both the outcome.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from semblance.ingest.detector.door import Detector
from semblance.ingest.process.clock import Clock
from semblance.ingest.process.masks import MaskVideo, open_mask
from semblance.ingest.process.rows import faulty, finished, vanished
from semblance.ingest.recipe import Recipe
from semblance.ingest.records import Seen
from semblance.ingest.steps import crops, pairing, sampling
from semblance.ingest.steps.pairing import Guide, Partners
from semblance.ingest.steps.recompress import recompress
from semblance.ingest.steps.tracks import link
from semblance.manifests import storage
from semblance.manifests.errors import ContentDiffersError, VideoError
from semblance.manifests.records import Crop, Face, Frame, GuideReason, Measures, Outcome, Properties, Verdict, Video
from semblance.quality import gates, measures, video
from semblance.quality.video import DecoderName

T = TypeVar("T")
FrameFaces = tuple[Frame, list[Face]]
FrameCrops = tuple[Frame, list[Crop]]
FrameMeasures = tuple[Frame, list[tuple[Crop, Measures]]]
_BATCH: Final = 24_000_000  # bytes of frames that wait for the detector: four of 1080p


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything needed to process one video on any machine: its row of the plan, the recipe, its original's guide."""

    root: str
    video: Video
    recipe: Recipe
    decoder: DecoderName
    guide: Guide | None = None
    listed: tuple[int, ...] = ()  # sampling.mode "list": this video's frame indices
    gives_guide: bool = False  # whether fakes wait for this video's guide
    without_masks: str | None = None  # why masks are not read in this attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A video's outcome, and its guide where one was requested and is possible."""

    outcome: Outcome
    guide: Guide | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenVideo:
    """A local copy of a video whose header has been read, and what its steps share."""

    job: Job
    path: str
    properties: Properties
    detector: Detector
    masks: MaskVideo
    clock: Clock

    @property
    def total(self) -> int:
        """The number of frames."""
        return self.properties.frames_total or 0


def process(job: Job, detector: Detector) -> Result:
    """Take one video from its file to its outcome; a fault of the file becomes a status.

    Raises StorageError where the whole dataset has disappeared or storage does not answer.
    """
    clock = Clock()
    if job.video.fault is not None:
        return Result(outcome=faulty(job.video, job.video.fault, job.video.fault_note))
    try:
        with (
            storage.local_copy(storage.join(job.root, job.video.path)) as path,
            open_mask(job.root, job.video, job.recipe, job.decoder, job.without_masks) as masks,
        ):
            start = time.perf_counter()
            try:
                properties = video.probe(path, job.recipe.limits.bounds)
            except VideoError as error:
                return Result(outcome=faulty(job.video, error.status, str(error)))
            clock.decode += time.perf_counter() - start
            return _process_file(
                _OpenVideo(
                    job=job,
                    path=path,
                    properties=properties,
                    detector=detector,
                    masks=masks,
                    clock=clock,
                )
            )
    except FileNotFoundError:
        if storage.exists(storage.join(job.root, job.video.path)):
            raise
        return Result(outcome=vanished(job.video, job.root))


def _process_file(opened: _OpenVideo) -> Result:
    job, properties = opened.job, opened.properties
    guide: Guide | None = None
    try:
        _refuse_hdr(opened)
        reason, indices, seen = _see(opened)
        if job.gives_guide:  # before re-encoding, which must not change how fakes are guided
            guide = _make_guide(properties, indices, seen, job.recipe)
        deinterlace = job.recipe.decode.deinterlace
        seen = recompress(opened.path, seen, job.recipe.recompress, job.recipe.crop, job.decoder, deinterlace)
    except VideoError as error:
        return Result(outcome=faulty(job.video, error.status, str(error), properties, job.decoder), guide=guide)
    outcome = finished(
        job.video,
        job.recipe,
        properties,
        job.decoder,
        reason,
        indices,
        seen,
        opened.clock.row,
        mask_note=opened.masks.note,
    )
    return Result(outcome=outcome, guide=guide)


def _refuse_hdr(opened: _OpenVideo) -> None:
    transfer = opened.properties.colour_transfer
    if opened.job.recipe.decode.hdr == "refuse" and transfer in video.HDR:
        raise VideoError("hdr", f"the video is HDR ({transfer}), which decode.hdr=refuse leaves out.")


def _see(opened: _OpenVideo) -> tuple[GuideReason | None, list[int], list[Seen]]:
    """Whether the video is guided (None: reals never are), the wanted frame indices, and every face seen in them."""
    job = opened.job
    reason: GuideReason | None = None
    if job.video.label == 1 and job.recipe.guide.use:
        reason = pairing.choose(job.guide, opened.properties)
    if reason == "original" and job.guide is not None:
        indices = pairing.shared_indices(job.guide, opened.total)
        try:
            if indices:
                return reason, indices, _faces(opened, indices, Partners(job.guide))
        except ContentDiffersError:
            pass
        reason = "content"
    indices = sampling.wanted(opened.total, opened.properties.fps, job.recipe.sampling, job.listed)
    seen = _faces(opened, indices, None)
    if job.recipe.decode.skip != "none" and seen:  # nearby frames were decoded in place of the wanted ones
        indices = sorted({observation.frame_index for observation in seen})
    return reason, indices, seen


def _faces(opened: _OpenVideo, indices: Sequence[int], partners: Partners | None) -> list[Seen]:
    """The straight line from frames to verdicts. Only a few frames are in memory at any time."""
    job, recipe = opened.job, opened.job.recipe
    skip = recipe.decode.skip if partners is None else "none"  # a guided frame must be exactly its partner's
    decoded = video.frames(opened.path, indices, decoder=job.decoder, skip=skip, deinterlace=recipe.decode.deinterlace)
    frames = opened.clock.decoding(decoded)
    if partners is None:
        faces = link(_detect(frames, opened.detector, opened.clock), recipe.track)
    else:
        faces = partners.follow(frames)
    cropped = _cut(faces, recipe)
    measured = _measure(cropped, partners, recipe)
    judged = _judge(measured, partners, recipe)
    return list(opened.masks.attach(judged, indices, opened.properties))


def _detect(frames: Iterable[Frame], detector: Detector, clock: Clock) -> Iterator[FrameFaces]:
    for batch in batches(frames, lambda frame: frame.image.nbytes):
        start = time.perf_counter()
        faces = detector.find_all([frame.image for frame in batch])
        clock.detect += time.perf_counter() - start
        yield from zip(batch, faces, strict=True)


def batches(items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Group ``items`` into batches of about 24 MB; ``size`` gives the bytes of one.

    Decoding evicts the networks from the processor's caches, so detecting frame by frame would reload them each time.
    """
    batch: list[T] = []
    total = 0
    for item in items:
        batch.append(item)
        total += size(item)
        if total >= _BATCH:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def _cut(found: Iterable[FrameFaces], recipe: Recipe) -> Iterator[FrameCrops]:
    for frame, faces in found:
        yield frame, [crops.cut(frame, face, recipe.crop) for face in faces]


def _measure(cropped: Iterable[FrameCrops], partners: Partners | None, recipe: Recipe) -> Iterator[FrameMeasures]:
    """Measure every crop; raises ContentDiffersError where a guided crop disagrees with its partner."""
    for frame, frame_crops in cropped:
        height, width = frame.image.shape[:2]
        of_frame = measures.measure_frame(frame.image, [crop.geometry for crop in frame_crops])
        measured = []
        for crop in frame_crops:
            of_crop = measures.measure(crop, of_frame, width, height)
            if partners is not None:
                partner = partners.of(frame.index, crop.face.track)
                compared = measures.compare(crop, partner.image)
                if compared.outside > recipe.guide.outside:
                    raise ContentDiffersError
                of_crop = replace(of_crop, **compared.measures)
            measured.append((crop, of_crop))
        yield frame, measured


def _judge(measured: Iterable[FrameMeasures], partners: Partners | None, recipe: Recipe) -> Iterator[Seen]:
    """A verdict for every face; a frame without a face is reported too."""
    for frame, faces in measured:
        if not faces:
            yield Seen(frame_index=frame.index, time_s=frame.time_s)
        largest = _largest([crop.face for crop, _ in faces], recipe)
        for crop, of_crop in faces:
            original = partners.of(frame.index, crop.face.track).verdict if partners else None
            verdict = gates.judge(crop.face, of_crop, recipe.gates, original)
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
                measures=of_crop,
                verdict=verdict,
                stage=stage,
            )


def _largest(faces: list[Face], recipe: Recipe) -> Face | None:
    """The largest face above the confidence limit, if the recipe keeps only that one; else None."""
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


def _make_guide(properties: Properties, indices: Sequence[int], seen: Iterable[Seen], recipe: Recipe) -> Guide | None:
    """The guide for this video's fakes; None where no face is above the confidence limit."""
    faces = [
        (observation.frame_index, observation.face, observation.verdict, observation.image)
        for observation in seen
        if observation.face is not None and observation.verdict is not None and observation.image is not None
    ]
    if not any(_confident(face, recipe) for _, face, _, _ in faces):
        return None
    return pairing.pack(properties, indices, faces)

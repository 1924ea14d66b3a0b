"""One video, start to end: frames are decoded, faces found, linked into tracks and persons, cut into
crops, measured and judged; what was kept and what was not are both the outcome.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from semblance.ingest.detector.door import Detector
from semblance.ingest.limits import Work
from semblance.ingest.process.clock import Clock
from semblance.ingest.process.masks import MaskVideo, open_mask
from semblance.ingest.process.rows import faulty, finished, vanished
from semblance.ingest.process.verdicts import FrameMeasures, confident, doubted, judge, largest, named, without_change
from semblance.ingest.process.work import video_work
from semblance.ingest.recipe import Recipe
from semblance.ingest.records import Seen
from semblance.ingest.steps import crops, pairing, sampling
from semblance.ingest.steps.pairing import Guide, Partners
from semblance.ingest.steps.persons import persons
from semblance.ingest.steps.recompress import recompress
from semblance.ingest.steps.timing import Timing
from semblance.ingest.steps.tracks import Tracker
from semblance.manifests import storage
from semblance.manifests.errors import ContentDiffersError, VideoError
from semblance.manifests.records import Crop, Face, Frame, GuideReason, Outcome, Properties, Video
from semblance.quality import measures, video
from semblance.quality.video import DecoderName, pictures

T = TypeVar("T")
FrameFaces = tuple[Frame, list[Face]]
FrameCrops = tuple[Frame, list[Crop]]
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
    def pictures(self) -> bool:
        """Whether it is a folder of pictures."""
        return pictures.is_folder(self.path)

    @property
    def decoder(self) -> str:
        """What decodes the frames."""
        return pictures.DECODER if self.pictures else self.job.decoder

    @property
    def total(self) -> int:
        """The number of frames."""
        return self.properties.frames_total or 0


def process(job: Job, detector: Detector, report: Callable[[Work], None] | None = None) -> Result:
    """Take one video from its file to its outcome; a fault of the file becomes a status.

    ``report`` receives the video's work once its header has been read.

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
                if pictures.is_folder(path):
                    properties = pictures.at_rate(properties, job.recipe.source.fps)
            except VideoError as error:
                return Result(outcome=faulty(job.video, error.status, str(error)))
            clock.decode += time.perf_counter() - start
            if report is not None:
                report(video_work(properties, job.recipe, job.listed))
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
        return Result(outcome=faulty(job.video, error.status, str(error), properties, opened.decoder), guide=guide)
    outcome = finished(
        job.video,
        job.recipe,
        properties,
        opened.decoder,
        reason,
        indices,
        seen,
        opened.clock.row,
        mask_note=opened.masks.note,
        names=pictures.names(opened.path) if opened.pictures else (),
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
    if job.recipe.decode.skip != "none" and seen and not opened.pictures:
        # nearby frames were decoded in place of the wanted ones
        indices = sorted({observation.frame_index for observation in seen})
    return reason, indices, seen


def _faces(opened: _OpenVideo, indices: Sequence[int], partners: Partners | None) -> list[Seen]:
    """The straight line from frames to verdicts. Only a few frames are in memory at any time."""
    job, recipe = opened.job, opened.job.recipe
    skip = recipe.decode.skip if partners is None else "none"  # a guided frame must be exactly its partner's
    tracker = Tracker(recipe.track) if partners is None else None
    timing = Timing(partners, recipe.crop) if partners is not None and len(partners.persons) > 1 else None
    decoded = video.frames(
        opened.path,
        indices,
        decoder=job.decoder,
        skip=skip,
        deinterlace=recipe.decode.deinterlace,
        glances=tracker is not None or timing is not None,
    )
    frames = opened.clock.decoding(decoded)
    if opened.pictures:
        frames = pictures.timed(frames, recipe.source.fps)
    if tracker is not None:
        faces = tracker.link(_detect(frames, opened.detector, opened.clock))
    elif partners is not None:
        faces = partners.follow(frames)
        if timing is not None:
            faces = timing.watching(faces)
    cropped = _cut(faces, recipe)
    measured = _measure(cropped, partners, recipe)
    judged = judge(measured, partners, recipe)
    seen = list(opened.masks.attach(judged, indices, opened.properties))
    if tracker is not None:
        seen = named(seen, persons(tracker.sightings, recipe.track))
    if timing is not None and partners is not None:
        seen = without_change(seen, timing.late() | partners.differing)
    return [doubted(one, recipe) for one in largest(seen, recipe)]


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
    """Measure every crop; raises ContentDiffersError where the guided crops disagree with their partners."""
    for frame, frame_crops in cropped:
        of_frame = measures.measure_frame(frame.image, [crop.geometry for crop in frame_crops])
        measured = []
        for crop in frame_crops:
            of_crop = measures.measure(crop, of_frame, frame.image)
            if partners is not None:
                partner = partners.of(frame.index, crop.face.track)
                compared = measures.compare(crop, partner.image)
                partners.check(crop.face, compared.outside, recipe.guide.outside)
                of_crop = replace(of_crop, **compared.measures)
            measured.append((crop, of_crop))
        yield frame, measured


def _make_guide(properties: Properties, indices: Sequence[int], seen: Iterable[Seen], recipe: Recipe) -> Guide | None:
    """The guide for this video's fakes; None where no face is above the confidence limit."""
    faces = [
        (observation.frame_index, observation.face, observation.verdict, observation.image)
        for observation in seen
        if observation.face is not None and observation.verdict is not None and observation.image is not None
    ]
    if not any(confident(face, recipe) for _, face, _, _ in faces):
        return None
    return pairing.pack(properties, indices, faces)

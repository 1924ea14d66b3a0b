"""One archive of faces that a dataset's authors cropped, start to end: it is read once, and the pictures of its
sequences are decoded, measured and judged; nothing is detected or cropped again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from semblance.ingest.process.rows import faulty, finished, vanished
from semblance.ingest.recipe import Recipe
from semblance.ingest.records import Seen
from semblance.ingest.sources.base import Picture
from semblance.ingest.steps import crops, sampling
from semblance.manifests import storage
from semblance.manifests.errors import ArchiveError, SemblanceError, StorageError
from semblance.manifests.records import Image, Outcome, Properties, Verdict, Video
from semblance.manifests.storage.retry import reason
from semblance.quality import codec, gates
from semblance.quality.measures import measure_picture
from semblance.quality.resize import to_square
from semblance.shards import tar

DECODER: Final = "opencv"
_MAX_SIDE: Final = 4096  # px: no cropped face is larger, and a header can claim anything


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveJob:
    """Everything needed to process an archive on any machine: its rows of the plan, their pictures, the recipe.

    ``listed``: with sampling.mode "list", the wanted frame indices of each video.
    """

    root: str
    path: str
    videos: tuple[Video, ...]
    pictures: tuple[tuple[Picture, ...], ...]
    listed: tuple[tuple[int, ...], ...]
    recipe: Recipe

    def per_sequence(self) -> Iterator[ArchiveJob]:
        """The same work as one job per sequence; each reads the archive again."""
        for video, pictures, listed in zip(self.videos, self.pictures, self.listed, strict=True):
            yield replace(self, videos=(video,), pictures=(pictures,), listed=(listed,))


@dataclass(slots=True, kw_only=True)
class _Sequence:
    """A sequence while its archive is read: the wanted pictures, and those read so far."""

    video: Video
    total: int
    wanted: dict[str, int]  # name in its folder -> frame index, in order of time
    read: dict[str, bytes] = field(default_factory=dict)
    outcome: Outcome | None = None

    @property
    def complete(self) -> bool:
        return len(self.read) == len(self.wanted)


def process(job: ArchiveJob) -> tuple[Outcome, ...]:
    """Take the sequences of an archive to their outcomes, in the job's order; each fault becomes a status.

    Raises StorageError where the archive cannot be read for reasons of storage.
    """
    sequences = [
        _Sequence(video=video, total=len(pictures), wanted=_wanted(pictures, job.recipe, listed))
        for video, pictures, listed in zip(job.videos, job.pictures, job.listed, strict=True)
    ]
    started, working = time.perf_counter(), 0.0
    fault: str | None = None
    try:
        for sequence in _read(job, sequences):
            start = time.perf_counter()
            sequence.outcome = _outcome(sequence, job.recipe)
            working += time.perf_counter() - start
    except ArchiveError as error:
        fault = str(error)
    except FileNotFoundError:
        return tuple(vanished(sequence.video, job.root) for sequence in sequences)
    except OSError as error:
        url = storage.join(job.root, job.path)
        raise StorageError(
            f"{url} cannot be read ({reason(error)}); fix the cause, then run the same command again."
        ) from error
    reading = (time.perf_counter() - started - working) / len(sequences)
    return tuple(_finish(sequence, job.recipe, fault, reading) for sequence in sequences)


def _wanted(pictures: tuple[Picture, ...], recipe: Recipe, listed: tuple[int, ...]) -> dict[str, int]:
    """The frame indices of the wanted pictures, by name; sampling runs over the pictures that exist."""
    if recipe.sampling.mode == "list":
        return {name: index for index, name in pictures if index in set(listed)}
    places = sampling.wanted(len(pictures), None, recipe.sampling)
    return {pictures[place][1]: pictures[place][0] for place in places}


def _read(job: ArchiveJob, sequences: Iterable[_Sequence]) -> Iterator[_Sequence]:
    """Read the archive once, to its end; yield each sequence when its last wanted picture has been read."""
    by_folder = {sequence.video.member: sequence for sequence in sequences if sequence.wanted}
    url = storage.join(job.root, job.path)
    with storage.reading(url) as file:
        members = tar.read_foreign(file, storage.size(url), job.recipe.source.archive)
        for member in members:
            folder, _, name = member.name.rpartition("/")
            sequence = by_folder.get(folder)
            if sequence is None or name not in sequence.wanted or name in sequence.read:
                continue
            if member.refused is None and not member.folder:
                sequence.read[name] = member.read()
                if sequence.complete:
                    yield sequence
                    sequence.read = dict.fromkeys(sequence.read, b"")  # its bytes are no longer needed


def _finish(sequence: _Sequence, recipe: Recipe, fault: str | None, reading: float) -> Outcome:
    """The outcome with the fault of the archive, and an equal share of the seconds spent reading it."""
    outcome = sequence.outcome or _outcome(sequence, recipe)
    row = dict(outcome.video)
    for name in ("seconds_decode", "seconds_total"):
        row[name] = row.get(name, 0.0) + reading
    if fault is not None and row["status"] != "empty":
        row["status"] = "partial" if row["status"] in ("ok", "partial") else row["status"]
        row["error"] = f"its archive cannot be read to the end: {fault}; what was read is kept; download it again."
    return replace(outcome, video=row)


def _outcome(sequence: _Sequence, recipe: Recipe) -> Outcome:
    """The outcome of a sequence's pictures."""
    video = sequence.video
    if sequence.total == 0:
        return faulty(video, "empty", "the sequence has no picture in its archive; download it again.")
    started = time.perf_counter()
    failures: dict[int, Verdict] = {}
    images = dict(_decode(sequence, failures))
    decoded = time.perf_counter() - started
    seen = [_judge(index, image, recipe) for index, image in images.items()]
    widths, heights = ({image.shape[axis] for image in images.values()} for axis in (1, 0))
    properties = Properties(
        codec="png",
        width=widths.pop() if len(widths) == 1 else None,
        height=heights.pop() if len(heights) == 1 else None,
        frames_total=sequence.total,
        bytes=video.bytes,
    )

    def seconds() -> dict[str, float]:
        return {"seconds_decode": decoded, "seconds_total": time.perf_counter() - started}

    indices = list(sequence.wanted.values())
    return finished(video, recipe, properties, DECODER, None, indices, seen, seconds, failures)


def _decode(sequence: _Sequence, failures: dict[int, Verdict]) -> Iterator[tuple[int, Image]]:
    """Decoded pictures in order of time; unusable sizes go to ``failures``, undecodable pictures are skipped."""
    for name, index in sequence.wanted.items():
        try:
            width, height = codec.png_size(sequence.read.get(name, b""))
            if max(width, height) > _MAX_SIDE:
                failures[index] = Verdict(reasons=("too_large",), measured=max(width, height), limit=_MAX_SIDE)
            elif width != height:
                sides = (max(width, height), min(width, height))
                failures[index] = Verdict(reasons=("not_square",), measured=sides[0], limit=sides[1])
            else:
                yield index, codec.decode(sequence.read[name])
        except SemblanceError:
            continue


def _judge(index: int, image: Image, recipe: Recipe) -> Seen:
    """A picture as a face: measured at no more than 224 px like every crop, and stored at the recipe's size."""
    probe = to_square(image, min(image.shape[0], crops.PROBE))
    measures = measure_picture(probe)
    return Seen(
        frame_index=index,
        time_s=None,
        image=to_square(image, recipe.crop.size),
        measures=measures,
        verdict=gates.judge(None, measures, recipe.gates),
        stage="gate",
    )

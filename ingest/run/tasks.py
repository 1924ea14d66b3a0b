"""Tasks that run on workers: process a video or an archive, summarise it, seal a shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from semblance.ingest.limits import Work
from semblance.ingest.process.archive import DECODER, ArchiveJob
from semblance.ingest.process.rows import faulty
from semblance.ingest.process.video import Job, Result
from semblance.ingest.process.work import archive_work
from semblance.ingest.run.child_process import Fault, borrowed
from semblance.ingest.steps.pairing import Guide
from semblance.manifests import schema, storage, tables
from semblance.manifests.records import FAILURES, Outcome, Video
from semblance.quality import video
from semblance.shards import write
from semblance.shards.layout import Receipt, key_of
from semblance.shards.repack.restore import read_back

_ENDED: Final = ("timeout", "crashed", "oom")  # statuses of a child whose work was cut short


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildCounts:
    """Counts of a part of a build; they merge with ``+``."""

    videos: int = 0
    failures: int = 0
    frames: int = 0
    faces: int = 0
    kept: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: BuildCounts) -> BuildCounts:
        return BuildCounts(
            videos=self.videos + other.videos,
            failures=self.failures + other.failures,
            frames=self.frames + other.frames,
            faces=self.faces + other.faces,
            kept=self.kept + other.kept,
            rejected=self.rejected + other.rejected,
            reasons=self.reasons + other.reasons,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoDone:
    """Summary of a processed video for the driver; ``planned``: its fault was known before it was opened."""

    video_id: str
    shard: str
    status: str
    error: str | None
    decoder: str | None
    seconds: float | None
    planned: bool
    tally: BuildCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLost:
    """A shard whose stored results, needed to retry some of its videos, are no longer complete."""

    shard: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """How a shard is sealed: ``order`` lists its videos, ``kept`` those that keep their stored results."""

    out: str
    shard: str
    fingerprint: str
    seed: int
    extension: str
    order: tuple[str, ...]
    kept: tuple[str, ...] | None = None


def run_video(job: Job, guide: Guide | None) -> Result:
    """Process a video in a child, and again with the other decoder after a fault or an unreadable file.

    There is always an outcome with a status; raises ChildError for a programming error.
    """
    if job.video.fault is not None:
        return Result(outcome=faulty(job.video, job.video.fault, job.video.fault_note))
    job = replace(job, guide=guide)
    decoders = [job.decoder, *(name for name in video.available() if name != job.decoder)]
    first: Result | None = None
    for decoder in decoders[:2]:
        result = _attempt(replace(job, decoder=decoder))
        row = result.outcome.video
        damaged = row["frames_sampled"] > 0  # it was read, but no frame is sound: decord would give its smeared ones
        if row["status"] not in (*_ENDED, "decode_error") or damaged:
            return result
        first = first or result
    assert first is not None
    ended = first.outcome.video["status"]
    if job.recipe.masks and job.video.mask is not None and job.without_masks is None and ended in _ENDED:
        note = f"processing stopped ({ended}) with the mask video, so masks were not read"
        without_masks = run_video(replace(job, without_masks=note), guide)
        if without_masks.outcome.video["status"] not in _ENDED:
            return without_masks
    return first


def run_archive(job: ArchiveJob) -> tuple[Outcome, ...]:
    """Process an archive in a child; after a fault, sequence by sequence, so that it affects only its own sequence.

    Outcomes are in the job's order; raises ChildError for a programming error.
    """
    result: tuple[Outcome, ...] | Fault = _supervised(job)
    if not isinstance(result, Fault):
        return result
    if len(job.videos) > 1:
        return tuple(outcome for part in job.per_sequence() for outcome in run_archive(part))
    return (faulty(job.videos[0], result.status, result.sentence, decoder=DECODER),)


def _attempt(job: Job) -> Result:
    result: Result | Fault = _supervised(job)
    if isinstance(result, Fault):
        return Result(outcome=faulty(job.video, result.status, result.sentence, decoder=job.decoder))
    return result


def _supervised(job: Job | ArchiveJob) -> Any:
    """The child's result for the job; retried once if the child was killed, which is not the fault of a file."""
    work = archive_work(job) if isinstance(job, ArchiveJob) else Work(bytes=job.video.bytes or 0)
    with borrowed() as child:
        result = child.run(job, job.recipe.limits, work)
        return child.run(job, job.recipe.limits, work) if isinstance(result, Fault) and result.killed else result


def outcome_of(result: Result) -> Outcome:
    return result.outcome


def outcome_at(outcomes: Sequence[Outcome], place: int) -> Outcome:
    return outcomes[place]


def guide_of(result: Result) -> Guide | None:
    return result.guide


def summarise(outcome: Outcome, planned: bool) -> VideoDone:
    """Summarise a video for the driver."""
    row = outcome.video
    return VideoDone(
        video_id=row["video_id"],
        shard=row["shard"],
        status=row["status"],
        error=row.get("error"),
        decoder=row.get("decoder"),
        seconds=row.get("seconds_total"),
        planned=planned,
        tally=tally(outcome),
    )


def tally(outcome: Outcome) -> BuildCounts:
    """The counts for the progress line."""
    row = outcome.video
    faces = (rejection.row for rejection in outcome.rejections if rejection.row["unit"] == "face")
    return BuildCounts(
        videos=1,
        failures=int(row["status"] in FAILURES),
        frames=row["frames_sampled"],
        faces=row["faces_seen"],
        kept=row["crops_kept"],
        rejected=row["crops_rejected"],
        reasons=Counter(row["reason"] for row in faces),
    )


def seal(outcomes: Sequence[Outcome], how: Seal) -> Receipt | ShardLost:
    """Commit one shard; in a retry, only if a retried video's result has changed."""
    if how.kept is None:
        return _seal(outcomes, how, overwrite=False)
    receipt = write.committed(how.out, key_of(how.shard), how.fingerprint, thorough=True)
    if receipt is None:
        return ShardLost(shard=how.shard)
    before = read_back(how.out, receipt, how.order, None, how.extension)
    now = {outcome.video["video_id"]: outcome for outcome in outcomes}
    selected = [
        now[name] if name in now and not _worse(now[name], before[name]) else before[name] for name in how.order
    ]
    if all(_comparable(outcome.video) == _comparable(before[outcome.video["video_id"]].video) for outcome in selected):
        return receipt
    return _seal(selected, how, overwrite=True)


def _worse(now: Outcome, before: Outcome) -> bool:
    """Whether the retry failed without samples although the first attempt had some."""
    return now.video["status"] in FAILURES and not now.samples and bool(before.samples)


def _seal(outcomes: Sequence[Outcome], how: Seal, *, overwrite: bool) -> Receipt:
    return write.seal(
        how.out,
        how.shard,
        outcomes,
        fingerprint=how.fingerprint,
        seed=how.seed,
        picture_extension=how.extension,
        overwrite=overwrite,
    )


def _comparable(row: Mapping[str, Any]) -> dict[str, Any]:
    """A video's row without times, shard (null if it has no sample) and error text, which may contain measurements."""
    stored: dict[str, Any] = (
        tables.to_arrow([row], "videos").drop_columns([*schema.TIMES, "shard", "error"]).to_pylist()[0]
    )
    return stored


def sees(root: str, probe: Video | None) -> bool:
    """Whether this worker can read the input at the path that the driver uses."""
    return probe is None or storage.exists(storage.join(root, probe.path))

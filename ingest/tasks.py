"""What runs on a worker: a video or an archive of faces, a tally of it, and the sealing of a shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ingest.guide import Guide
from ingest.outcome import faulty
from ingest.precut import DECODER, ArchiveJob
from ingest.process import Job, Result
from ingest.supervise import Fault, borrowed
from manifests import storage
from manifests.records import FAILURES, Outcome, Video
from quality import video
from shards import write
from shards.layout import Receipt

_ENDED: Final = ("timeout", "crashed", "oom")  # how a child's work can be cut short


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts of a part of a build; they merge with ``+``."""

    videos: int = 0
    failures: int = 0
    frames: int = 0
    faces: int = 0
    kept: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            videos=self.videos + other.videos,
            failures=self.failures + other.failures,
            frames=self.frames + other.frames,
            faces=self.faces + other.faces,
            kept=self.kept + other.kept,
            rejected=self.rejected + other.rejected,
            reasons=self.reasons + other.reasons,
        )


def run_video(job: Job, guide: Guide | None) -> Result:
    """Process a video in a child, once more with the other decoder after a fault or an unreadable file.

    Whatever happens to the file, there is an outcome with a status; raises ChildError for a programming error.
    """
    if job.video.fault is not None:
        return Result(outcome=faulty(job.video, job.video.fault, job.video.fault_note))
    job = replace(job, guide=guide)
    decoders = [job.decoder, *(name for name in video.available() if name != job.decoder)]
    first: Result | None = None
    for decoder in decoders[:2]:
        result = _attempt(replace(job, decoder=decoder))
        if result.outcome.video["status"] not in (*_ENDED, "decode_error"):
            return result
        first = first or result
    assert first is not None
    ended = first.outcome.video["status"]
    if job.recipe.masks and job.video.mask is not None and job.without_masks is None and ended in _ENDED:
        note = f"with its mask video the video ended in {ended}, so that it was read without"
        alone = run_video(replace(job, without_masks=note), guide)
        if alone.outcome.video["status"] not in _ENDED:
            return alone
    return first


def run_archive(job: ArchiveJob) -> tuple[Outcome, ...]:
    """Process an archive's sequences in a child, one by one where that was ended: a fault ends its sequence alone.

    Outcomes stand in the job's order; raises ChildError for a programming error.
    """
    with borrowed() as child:
        answer: tuple[Outcome, ...] | Fault = child.run(job, job.recipe.limits)
    if not isinstance(answer, Fault):
        return answer
    if len(job.videos) > 1:
        return tuple(outcome for alone in job.apart() for outcome in run_archive(alone))
    return (faulty(job.videos[0], answer.status, answer.sentence, decoder=DECODER),)


def _attempt(job: Job) -> Result:
    with borrowed() as child:
        answer: Result | Fault = child.run(job, job.recipe.deadline)
    if isinstance(answer, Fault):
        return Result(outcome=faulty(job.video, answer.status, answer.sentence, decoder=job.decoder))
    return answer


def outcome_of(result: Result) -> Outcome:
    return result.outcome


def outcome_at(outcomes: Sequence[Outcome], place: int) -> Outcome:
    return outcomes[place]


def guide_of(result: Result) -> Guide | None:
    return result.guide


def tally(outcome: Outcome) -> Tally:
    """The counts that the progress line shows."""
    row = outcome.video
    faces = (one.row for one in outcome.rejections if one.row["unit"] == "face")
    return Tally(
        videos=1,
        failures=int(row["status"] in FAILURES),
        frames=row["frames_sampled"],
        faces=row["faces_seen"],
        kept=row["crops_kept"],
        rejected=row["crops_rejected"],
        reasons=Counter(row["reason"] for row in faces),
    )


def seal(outcomes: Sequence[Outcome], out: str, shard: str, fingerprint: str, seed: int, extension: str) -> Receipt:
    """Commit one shard of the build at ``out``."""
    return write.seal(out, shard, outcomes, fingerprint=fingerprint, seed=seed, picture_extension=extension)


def sees(root: str, probe: Video | None) -> bool:
    """Whether this worker can read the input; the path is the one that the driver uses."""
    return probe is None or storage.exists(storage.join(root, probe.path))

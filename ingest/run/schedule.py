"""The driver's loop: videos and shards are submitted in plan order, with a bounded window of them in flight."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from semblance.ingest.plan import Plan
from semblance.ingest.process.archive import ArchiveJob
from semblance.ingest.process.video import Job
from semblance.ingest.run import tasks
from semblance.ingest.run.dask import Cluster
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import FAILURES, Video
from semblance.shards.layout import Receipt
from semblance.shards.lock import Lease

_AHEAD: Final = 8  # videos in flight per thread of the cluster
_COUNTED: Final = FAILURES - {"partial"}  # a partial video still yields samples


class Observer(Protocol):
    """Receives the events of a build: a progress bar or a log."""

    def started(self, videos: int, done: int, shards: int) -> None: ...
    def video(self, summary: tasks.VideoDone) -> None: ...
    def sealed(self, receipt: Receipt) -> None: ...


@dataclass(slots=True, kw_only=True)
class Driver:
    """Keeps a bounded window of shards in flight.

    ``again``: shard -> its videos to process again, while its other videos keep their results; any other pending shard
    is built completely. ``in_a_row``: stop the build after this many failures in a row.
    """

    plan: Plan
    out: str
    cluster: Cluster
    observer: Observer
    lease: Lease
    again: Mapping[str, frozenset[str]]
    in_a_row: int | None = None
    guides: dict[str, Any] = field(default_factory=dict)  # original's video_id -> future of its guide
    waiting: dict[str, int] = field(default_factory=dict)  # original's video_id -> fakes not yet submitted
    failed: int = 0  # videos in a row

    def run(self, pending: Sequence[str]) -> None:
        """Build the pending shards; raises SemblanceError for everything that the user can fix."""
        shards = self.plan.by_shard()
        originals = self.plan.original_of()
        queue = deque((shard, self.again.get(shard)) for shard in pending)
        for shard, again in queue:
            self._expect(_selected(shards[shard], again), originals)
        arrivals = self.cluster.arrivals()
        ahead = _AHEAD * self.cluster.threads()
        videos_in_flight = 0
        while queue or arrivals.open:
            while queue and (videos_in_flight < ahead or not arrivals.open):
                shard, again = queue.popleft()
                arrivals.add(self._submit(shard, shards[shard], again, originals))
                videos_in_flight += len(_selected(shards[shard], again))
            self.lease.check()
            result = arrivals.next()
            if isinstance(result, tasks.VideoDone):
                videos_in_flight -= 1
                self.observer.video(result)
                self._count(result)
            elif isinstance(result, tasks.ShardLost):  # a worker died while sealing it: its earlier results are lost
                self._expect(shards[result.shard], originals)
                queue.append((result.shard, None))
            else:
                self.observer.sealed(result)

    def _expect(self, videos: Sequence[Video], originals: Mapping[str, Video]) -> None:
        for video in videos:
            if video.video_id in originals:
                original = originals[video.video_id].video_id
                self.waiting[original] = self.waiting.get(original, 0) + 1

    def _count(self, summary: tasks.VideoDone) -> None:
        """Stop a build in which every video fails, since they probably share the cause."""
        if summary.planned:
            return
        self.failed = self.failed + 1 if summary.status in _COUNTED else 0
        if self.in_a_row is not None and self.failed >= self.in_a_row:
            raise SemblanceError(
                f"{self.failed} videos failed in a row, the last one is {summary.video_id} "
                f"({summary.status}: {summary.error}); fix the common cause, then run the same command "
                "with --retry failed."
            )

    def _submit(
        self, shard: str, videos: Sequence[Video], again: frozenset[str] | None, originals: Mapping[str, Video]
    ) -> list[Any]:
        """Futures of the summaries of a shard's videos, and of its receipt."""
        submit, recipe = self.cluster.submit, self.plan.recipe
        outcomes = []
        selected = _selected(videos, again)
        for archive, inside in itertools.groupby(selected, key=lambda video: video.path if video.member else None):
            if archive is not None:
                outcomes += self._outcomes(list(inside))
                continue
            for video in inside:
                original = originals.get(video.video_id)
                result = self._result(video, self._guide(original) if original else None)
                outcomes.append(submit(tasks.outcome_of, result, priority=1))
        summaries = [
            submit(tasks.summarise, outcome, video.fault is not None, priority=1)
            for video, outcome in zip(selected, outcomes, strict=True)
        ]
        order = tuple(video.video_id for video in videos)
        seal = tasks.Seal(
            out=self.out,
            shard=shard,
            fingerprint=self.plan.fingerprint,
            seed=recipe.seed,
            extension=recipe.encoding.extension,
            kept=None if again is None else tuple(name for name in order if name not in again),
            order=order,
        )
        return [*summaries, submit(tasks.seal, outcomes, seal, priority=1)]

    def _outcomes(self, videos: list[Video]) -> list[Any]:
        """Futures of the outcomes of one archive's sequences: an archive is a single task."""
        ids = [video.video_id for video in videos]
        job = ArchiveJob(
            root=self.plan.root,
            path=videos[0].path,
            videos=tuple(videos),
            pictures=tuple(self.plan.discovery.pictures[video_id] for video_id in ids),
            listed=tuple(self.plan.listed.get(video_id, ()) for video_id in ids),
            recipe=self.plan.recipe,
        )
        results = self.cluster.submit(tasks.run_archive, job, priority=-(videos[0].order or 0))
        return [self.cluster.submit(tasks.outcome_at, results, place, priority=1) for place in range(len(videos))]

    def _result(self, video: Video, guide: Any) -> Any:
        """The future of a video's result; the future of its guide is kept while fakes wait for it."""
        result = self.cluster.submit(tasks.run_video, self._job(video), guide, priority=-(video.order or 0))
        if self.waiting.get(video.video_id) and video.video_id not in self.guides:
            self.guides[video.video_id] = self.cluster.submit(tasks.guide_of, result, priority=1)
        return result

    def _guide(self, original: Video) -> Any:
        """The future of an original's guide: from its task, or from a task only for the guide if its shard is done."""
        if original.video_id not in self.guides:
            self._result(original, None)
        guide = self.guides[original.video_id]
        self.waiting[original.video_id] -= 1
        if not self.waiting[original.video_id]:
            del self.guides[original.video_id]
        return guide

    def _job(self, video: Video) -> Job:
        return Job(
            root=self.plan.root,
            video=video,
            recipe=self.plan.recipe,
            decoder=self.plan.recipe.decode.decoder,
            listed=self.plan.listed.get(video.video_id, ()),
            gives_guide=bool(self.waiting.get(video.video_id)),
        )


def _selected(videos: Sequence[Video], again: frozenset[str] | None) -> list[Video]:
    return [video for video in videos if again is None or video.video_id in again]

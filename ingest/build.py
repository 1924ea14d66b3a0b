"""The driver of a build: plan -> videos -> shards -> receipts -> dataset.json."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ingest import faces, summary, tasks
from ingest.cluster import Cluster, connect
from ingest.planning import Plan
from ingest.precut import ArchiveJob
from ingest.process import Job
from manifests.records import SemblanceError, Video
from shards import claim
from shards.layout import Receipt, key_of
from shards.summary import card
from shards.write import is_done

_AHEAD = 8  # videos in flight for every thread of the cluster


class Observer(Protocol):
    """Who watches a build: a bar on a terminal, lines in a log, nobody in a test."""

    def started(self, videos: int, done: int, shards: int) -> None: ...
    def video(self, tally: tasks.Tally) -> None: ...
    def sealed(self, receipt: Receipt) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """How a build ended: ``resumed`` from an earlier run, ``worked`` on this many shards."""

    out: str
    resumed: bool
    worked: int
    description: dict[str, Any]  # dataset.json


def build(
    plan: Plan, out: str, observer: Observer, *, workers: int | None = None, scheduler: str | None = None
) -> Built:
    """Build ``plan`` into ``out``, going on where an earlier run of the same plan stopped.

    Raises SemblanceError for all that the user can mend; what is committed stays committed.
    """
    resumed = claim.belongs(plan, out)
    shards = plan.by_shard()
    pending = [shard for shard in shards if not is_done(out, key_of(shard), plan.fingerprint, thorough=False)]
    description = claim.read(out, claim.DATASET)
    if not pending and description is not None:
        return Built(out=out, resumed=resumed, worked=0, description=description)
    left = sum(len(shards[shard]) for shard in pending)
    if pending:
        faces.prepare(plan.recipe.detect)
        with connect(workers, scheduler) as cluster:
            _check_workers(plan, cluster)
            claim.take(plan, out)
            observer.started(len(plan.videos), len(plan.videos) - left, len(pending))
            _Driver(plan=plan, out=out, cluster=cluster, observer=observer).run(pending)
    description = summary.describe(plan, out)
    claim.finish(out, description, card(description))
    return Built(out=out, resumed=resumed, worked=len(pending), description=description)


@dataclass(slots=True, kw_only=True)
class _Driver:
    """Keeps a bounded window of shards in flight."""

    plan: Plan
    out: str
    cluster: Cluster
    observer: Observer
    guides: dict[str, Any] = field(default_factory=dict)  # original's video_id -> future of its guide
    waiting: dict[str, int] = field(default_factory=dict)  # original's video_id -> fakes not yet submitted

    def run(self, pending: Iterable[str]) -> None:
        shards = self.plan.by_shard()
        originals = self.plan.original_of()
        queue = deque(pending)
        for shard in queue:
            for video in shards[shard]:
                if video.video_id in originals:
                    original = originals[video.video_id].video_id
                    self.waiting[original] = self.waiting.get(original, 0) + 1
        finished = self.cluster.finished()
        ahead = _AHEAD * self.cluster.threads()
        videos_in_flight = 0
        while queue or finished.count():
            while queue and (videos_in_flight < ahead or not finished.count()):
                videos = shards[queue[0]]
                finished.update(self._submit(queue.popleft(), videos, originals))
                videos_in_flight += len(videos)
            result = next(finished).result()
            if isinstance(result, tasks.Tally):
                videos_in_flight -= 1
                self.observer.video(result)
            else:
                self.observer.sealed(result)

    def _submit(self, shard: str, videos: list[Video], originals: dict[str, Video]) -> list[Any]:
        """Futures of a shard's tallies and of its receipt."""
        submit, recipe = self.cluster.submit, self.plan.recipe
        outcomes = []
        for archive, inside in itertools.groupby(videos, key=lambda video: video.path if video.member else None):
            if archive is not None:
                outcomes += self._outcomes(list(inside))
                continue
            for video in inside:
                original = originals.get(video.video_id)
                result = self._result(video, self._guide(original) if original else None)
                outcomes.append(submit(tasks.outcome_of, result, priority=1))
        tallies = [submit(tasks.tally, outcome, priority=1) for outcome in outcomes]
        receipt = submit(
            tasks.seal,
            outcomes,
            self.out,
            shard,
            self.plan.fingerprint,
            recipe.seed,
            recipe.encoding.extension,
            priority=1,
        )
        return [*tallies, receipt]

    def _outcomes(self, videos: list[Video]) -> list[Any]:
        """Futures of the outcomes of one archive's sequences: the archive is one piece of work."""
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
        """The future of a video's result; its guide's is kept while fakes wait for it."""
        result = self.cluster.submit(tasks.run_video, self._job(video), guide, priority=-(video.order or 0))
        if self.waiting.get(video.video_id) and video.video_id not in self.guides:
            self.guides[video.video_id] = self.cluster.submit(tasks.guide_of, result, priority=1)
        return result

    def _guide(self, original: Video) -> Any:
        """The future of an original's guide: of its own task, or of one for the guide alone where its shard is done."""
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


def _check_workers(plan: Plan, cluster: Cluster) -> None:
    """Every worker must have this code and see the same input."""
    first = next((video for video in plan.videos if video.fault != "missing"), None)
    try:
        seen = cluster.everywhere(tasks.sees, plan.root, first)
    except ModuleNotFoundError as error:
        raise SemblanceError(f"The cluster's workers lack a package ({error}); install semblance there too.") from error
    if blind := sorted(address for address, sees in seen.items() if not sees):
        raise SemblanceError(
            f"The worker at {blind[0]} cannot see {plan.root}; "
            "put the input where every worker finds it under that path."
        )

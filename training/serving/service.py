"""The service without the web: its queues, children and models, from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from semblance.manifests.records import Image
from semblance.training.inference import crops as inference
from semblance.training.inference.video import Scored
from semblance.training.rollout import events
from semblance.training.serving import compose, crops, logs
from semblance.training.serving.access import Rates, Tokens
from semblance.training.serving.answers import Feedback, VideoAnswer
from semblance.training.serving.batcher import Batcher
from semblance.training.serving.config import ServeConfig
from semblance.training.serving.jobs import Job, Jobs
from semblance.training.serving.metrics import Metrics
from semblance.training.serving.models import Lineup, Loaded, Models
from semblance.training.serving.problems import ProblemError
from semblance.training.serving.videos import VideoDesk, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request for an answer, and the model that was drawn for it. ``caller``: the token's name, or ""."""

    id: str
    subject: str
    caller: str
    lineup: Lineup
    model: Loaded
    time: datetime
    start: float  # of a clock that only grows, in seconds


def workers(config: ServeConfig) -> int:
    """Videos that are worked on at once."""
    return config.videos.workers or max(len(os.sched_getaffinity(0)) - 1, 1)


@dataclass(kw_only=True, eq=False)
class Service:
    """``folder``: for what requests send; ``jobs_folder``: kept over a restart; ``log``: of the roll-out's events."""

    models: Models
    config: ServeConfig
    folder: Path
    tokens: Tokens
    jobs_folder: Path | None = None
    log: events.Log | None = None
    follow: Callable[[Models], Coroutine[None, None, None]] | None = None  # keeps the models as the registry has them
    metrics: Metrics = field(default_factory=Metrics)
    ready: bool = False
    stopping: bool = False

    def __post_init__(self) -> None:
        self._following: asyncio.Task[None] | None = None
        config = self.config
        self.rates = Rates(config.rate)
        self.desk = VideoDesk(config.videos, workers(config), config.passes)
        self.later = VideoDesk(config.videos, 1, config.passes)
        self.jobs = Jobs(self.jobs_folder or self.folder / "jobs", config.jobs, self._job)
        self.batcher: Batcher[crops.Crop, Scored] = Batcher(
            crops.Scorer(config.crops, config.passes),
            batch=config.crops.batch,
            wait_s=config.crops.wait_ms / 1000,
            queue=config.crops.queue,
            done=self.metrics.batch.observe,
        )
        self.metrics.gauge("semblance_crops_waiting", "Crops in the queue.", lambda: self.batcher.waiting)
        self.metrics.gauge("semblance_videos_running", "Videos in work.", lambda: self.desk.running - self.desk.waiting)
        self.metrics.gauge("semblance_videos_waiting", "Videos in the queue.", lambda: self.desk.waiting)
        self.metrics.gauge("semblance_jobs_waiting", "Jobs in the queue.", lambda: self.jobs.waiting)

    async def start(self) -> None:
        """Begin to answer; ``ready`` is set once the children have started."""
        self.batcher.start()
        self.jobs.start()
        loop = asyncio.get_running_loop()
        self._warming = loop.create_task(asyncio.to_thread(self._warm))
        if self.follow is not None:
            self._following = loop.create_task(self.follow(self.models))

    def _warm(self) -> None:
        picture = self.folder / "0.png"
        cv2.imwrite(str(picture), np.full((64, 64, 3), 127, np.uint8))
        model = self.models.lineup.champion
        self.desk.warm(Work(file=picture, model=model, seconds=self.config.videos.seconds))
        blank = np.full((64, 64, 3), 127, np.uint8)
        for one in self.models.lineup.models:
            if all(member.clip == 1 for member in one.predictor.members):
                inference.score(one.predictor, [blank] * self.config.crops.batch, self.config.passes)
        self.ready = True
        logs.event("ready")

    async def warmed(self) -> None:
        """Wait until it is ready; raises SemblanceError if it cannot be, such as if its own picture is not scored."""
        await self._warming

    def refuse(self) -> None:
        """A signal has asked for the end: videos that wait are answered with 503, what is in work is finished."""
        self.stopping, self.ready = True, False
        self.desk.refuse()
        self.later.refuse()

    async def stop(self) -> None:
        """After the last answer."""
        self.refuse()
        if self._following is not None:
            self._following.cancel()
        await asyncio.gather(self._warming, return_exceptions=True)
        await self.batcher.stop()
        await self.jobs.stop()
        await asyncio.to_thread(self.desk.stop)
        await asyncio.to_thread(self.later.stop)
        if self.log is not None:
            await asyncio.to_thread(self.log.close)

    def ask(self, subject: str | None, caller: str = "", name: str | None = None) -> Asked:
        """A new request with an id of its own, by which feedback refers to it. Without a subject, it is one itself."""
        name = name or uuid.uuid4().hex
        subject = subject or name
        lineup = self.models.lineup
        return Asked(
            id=name,
            subject=subject,
            caller=caller,
            lineup=lineup,
            model=lineup.of(subject),
            time=datetime.now(UTC),
            start=time.perf_counter(),
        )

    def pinned(self, asked: Asked, model: Loaded) -> Asked:
        """The request for a model that it names itself: no part of a roll-out."""
        return replace(asked, model=model, lineup=Lineup(champion=model))

    async def crop(self, content: bytes | Image, asked: Asked) -> Scored:
        """The score of one face crop, of its file or its pixels (S, S, 3) uint8 RGB; raises ProblemError."""
        with self._noting("crop", asked) as note:
            scored = await self.batcher.offer(crops.Crop(content=content, model=asked.model))
            note(scored)
            return scored

    async def video(self, file: Path, asked: Asked, *, faces: bool) -> VideoAnswer:
        """The answer for a video or picture; raises ProblemError."""
        work = Work(file=file, model=asked.model, seconds=self.config.videos.seconds)
        return await self._video(self.desk, work, asked, faces=faces)

    async def _job(self, job: Job, file: Path) -> VideoAnswer:
        asked = self.ask(job.subject, job.owner, job.id)
        work = Work(file=file, model=asked.model, seconds=self.config.videos.job_seconds, at_once=False)
        return await self._video(self.later, work, asked, faces=job.faces)

    async def _video(self, desk: VideoDesk, work: Work, asked: Asked, *, faces: bool) -> VideoAnswer:
        with self._noting("video", asked) as note:
            start = time.perf_counter()
            found = await desk.score(work)
            note(found.video)
            self.metrics.faces.labels("scored").inc(found.pictures.height)
            self.metrics.faces.labels("rejected").inc(sum(found.rejected.values()))
            seconds = time.perf_counter() - start
            return compose.video_answer(found, asked.model.served, asked.id, seconds, faces=faces)

    def observe_models(self) -> None:
        """Bring the gauges of models, registry and events up to date."""
        lineup, gauge = self.models.lineup, self.metrics.model
        gauge.clear()
        for one, share in ((lineup.champion, 1.0), (lineup.challenger, lineup.share)):
            if one is not None:
                gauge.labels(one.served.role, one.served.name, one.served.version).set(share)
        if self.models.registry_up is not None:
            self.metrics.registry_up.set(self.models.registry_up)
        if self.log is not None:
            self.metrics.events_dropped.set(self.log.dropped)

    @contextlib.contextmanager
    def _noting(self, kind: events.Kind, asked: Asked) -> Iterator[Callable[[Scored], None]]:
        """Note an answer, or why there is none, in the metrics and in the roll-out's events."""
        served = asked.model.served

        def note(scored: Scored) -> None:
            self.metrics.scores.labels(kind, served.role, served.version).observe(scored.probability)
            if scored.verdict == "uncertain":
                self.metrics.uncertain.labels(kind).inc()
            self._event(kind, asked, 200, scored=scored)

        try:
            yield note
        except ProblemError as problem:
            self._event(kind, asked, problem.status, reason=problem.reason)
            raise
        except Exception:
            self._event(kind, asked, 500, reason="failed")
            raise

    def _event(
        self, kind: events.Kind, asked: Asked, status: int, *, scored: Scored | None = None, reason: str | None = None
    ) -> None:
        if self.log is None:
            return
        served, lineup = asked.model.served, asked.lineup
        self.log.request(
            events.Request(
                id=asked.id,
                time=asked.time,
                rollout=lineup.rollout,
                share=lineup.share,
                subject_hash=events.hashed(lineup.rollout, asked.subject),
                role=served.role,
                model=served.name,
                version=served.version,
                kind=kind,
                status=status,
                latency_s=time.perf_counter() - asked.start,
                probability=None if scored is None else scored.probability,
                verdict=None if scored is None else scored.verdict,  # type: ignore[arg-type]
                uncertainty=None if scored is None else scored.uncertainty,
                reason=reason,
            )
        )

    def feedback(self, said: Feedback) -> None:
        """Keep what a user says of an answer; raises ProblemError (404) if nothing is kept here."""
        if self.log is None:
            raise ProblemError(
                404, "not_found", "This service keeps no feedback; its owner can start it with --events."
            )
        told = events.Feedback(id=said.id, time=datetime.now(UTC), label=said.label, satisfied=said.satisfied)
        self.log.feedback(told)

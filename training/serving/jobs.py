"""Videos that are scored later: accepted at once, asked for again by id, and kept over a restart.

::

    FOLDER/ID/job.json      who may ask for it, when it was accepted, how often it was begun
    FOLDER/ID/0.mp4         the video, until it is scored
    FOLDER/ID/answer.json   the answer or the problem, until it has been kept long enough
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from semblance.training.serving import logs, problems
from semblance.training.serving.answers import JobAnswer, Problem, VideoAnswer
from semblance.training.serving.config import JobsConfig
from semblance.training.serving.problems import ProblemError

_ATTEMPTS: Final = 2  # times that a job is begun: one that ends the service itself must not do so for ever
_SWEEP: Final = 30.0  # seconds between two looks for results that were kept long enough
_PAUSE: Final = 5.0  # seconds before the next job, after one whose answer could not be written


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One video. ``owner``: the token's name, "" where none is needed; ``began``: how often it was begun."""

    id: str
    owner: str
    subject: str
    faces: bool
    accepted: float
    began: int = 0


class _NoRoomError(Exception):
    """A job was not scored because the disk is full."""


Score = Callable[[Job, Path], Awaitable[VideoAnswer]]


class Jobs:
    """The queue of one service. ``score`` may raise ProblemError, which is then the job's answer.

    ``pause``: seconds before the next job, after one whose answer could not be written.
    """

    def __init__(
        self,
        folder: Path,
        config: JobsConfig,
        score: Score,
        *,
        clock: Callable[[], float] = time.time,
        pause: float = _PAUSE,
    ) -> None:
        self._folder, self._config, self._score, self._clock, self._pause = folder, config, score, clock, pause
        self._waiting: list[Job] = []
        self._running: Job | None = None
        self._event = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Take up what an earlier service left, oldest first, and begin; called inside the event loop."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for one in filter(_ours, self._folder.iterdir()):
            job = _read(one / "job.json")
            if job is None or (_video(one) is None and not (one / "answer.json").exists()):
                shutil.rmtree(one, ignore_errors=True)
            elif not (one / "answer.json").exists():
                self._waiting.append(job)
        self._waiting.sort(key=lambda job: job.accepted)
        self._event.set()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run()), loop.create_task(self._forget())]

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def check(self) -> None:
        """Raises ProblemError if no job is accepted: now (503), or at all (404)."""
        if not self._config.queue:
            raise ProblemError(404, "not_found", "This service takes no jobs; send a shorter video to /v1/videos.")
        if self.waiting >= self._config.queue:
            raise problems.busy("jobs", 60)

    def accept(self, job: Job, file: Path) -> JobAnswer:
        """Queue a job; its file is moved. Raises ProblemError (503) if the queue is full."""
        self.check()
        own = self._folder / job.id
        try:
            own.mkdir()
            shutil.move(file, own / file.name)
            _write(own / "job.json", asdict(job))
        except OSError:
            shutil.rmtree(own, ignore_errors=True)
            raise
        self._waiting.append(job)
        self._event.set()
        return self.answer(job.id, job.owner)

    def answer(self, name: str, owner: str) -> JobAnswer:
        """Where a job stands. Raises ProblemError (404) if there is none that this owner may ask for."""
        job = self._known(name, owner)
        place = f"/v1/jobs/{job.id}"
        if self._running is not None and self._running.id == job.id:
            return JobAnswer(id=job.id, address=place, status="running")
        stored = self._folder / job.id / "answer.json"
        if stored.exists():
            return JobAnswer.model_validate_json(stored.read_bytes())
        ahead = next((i for i, one in enumerate(self._waiting) if one.id == job.id), 0)
        return JobAnswer(id=job.id, address=place, status="queued", ahead=ahead + (self._running is not None))

    def remove(self, name: str, owner: str) -> None:
        """Forget a job with its video and answer; one that is being scored is forgotten when that is done."""
        job = self._known(name, owner)
        self._waiting = [one for one in self._waiting if one.id != job.id]
        shutil.rmtree(self._folder / job.id, ignore_errors=True)

    async def stop(self) -> None:
        """End; what is queued or unfinished waits for the next service."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _known(self, name: str, owner: str) -> Job:
        job = _read(self._folder / name / "job.json") if name.isalnum() else None
        if job is None or job.owner != owner:
            raise ProblemError(
                404, "not_found", "There is no such job, or it was kept long enough; send the video again."
            )
        return job

    async def _run(self) -> None:
        while True:
            await self._event.wait()
            if not self._waiting:
                self._event.clear()
                continue
            job = self._running = self._waiting.pop(0)
            try:
                await self._work(job)
            except (OSError, _NoRoomError):  # the disk is full: the job waits until there is room for its answer
                logs.event("job put off", reason="it could not be written")
                self._waiting.append(job)
                self._running = None
                await asyncio.sleep(self._pause)
            finally:
                self._running = None

    async def _work(self, job: Job) -> None:
        own = self._folder / job.id
        file = _video(own)
        if file is None:
            return
        again = Job(**{**asdict(job), "began": job.began + 1})
        _write(own / "job.json", asdict(again))
        answer = JobAnswer(id=job.id, address=f"/v1/jobs/{job.id}", status="failed")
        try:
            if again.began > _ATTEMPTS:
                raise problems.of_file("crashed", f"The service ended {_ATTEMPTS} times while it scored this video")
            answer = answer.model_copy(update={"status": "done", "answer": await self._score(again, file)})
        except ProblemError as problem:
            if problem.status == 503:  # it is stopping, or the disk is full: this attempt does not count
                _write(own / "job.json", asdict(job))
                if problem.reason == "stopping":
                    return
                raise _NoRoomError from problem
            told = Problem(error=problem.sentence, reason=problem.reason, id=job.id)
            answer = answer.model_copy(update={"problem": told})
        except asyncio.CancelledError:
            _write(own / "job.json", asdict(job))
            raise
        except Exception:
            told = Problem(error="The service failed; tell whoever runs it.", reason="failed", id=job.id)
            answer = answer.model_copy(update={"problem": told})
        if own.exists():  # or it was removed meanwhile
            _write(own / "answer.json", json.loads(answer.model_dump_json()))
            file.unlink(missing_ok=True)

    async def _forget(self) -> None:
        while True:
            for one in filter(_ours, self._folder.iterdir()):
                with contextlib.suppress(OSError):
                    if (one / "answer.json").stat().st_mtime < self._clock() - self._config.keep_seconds:
                        shutil.rmtree(one, ignore_errors=True)
            await asyncio.sleep(min(_SWEEP, self._config.keep_seconds))


def _ours(folder: Path) -> bool:
    """Whether a folder holds a job and nothing else: what somebody keeps beside jobs is not ours to remove."""
    held: list[str] = []
    with contextlib.suppress(OSError):  # it is no folder, or gone
        held = [one.name.lstrip(".") for one in folder.iterdir()] if folder.name.isalnum() else []
    return bool(held) and all(one.startswith(("job.json", "answer.json", "0.")) for one in held)


def _video(own: Path) -> Path | None:
    return next(iter(own.glob("0.*")), None)


def _read(file: Path) -> Job | None:
    try:
        return Job(**json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write(file: Path, value: object) -> None:
    if file.parent.exists():
        partial = file.with_name(f".{file.name}.partial")
        partial.write_text(json.dumps(value), "utf-8")
        partial.replace(file)

"""Videos: faces found by a supervised child as in a build, then scored; several at once, from a queue that ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from semblance.manifests.errors import SemblanceError, StorageError
from semblance.training.inference import many, video
from semblance.training.inference.inputs import Input
from semblance.training.inference.video import NotScoredError, Prediction
from semblance.training.serving import kinds, logs, problems
from semblance.training.serving.config import VideosConfig
from semblance.training.serving.models import Loaded
from semblance.training.serving.problems import ProblemError

SHOWN: Final = "The video"  # what sentences call a file: its real place is nobody's business
_PICTURE: Final = "The picture"
_FPS: Final = 240  # the most frames a second that a video may have, on average
_TOO_LONG: Final = "limits.hours"
_TICK: Final = 0.1  # seconds
_CHILD: Final = "semblance.ingest.run.child_main"  # in the command line of ingest's children
_TOO_LARGE: Final = ("limits.megapixels", "limits.frames")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A file to score. ``seconds``: the longest that it may last; ``at_once``: whether its sender waits."""

    file: Path
    model: Loaded
    seconds: float
    at_once: bool = True


class VideoDesk:
    """Scores at most ``workers`` videos at once, each in a thread with a child process; at most ``queue`` wait.

    The children are those of ingest: a file that hangs, ends or fills one costs only its own answer.
    """

    def __init__(self, config: VideosConfig, workers: int, passes: int) -> None:
        self._config, self._passes, self.workers = config, passes, workers
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="video")
        self._stopping = threading.Event()
        self._lock, self._busy = threading.Lock(), 0  # threads with a video in work
        self.running = 0  # in a thread or waiting for one

    @property
    def waiting(self) -> int:
        return max(self.running - self.workers, 0)

    def check(self) -> None:
        """Raises ProblemError (503) if there is no place for a video now."""
        if self._stopping.is_set():
            raise problems.stopping()
        if self.running >= self.workers + self._config.queue:
            raise problems.busy("videos", 5)

    async def score(self, work: Work) -> Prediction:
        """The prediction for a file. Raises ProblemError if it cannot be scored, or if there is no place (503)."""
        if work.at_once:
            self.check()
        self.running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._score, work)
        finally:
            self.running -= 1

    def warm(self, work: Work) -> None:
        """Start all children and let each see a picture, so that the first request does not wait for them."""
        for future in [self._threads.submit(self._score, work) for _ in range(self.workers)]:
            try:
                future.result()
            except ProblemError as problem:
                if problem.reason != "no_face":
                    raise SemblanceError(f"The service cannot score its own picture: {problem.sentence}") from problem

    def refuse(self) -> None:
        """From now on, no video is begun: those that wait are answered with 503, those in work are finished."""
        self._stopping.set()

    def stop(self) -> None:
        """End what is still in work, by ending the children of this process until its threads are free."""
        self._stopping.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        while self._busy:
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    if _CHILD in child.cmdline():
                        child.kill()
            time.sleep(_TICK)
        self._threads.shutdown()

    def _score(self, work: Work) -> Prediction:
        with self._lock:
            if self._stopping.is_set():
                raise problems.stopping()
            self._busy += 1
        try:
            return self._scored(work)
        finally:
            with self._lock:
                self._busy -= 1

    def _scored(self, work: Work) -> Prediction:
        kind = kinds.kind_of(work.file.suffix)
        try:
            with many.as_video(Input(path=str(work.file), kind=kind)) as place:
                return video.predict(
                    SHOWN if kind == "video" else _PICTURE,
                    work.model.predictor,
                    video.limited(work.model.recipe, self._limits(work.seconds)),
                    passes=self._passes,
                    work=many.faces_by_child,
                    place=place,
                    size=work.file.stat().st_size,
                )
        except NotScoredError as error:
            raise self._problem(error, work) from error
        except StorageError as error:  # of this machine: the file itself is here
            logs.event("no room", reason="a video could not be scored")
            raise problems.no_room() from error
        except SemblanceError as error:
            raise problems.of_file("failed", str(error)) from error

    def _limits(self, seconds: float) -> dict[str, float]:
        """Instead of a build's: a longer video that is allowed gets more time."""
        config = self._config
        times = max(seconds / config.seconds, 1.0)
        return {
            "hours": seconds / 3600,
            "megapixels": config.megapixels,
            "frames": int(max(seconds, 1.0) * _FPS),
            "cpu_seconds": config.cpu_seconds * times,
            "wall_seconds": 4 * config.cpu_seconds * times,
            "memory_mib": config.memory_mib,
        }

    def _problem(self, error: NotScoredError, work: Work) -> ProblemError:
        sentence = str(error)
        if self._stopping.is_set() and error.status == "crashed":
            return problems.stopping()
        if _TOO_LONG in sentence:
            more = self._config.job_seconds if work.at_once else 0.0
            longer = f"; as a job (POST /v1/jobs) it may last {more:g} s" if more > work.seconds else ""
            return ProblemError(
                413, "too_long", f"{SHOWN} is longer than {work.seconds:g} s{longer or ', the most here'}."
            )
        if any(limit in sentence for limit in _TOO_LARGE):
            most = f"{self._config.megapixels:g} million pixels a frame"
            return ProblemError(
                413, "too_large", f"{SHOWN} is larger than {most}, or has too many; send a smaller one."
            )
        return problems.of_file(error.status, sentence)

"""A service that says what a test tells it to, over real HTTP and in the contract's own types."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from semblance.training.serving import page_files
from semblance.training.serving.answers import (
    FaceAnswer,
    Feedback,
    Footage,
    JobAnswer,
    Limits,
    PersonAnswer,
    Problem,
    Served,
    ServiceAnswer,
    Verdict,
    VideoAnswer,
)

LIMITS = Limits(video_mib=64, video_seconds=60.0, job_seconds=3600.0, crop_mib=4, s3=False)
MODEL = Served(name="detector", version="1.2.0", calibrated=True)


def _face(person: int, number: int, tone: int) -> str:
    """A drawn face, no photograph: an oval with eyes and a mouth."""
    picture = np.full((72, 72, 3), (90 + tone, 80, 60), np.uint8)
    skin = (120 + 30 * (person % 3), 160, 205 - 30 * (person % 3))
    cv2.ellipse(picture, (36, 38), (22, 28), 0, 0, 360, skin, -1)
    for x in (28, 44):
        cv2.circle(picture, (x, 32), 3, (30, 30, 30), -1)
    cv2.ellipse(picture, (36, 50), (9, 3 + number % 4), 0, 0, 180, (40, 40, 120), 2)
    return base64.b64encode(cv2.imencode(".jpg", picture)[1].tobytes()).decode()


def verdict(probability: float, uncertainty: float | None) -> Verdict:
    if uncertainty is not None and uncertainty > 0.3:
        return "uncertain"
    return "fake" if probability >= 0.5 else "real"


def answer(
    *scores: float,
    uncertainty: float | None = 0.09,
    frames: int = 24,
    seconds: float | None = 10.0,
    size: tuple[int, int] = (640, 360),
    notes: tuple[str, ...] = (),
    rejected: Mapping[str, int] | None = None,
    faces: bool = True,
) -> VideoAnswer:
    """An answer whose persons have these probabilities; ``seconds`` is None for a picture."""
    width, height = size
    persons, shown = [], []
    for person, score in enumerate(scores):
        left = width * (person + 0.5) / (len(scores) + 0.6)
        for number in range(frames if seconds is not None else 1):
            near = float(np.clip(score + 0.1 * np.sin(number * 1.7 + person), 0.004, 0.996))
            spread = None if uncertainty is None else round(uncertainty * (1 + 0.4 * np.cos(number)), 4)
            shown.append(
                FaceAnswer(
                    verdict=verdict(near, spread),
                    probability=near,
                    uncertainty=spread,
                    person=person,
                    frame=number * 10,
                    time_s=None if seconds is None else number * seconds / frames,
                    box=(left, height * 0.25, left + width * 0.15, height * 0.6),
                    picture=_face(person, number, 4 * number % 60) if faces else None,
                )
            )
        times = [face.time_s for face in shown if face.person == person and face.time_s is not None]
        persons.append(
            PersonAnswer(
                verdict=verdict(score, uncertainty),
                probability=score,
                uncertainty=uncertainty,
                person=person,
                pictures=frames if seconds is not None else 1,
                first_s=min(times, default=None),
                last_s=max(times, default=None),
            )
        )
    return VideoAnswer(
        verdict=verdict(max(scores), uncertainty),
        probability=max(scores),
        uncertainty=uncertainty,
        id="7f3a9c",
        model=MODEL,
        persons=tuple(persons),
        faces=tuple(shown),
        footage=Footage(
            width=width,
            height=height,
            fps=None if seconds is None else 25.0,
            duration_s=seconds,
            frames_sampled=frames if seconds is not None else 1,
            faces_seen=len(shown) + sum((rejected or {}).values()),
        ),
        rejected=dict(rejected or {}),
        notes=notes,
        seconds={"faces": 1.31, "scores": 0.42},
    )


@dataclass
class Script:
    """What the service does next, and what it was asked."""

    token: str | None = None
    limits: Limits = LIMITS
    video: Callable[[], BaseModel | tuple[int, Problem]] = lambda: answer(0.87)
    jobs: list[JobAnswer] = field(default_factory=list)  # what the job is, question by question
    keeps_feedback: bool = True
    feedback: Callable[[], BaseModel | tuple[int, Problem] | None] = lambda: None
    read: threading.Event = field(default_factory=threading.Event)  # the second half of an upload is read
    go: threading.Event = field(default_factory=threading.Event)  # a video is answered
    received: list[tuple[str, str, int]] = field(default_factory=list)  # path and query, type, bytes
    refuse: list[tuple[int, Problem]] = field(default_factory=list)  # the next questions for a job
    removed: list[str] = field(default_factory=list)  # jobs
    said: list[Feedback] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.read.set()
        self.go.set()

    async def body(self, request: Request) -> int:
        size = 0
        async for part in request.stream():
            size += len(part)
            await _wait(self.read)
        kind = request.headers.get("content-type", "")
        self.received.append((f"{request.url.path}?{request.url.query}", kind, size))
        return size


async def _wait(event: threading.Event) -> None:
    while not event.is_set():
        await asyncio.sleep(0.02)


def _sent(value: BaseModel | tuple[int, Problem] | None, status: int = 200) -> Response:
    if isinstance(value, tuple):
        status, value = value
    if value is None:
        return Response(status_code=204)
    headers = {"Retry-After": "7"} if status == 503 else None
    return Response(value.model_dump_json(), status, headers, "application/json")


def app(script: Script) -> FastAPI:
    made = FastAPI()
    page_files.mount(made)

    def stranger(request: Request) -> Response | None:
        if script.token is None or request.headers.get("authorization") == f"Bearer {script.token}":
            return None
        sentence = "The token is missing or not known; send it as Authorization: Bearer TOKEN."
        return _sent((401, Problem(error=sentence, reason="unauthorized", id="none")))

    @made.get("/v1/model")
    async def model(request: Request) -> Response:
        needed = script.token is not None
        known = ServiceAnswer(
            models=(MODEL,), device="cpu", limits=script.limits, token=needed, feedback=script.keeps_feedback
        )
        return stranger(request) or _sent(known)

    @made.post("/v1/videos")
    async def videos(request: Request) -> Response:
        if (refused := stranger(request)) is not None:
            return refused
        await script.body(request)
        await _wait(script.go)
        return _sent(script.video())

    @made.post("/v1/jobs")
    async def jobs(request: Request) -> Response:
        await script.body(request)
        return stranger(request) or _sent(script.jobs.pop(0), 202)

    @made.get("/v1/jobs/{job}")
    async def job(job: str, request: Request) -> Response:
        assert job == "job-1"
        await _wait(script.go)
        if script.refuse:
            return _sent(script.refuse.pop(0))
        return stranger(request) or _sent(script.jobs.pop(0) if len(script.jobs) > 1 else script.jobs[0])

    @made.delete("/v1/jobs/{job}")
    async def remove(job: str) -> Response:
        script.removed.append(job)
        return Response(status_code=204)

    @made.post("/v1/feedback")
    async def feedback(value: Feedback, request: Request) -> Response:
        if (refused := stranger(request)) is not None:
            return refused
        script.said.append(value)
        return _sent(script.feedback())

    return made


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address of an app on a free port of loopback, served by a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(30)

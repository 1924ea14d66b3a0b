"""Jobs: each is answered once, by its owner alone, over restarts, and what was kept long enough is gone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from semblance.training.serving import problems
from semblance.training.serving.answers import Footage, JobAnswer, Served, VideoAnswer
from semblance.training.serving.config import JobsConfig
from semblance.training.serving.jobs import Job, Jobs
from semblance.training.serving.problems import ProblemError

SCORE = VideoAnswer(
    id="x",
    verdict="real",
    probability=0.25,
    uncertainty=None,
    model=Served(name="m", version="1.0.0", calibrated=True),
    persons=(),
    faces=(),
    footage=Footage(width=1, height=1, fps=None, duration_s=None, frames_sampled=1, faces_seen=1),
    rejected={},
    notes=(),
    seconds={},
)


class Desk:
    """Scores jobs when it is let; ``begun`` lists them."""

    def __init__(self, fault: BaseException | None = None) -> None:
        self.begun: list[str] = []
        self.go = asyncio.Event()
        self.fault = fault

    async def __call__(self, job: Job, file: Path) -> VideoAnswer:
        assert file.read_bytes() == job.id.encode()
        self.begun.append(job.id)
        await self.go.wait()
        if self.fault is not None:
            raise self.fault
        return SCORE.model_copy(update={"id": job.id})


def offer(jobs: Jobs, folder: Path, name: str, owner: str = "ann") -> JobAnswer:
    file = folder / "0.mp4"
    file.write_bytes(name.encode())
    return jobs.accept(Job(id=name, owner=owner, subject=name, faces=False, accepted=float(name[1:])), file)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # a file is waited for too
        await asyncio.sleep(0.005)


def run(talk: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(talk(), 600))


def test_jobs_are_done_in_order_and_the_queue_ends(tmp_path: Path) -> None:
    async def talk() -> None:
        desk = Desk()
        jobs = Jobs(tmp_path / "jobs", JobsConfig(queue=2), desk)
        jobs.start()
        offer(jobs, tmp_path, "j0")
        await until(lambda: desk.begun == ["j0"])
        assert [offer(jobs, tmp_path, name).ahead for name in ("j1", "j2")] == [1, 2]
        with pytest.raises(ProblemError) as full:
            offer(jobs, tmp_path, "j3")
        assert (full.value.status, full.value.retry_s) == (503, 60)
        assert jobs.answer("j0", "ann").status == "running"
        for name, owner in (("j0", "bob"), ("j3", "ann"), ("../jobs/j0", "ann"), ("", "ann")):
            with pytest.raises(ProblemError) as none:
                jobs.answer(name, owner)
            assert none.value.status == 404
        jobs.remove("j2", "ann")
        desk.go.set()
        await until(lambda: jobs.answer("j1", "ann").status == "done")
        done = jobs.answer("j0", "ann")
        assert done.answer is not None
        assert done.answer.id == "j0"
        assert desk.begun == ["j0", "j1"]
        assert not list((tmp_path / "jobs").rglob("0.mp4")), "the videos are gone, the answers stay"
        await jobs.stop()

    run(talk)


def test_a_restart_takes_up_more_jobs_than_the_queue_holds(tmp_path: Path) -> None:
    async def talk() -> None:
        first = Jobs(tmp_path / "jobs", JobsConfig(queue=9), Desk())
        first.start()
        for place in range(6):
            offer(first, tmp_path, f"j{place}")
        await asyncio.sleep(0.05)
        await first.stop()
        (tmp_path / "jobs" / "torn").mkdir()
        (tmp_path / "jobs" / "torn" / "job.json").write_text("{")
        desk = Desk()
        second = Jobs(tmp_path / "jobs", JobsConfig(queue=2), desk)
        second.start()
        await until(lambda: desk.begun == ["j0"])
        assert second.waiting == 5
        with pytest.raises(ProblemError):
            offer(second, tmp_path, "j9")
        desk.go.set()
        await until(lambda: second.answer("j5", "ann").status == "done")
        assert desk.begun == [f"j{place}" for place in range(6)]
        assert offer(second, tmp_path, "j9").status == "queued"
        assert not (tmp_path / "jobs" / "torn").exists()
        await second.stop()

    run(talk)


def test_a_job_that_ends_the_service_is_not_begun_for_ever(tmp_path: Path) -> None:
    async def talk(began: int, status: str) -> None:
        own = tmp_path / "jobs" / "j0"
        own.mkdir(parents=True, exist_ok=True)
        (own / "0.mp4").write_bytes(b"j0")
        job = Job(id="j0", owner="ann", subject="j0", faces=False, accepted=0.0, began=began)  # killed as often
        (own / "job.json").write_text(json.dumps(asdict(job)))
        desk = Desk()
        desk.go.set()
        jobs = Jobs(tmp_path / "jobs", JobsConfig(), desk)
        jobs.start()
        await until(lambda: jobs.answer("j0", "ann").status == status)
        found = jobs.answer("j0", "ann").problem
        assert (found is None) == (status == "done")
        assert found is None or found.error.startswith("The service ended 2 times while it scored this video;")
        assert desk.begun == (["j0"] if status == "done" else [])
        jobs.remove("j0", "ann")
        await jobs.stop()

    run(lambda: talk(1, "done"))
    run(lambda: talk(2, "failed"))


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        (ProblemError(422, "no_face", "The video shows no face."), "failed", "no_face"),
        (RuntimeError("a defect"), "failed", "failed"),
        (problems.stopping(), "queued", None),
    ],
)
def test_a_fault_is_the_answer_but_a_stop_is_not(
    tmp_path: Path, fault: Exception, status: str, reason: str | None
) -> None:
    async def talk() -> None:
        desk = Desk(fault)
        desk.go.set()
        jobs = Jobs(tmp_path / "jobs", JobsConfig(), desk)
        jobs.start()
        offer(jobs, tmp_path, "j0")
        await until(lambda: desk.begun == ["j0"] and jobs._running is None)
        found = jobs.answer("j0", "ann")
        assert found.status == status
        assert (found.problem.reason if found.problem else None) == reason
        await jobs.stop()

    run(talk)


def test_an_answer_is_forgotten_when_it_was_kept_long_enough(tmp_path: Path) -> None:
    async def talk() -> None:
        ahead = 0.0
        desk = Desk()
        desk.go.set()
        config = JobsConfig(keep_seconds=0.02)
        jobs = Jobs(tmp_path / "jobs", config, desk, clock=lambda: time.time() + ahead - 500)
        jobs.start()
        offer(jobs, tmp_path, "j0")
        await until(lambda: jobs.answer("j0", "ann").status == "done")
        await asyncio.sleep(0.1)
        assert jobs.answer("j0", "ann").status == "done"
        ahead = 1000.0
        await until(lambda: not any((tmp_path / "jobs").iterdir()))
        await jobs.stop()

    run(talk)


def test_a_job_waits_for_room(tmp_path: Path) -> None:
    """First there is none for its answer, then none while it is scored; the next job is not lost either."""

    async def talk() -> None:
        desk = Desk(problems.no_room())
        jobs = Jobs(tmp_path / "jobs", JobsConfig(), desk, pause=0.01)
        jobs.start()
        for name in ("j0", "j1"):
            offer(jobs, tmp_path, name)
        torn = tmp_path / "jobs" / "j0" / ".answer.json.partial"
        torn.mkdir()
        desk.go.set()
        await until(lambda: len(desk.begun) > 4)
        assert {jobs.answer(name, "ann").status for name in ("j0", "j1")} <= {"queued", "running"}
        desk.fault = None
        await until(lambda: jobs.answer("j1", "ann").status == "done")
        assert jobs.answer("j0", "ann").status != "done"
        torn.rmdir()
        await until(lambda: jobs.answer("j0", "ann").status == "done")
        await jobs.stop()

    run(talk)


def test_what_is_no_job_stays(tmp_path: Path) -> None:
    async def talk() -> None:
        for name in ("holiday", "empty", "j-1"):
            (tmp_path / name).mkdir()
        (tmp_path / "holiday" / "0.mp4").write_bytes(b"x")
        (tmp_path / "holiday" / "notes.txt").write_bytes(b"x")
        (tmp_path / "j-1" / "job.json").write_text("{")
        (tmp_path / "file").write_bytes(b"x")
        jobs = Jobs(tmp_path, JobsConfig(), Desk())
        before = sorted(tmp_path.rglob("*"))
        jobs.start()
        await asyncio.sleep(0)
        await jobs.stop()
        assert sorted(tmp_path.rglob("*")) == before

    run(talk)

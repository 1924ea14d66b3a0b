"""The supervised child: deadline, memory cap, crash, bug; caused by real files and signals."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from semblance.ingest.limits import LimitsConfig
from semblance.ingest.process.video import Job
from semblance.ingest.recipe import parse
from semblance.ingest.run import tasks
from semblance.ingest.run.child_process import Child, Fault
from semblance.ingest.sources import source
from semblance.manifests import storage
from semblance.manifests.errors import ChildError
from semblance.manifests.records import Video


@pytest.fixture(scope="module")
def child() -> Child:
    return Child()


def job(root: Path, **limits: float) -> Job:
    found = source("dfdc").discover(str(root), storage.walk(str(root))).videos
    real = next(video for video in found if video.label == 0)
    recipe = parse({"sampling": {"n": 32}, "limits": limits}, "test")
    return Job(root=str(root), video=real, recipe=recipe, decoder="pyav")


def process_of(child: Child) -> psutil.Process:
    assert child._process is not None
    return psutil.Process(child._process.pid)


def test_a_child_is_reused(child: Child, demo: Path) -> None:
    first = child.run(job(demo), LimitsConfig())
    before = process_of(child).pid
    second = child.run(job(demo), LimitsConfig())
    assert process_of(child).pid == before
    assert [s.row for s in first.outcome.samples] == [s.row for s in second.outcome.samples]
    assert [s.picture for s in first.outcome.samples] == [s.picture for s in second.outcome.samples]


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        (LimitsConfig(cpu_seconds=0.05), "timeout"),
        (LimitsConfig(wall_seconds=0.05), "timeout"),
        (LimitsConfig.model_construct(cpu_seconds=900.0, wall_seconds=900.0, memory_mib=64), "oom"),
    ],
)
def test_an_exceeded_limit_ends_the_work(child: Child, demo: Path, limits: LimitsConfig, status: str) -> None:
    fault = child.run(job(demo), limits)
    assert isinstance(fault, Fault)
    assert fault.status == status
    assert "limit" in fault.sentence
    assert not isinstance(child.run(job(demo), LimitsConfig()), Fault)  # a new child took over


def test_a_child_that_dies_is_a_crash(child: Child, demo: Path) -> None:
    child.run(job(demo), LimitsConfig())
    victim = process_of(child)

    def crash() -> None:
        while victim.cpu_percent(0.02) < 20:  # until it is busy
            pass
        os.kill(victim.pid, signal.SIGSEGV)

    thread = threading.Thread(target=crash)
    thread.start()
    fault = child.run(job(demo), LimitsConfig())
    thread.join()
    assert isinstance(fault, Fault)
    assert fault.status == "crashed"
    assert "SIGSEGV" in fault.sentence


def test_a_bug_is_not_a_fault_of_the_video(child: Child) -> None:
    with pytest.raises(ChildError, match="Traceback"):
        child.run("not a job", LimitsConfig())


def test_a_video_that_ends_its_child_has_a_row(demo: Path) -> None:
    """Both decoders are tried; the status is that of the first, and nothing is kept."""
    outcome = tasks.run_video(job(demo, cpu_seconds=0.01), None).outcome
    assert outcome.video["status"] == "timeout"
    assert (outcome.video["faces_seen"], outcome.samples) == (0, ())
    counts = tasks.tally(outcome) + tasks.tally(outcome)
    assert (counts.videos, counts.failures) == (2, 2)


def test_a_planned_fault_does_not_start_a_child() -> None:
    video = Video(video_id="v", path="v.mp4", dataset="dfdc", family_id="v", fault="missing", fault_note="gone")
    recipe = parse({}, "test")
    outcome = tasks.run_video(Job(root="/nowhere", video=video, recipe=recipe, decoder="pyav"), None).outcome
    assert (outcome.video["status"], outcome.video["error"]) == ("missing", "gone")


def test_a_stopped_child_ends(child: Child, demo: Path) -> None:
    child.run(job(demo), LimitsConfig())
    process = process_of(child)
    child.stop()
    for _ in range(100):
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.05)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE

"""The supervised child: deadline, memory cap, crash, bug; caused by real files and signals."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

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


class Deadly:
    """A job that kills the child which is about to take it: the parent pickles it after it has found the child alive.

    ``times``: how many children; the last one that is left gets the job itself.
    """

    def __init__(self, child: Child, job: object, times: int, by: signal.Signals) -> None:
        self.child, self.job, self.times, self.by = child, job, times, by

    def __reduce__(self) -> tuple[Any, ...]:
        if self.times:
            self.times -= 1
            assert self.child._process is not None
            os.kill(self.child._process.pid, self.by)
            self.child._process.wait()
        return _itself, (self.job,)


def _itself(job: object) -> object:
    return job


def test_a_child_that_dies_while_it_is_idle_is_replaced(child: Child) -> None:
    """An answer, if only the traceback of an invalid job, shows that a living child has the job."""
    with pytest.raises(ChildError, match="Traceback"):
        child.run("no job", LimitsConfig())
    victim = process_of(child)
    victim.kill()
    victim.wait()
    with pytest.raises(ChildError, match="Traceback"):
        child.run("no job", LimitsConfig())
    assert process_of(child).pid != victim.pid


def test_a_child_that_dies_before_it_has_the_job_is_replaced(child: Child) -> None:
    deadly = Deadly(child, "no job", 2, signal.SIGKILL)
    with pytest.raises(ChildError, match="Traceback"):
        child.run(deadly, LimitsConfig())
    assert not deadly.times


@pytest.mark.parametrize(("by", "killed"), [(signal.SIGKILL, True), (signal.SIGSEGV, False)])
def test_children_that_die_again_and_again_are_a_crash(child: Child, by: signal.Signals, killed: bool) -> None:
    fault = child.run(Deadly(child, "no job", 99, by), LimitsConfig())
    assert isinstance(fault, Fault)
    assert (fault.status, fault.killed) == ("crashed", killed)
    assert by.name in fault.sentence


@pytest.mark.parametrize("times", [2, 3])
def test_a_child_that_dies_while_it_starts_is_replaced(
    times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the first starts takes one of the files and dies of it."""
    for number in range(times):
        (tmp_path / f"{number}.death").touch()
    (tmp_path / "sitecustomize.py").write_text(
        "import os, pathlib, sys\n"
        "deaths = list(pathlib.Path(__file__).parent.glob('*.death'))\n"
        "if 'semblance.ingest.run.child_main' in sys.orig_argv and deaths:\n"
        "    deaths[0].unlink()\n"
        "    os._exit(3)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    child, message = Child(), "Traceback" if times < 3 else "ended while it started"
    with contextlib.closing(child), pytest.raises(ChildError, match=message):
        child.run("no job", LimitsConfig())
    assert not list(tmp_path.glob("*.death"))


def child_without_parent(leave: Callable[[Connection[Any, Any]], None]) -> tuple[int, bytes]:
    """Exit code and complaints of a child whose parent does ``leave`` with its connection and then is gone."""
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least that Linux gives: a few answers fill it
    command = [sys.executable, "-m", "semblance.ingest.run.child_main", str(theirs.fileno())]
    with theirs:
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)
    with contextlib.closing(Connection(ours.detach())) as connection:
        leave(connection)
    _, complaints = process.communicate()
    return process.returncode, complaints


def test_a_child_whose_parent_went_while_it_started_ends_in_silence() -> None:
    assert child_without_parent(lambda _: None) == (0, b"")


def test_a_child_whose_parent_goes_while_it_answers_ends_in_silence() -> None:
    """Answers that nobody read make the next one "reset by peer" instead of "broken pipe"."""

    def ask(connection: Connection[Any, Any]) -> None:
        for _ in range(100):
            connection.send("no job")
        connection.poll(None)

    assert child_without_parent(ask) == (0, b"")


@pytest.mark.parametrize("ending", ["sys.exit()", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)"])
def test_a_parent_that_ends_while_a_child_starts_leaves_no_child_and_no_word(ending: str) -> None:
    """As a worker ends when a build is given up: its thread may be anywhere in ``run``."""
    script = f"""if True:
        import contextlib, os, signal, sys, threading, time
        from semblance.ingest.limits import LimitsConfig
        from semblance.ingest.run import child_process
        from semblance.manifests.errors import ChildError
        def work():
            with contextlib.suppress(ChildError), child_process.borrowed() as child:
                children.append(child)
                child.run("no job", LimitsConfig())
        children = []
        threading.Thread(target=work, daemon=True).start()
        while not (children and children[0]._connection):
            time.sleep(0.01)
        {ending}
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.stderr == b""  # its end is only reached when the last child has closed it


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

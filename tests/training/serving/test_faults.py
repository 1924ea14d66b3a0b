"""Faults of the real service: killed children, a killed service, signals, full queues and disks, clients that leave."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from semblance.training.serving.answers import JobAnswer
from tests.faults import rig, videos
from tests.training import untrained
from tests.training.serving import harness, hostile_requests
from tests.training.serving.harness import Reply, Server

MEMORY = "videos.memory_mib=1500"


@pytest.fixture(scope="module")
def run(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained.make(tmp_path_factory.mktemp("runs") / "run", [ffpp], gain=9)


@pytest.fixture(scope="module")
def clip(demo: Path) -> bytes:
    return rig.sound_clip(demo).read_bytes()


@pytest.fixture(scope="module")
def long(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A clip whose faces take some seconds to find."""
    file = tmp_path_factory.mktemp("long") / "long.mp4"
    videos.ffmpeg("-stream_loop", 15, "-i", rig.sound_clip(demo), "-c", "copy", "-an", file)
    return file.read_bytes()


@pytest.fixture(scope="module")
def server(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One service for all faults that it must outlive."""
    folder = tmp_path_factory.mktemp("service")
    settings = ("videos.workers=1", "videos.queue=1", "crops.queue=4", "crops.batch=2", MEMORY)
    with harness.serving(run, folder, *settings) as one:
        yield one
        assert one.stop() == 0
        assert one.left() == set()


def test_a_child_that_is_killed_costs_at_most_its_own_request(server: Server, clip: bytes) -> None:
    """Its video is tried again in a new child; crops and health do not notice."""
    crop = harness.crop()
    for _ in range(2):
        with ThreadPoolExecutor(4) as clients:
            video = clients.submit(server.send, "/v1/videos", clip, "video/mp4")
            harness.until(lambda: server.metric("semblance_videos_running") > 0)
            (child,) = server.children
            child.send_signal(signal.SIGKILL)
            others = [clients.submit(server.send, "/v1/crops", crop) for _ in range(3)]
            assert {one.result().status for one in others} == {200}
        assert video.result().status in (200, 422), video.result()
        if video.result().status == 422:
            assert video.result().problem.reason == "crashed"
    assert server.send("/v1/videos", clip, "video/mp4").status == 200


def test_a_full_queue_answers_200_or_503(server: Server) -> None:
    """Every one of 200 crops from 40 clients is answered, at once or with the time after which to come again."""
    crop = harness.crop()
    with ThreadPoolExecutor(40) as clients:
        replies = list(clients.map(lambda _: server.send("/v1/crops", crop), range(200)))
    counted = Counter(one.status for one in replies)
    assert set(counted) == {200, 503}, counted
    refused = [one for one in replies if one.status == 503]
    assert all(int(one.headers["retry-after"]) >= 1 and one.problem.reason == "busy" for one in refused)
    assert server.metric("semblance_requests_total", route="/v1/crops", status="503") == counted[503]
    assert server.send("/v1/crops", crop).status == 200


def test_clients_that_leave_cost_nothing_afterwards(server: Server, clip: bytes) -> None:
    before, held = server.left(), server.descriptors
    whole = hostile_requests.request("/v1/videos", clip, "video/mp4")
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            connection = stack.enter_context(server.connect())
            connection.sendall(whole)
        harness.until(lambda: server.metric("semblance_videos_waiting") == 1)
        assert server.send("/v1/videos", clip, "video/mp4").problem.reason == "busy"
        assert len(server.left() - before) == 2
    harness.until(lambda: server.idle and not server.connections)
    assert server.left() == before
    assert server.descriptors <= held
    assert server.send("/v1/videos", clip, "video/mp4").status == 200


def test_a_disk_that_is_full_is_told_and_passes(server: Server, clip: bytes) -> None:
    """No file of the process may grow beyond 16 KiB: what a full disk looks like where none can be mounted."""
    before = server.left()
    _allow(server, 16 << 10)
    try:
        form = hostile_requests.form([('form-data; name="file"; filename="a"', clip)])
        for path in ("/v1/videos", "/v1/jobs"):
            for body, kind in ((clip, "video/mp4"), (form, "multipart/form-data; boundary=bound")):
                refused = server.send(path, body, kind)
                assert (refused.status, refused.problem.reason) == (503, "busy"), refused
                assert "no room" in refused.problem.error
                assert int(refused.headers["retry-after"]) >= 1
        assert server.send("/v1/crops", harness.crop()).status == 200  # they need no disk
        assert server.left() == before
    finally:
        _allow(server, resource.RLIM_INFINITY)
    assert server.send("/v1/videos", clip, "video/mp4").status == 200


def _allow(server: Server, size: int) -> None:
    psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_killed_with_jobs_queued_and_ended_under_load(run: Path, clip: bytes, long: bytes, tmp_path: Path) -> None:
    """Jobs outlive SIGKILL, more of them than the queue holds; SIGTERM answers what is in work and loses no job."""
    kept = ("--jobs", str(tmp_path / "jobs"))
    with harness.serving(run, tmp_path / "first", "videos.workers=1", MEMORY, words=kept) as first:
        accepted = [first.send("/v1/jobs", clip, "video/mp4") for _ in range(5)]
        assert {one.status for one in accepted} == {202}
        left = first.processes
        first.kill()
    addresses = [one.json["address"] for one in accepted]
    psutil.wait_procs(left, timeout=60)
    assert not any(one.is_running() for one in left)
    limited = ("videos.workers=1", "jobs.queue=2", MEMORY)
    with harness.serving(run, tmp_path / "first", *limited, words=kept) as second:
        if second.metric("semblance_jobs_waiting") >= 2:
            refused = second.send("/v1/jobs", clip, "video/mp4")
            assert (refused.status, refused.problem.reason) in ((503, "busy"), (202, None))
        ended = [_ended(second, address) for address in addresses]
        assert [one.status for one in ended] == ["done"] * 5, ended
        assert len({json.dumps(_score(one)) for one in ended}) == 1
        assert len(list((second.temporary / f"semblance-serve-{os.getuid()}").iterdir())) == 2  # its own, and the lock
        job = _ended_under_load(second, clip, long)
    assert harness.left(second.temporary) == set()
    (own,) = (one for one in (tmp_path / "jobs").iterdir() if not (one / "answer.json").exists())
    assert own.name == job
    assert json.loads((own / "job.json").read_text())["began"] == 0  # for the next service, as if it were new
    assert (own / "0.mp4").read_bytes() == long


def _ended_under_load(server: Server, clip: bytes, long: bytes) -> str:
    """SIGTERM while crops, videos and a long job are in work; the job's id."""
    crop, over = harness.crop(), threading.Event()
    job = server.send("/v1/jobs", long, "video/mp4")
    harness.until(lambda: server.send(job.json["address"]).json["status"] == "running")
    replies: list[Reply] = []

    def keep_asking() -> None:
        while not over.is_set():
            replies.append(server.send("/v1/crops", crop))

    with ThreadPoolExecutor(8) as clients:
        asking = [clients.submit(keep_asking) for _ in range(4)]
        sent = [clients.submit(server.send, "/v1/videos", clip, "video/mp4") for _ in range(2)]
        harness.until(lambda: server.metric("semblance_videos_waiting") == 1)
        family = server.processes
        code = server.stop()
        over.set()
        for one in asking:
            one.result()
    assert code == 0
    assert sorted(one.result().status for one in sent) == [200, 503], [one.result() for one in sent]
    counted = Counter(one.status for one in replies)
    assert counted[200]
    assert set(counted) <= {200, 503, 0}, counted  # 0: it did not listen any more
    assert len(replies) - counted[0] == sum(one.get("url", {}).get("path") == "/v1/crops" for one in server.said())
    assert not any(one.is_running() for one in family)
    return str(job.json["id"])


def _ended(server: Server, address: str) -> JobAnswer:
    found: list[JobAnswer] = []

    def ended() -> bool:
        found[:] = [JobAnswer.model_validate_json(server.send(address).body)]
        return found[0].status in ("done", "failed")

    harness.until(ended)
    return found[0]


def _score(job: JobAnswer) -> dict[str, Any]:
    assert job.answer is not None
    return job.answer.model_dump(exclude={"id", "seconds"})

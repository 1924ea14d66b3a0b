"""The service under Ray Serve: the same application, one service a replica."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from semblance.manifests.errors import UsageError
from semblance.training.serving.answers import CropAnswer, VideoAnswer
from tests.conftest import REPOSITORY
from tests.training.serving import services

with warnings.catch_warnings():  # of Ray 2.60 for pydantic 2.14, while it is imported
    warnings.filterwarnings("ignore", "Using extra keyword arguments on `Field`", module="ray.serve")
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as from_command_line

    from semblance.training.serving import ray_app
    from semblance.training.serving.ray_app import RayOptions

_START_S = 120.0  # Ray's agents may take most of a minute where processors are busy; a first try may end in a time-out


BUILD: Any = ray_app.application  # typed more narrowly by Ray than it calls it


def test_an_application_is_described_without_ray(trained: Path) -> None:
    found = ray_app.application(RayOptions(run=str(trained), cpus=3, settings=("crops.queue=100", "stop_seconds=7")))
    ingress = found._bound_deployment
    assert ingress.num_replicas == 1
    assert ingress.ray_actor_options == {"num_cpus": 3, "num_gpus": 0}
    assert ingress.max_ongoing_requests > 100 + 16 + 32 + 2, "more than all queues hold, so that the service refuses"
    assert ingress.init_args[0].loaded().videos.workers == 2


def test_options_come_from_a_command_line(trained: Path) -> None:
    given = {"run": str(trained), "replicas": "2", "cpus": "0.5"}
    ingress = from_command_line(BUILD, given)._bound_deployment
    assert ingress.num_replicas == 2
    settings = ingress.init_args[0].loaded()
    assert (settings.videos.workers, settings.jobs.queue) == (1, 0)
    for wrong in ({"replicas": "2"}, {"run": "x", "replicas": "2", "jobs": "kept"}):
        with pytest.raises(UsageError):
            from_command_line(BUILD, wrong)


def test_without_places_there_are_no_jobs(tmp_path: Path, trained: Path, clip: Path) -> None:
    service = services.make(tmp_path, trained, "jobs.queue=0", "videos.seconds=0.5", "videos.job_seconds=0.5")

    async def talk() -> None:
        async with services.asked(service) as client:
            refused = await client.post("/v1/jobs", content=clip.read_bytes())
            assert (refused.status_code, refused.json()["reason"]) == (404, "not_found")
            long = await client.post("/v1/videos", content=clip.read_bytes())
            assert (long.status_code, long.json()["error"]) == (413, "The video is longer than 0.5 s, the most here.")

    asyncio.run(talk())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_replica_answers_as_the_service_does(tmp_path: Path, trained: Path, clip: Path, crops: list[bytes]) -> None:
    plain = asyncio.run(_plain(tmp_path, trained, clip, crops))
    options: dict[str, object] = {"run": str(trained), "settings": ["videos.workers=1"]}
    with _cluster(options) as address, httpx2.Client(base_url=address, timeout=60) as client:
        assert client.get("/health/ready").json()["status"] == "ready"
        replies = [client.post("/v1/crops", content=one) for one in crops]
        video = client.post("/v1/videos", content=clip.read_bytes())
        refused = client.post("/v1/crops", content=b"no picture")
    found = [CropAnswer.model_validate_json(one.content) for one in replies]
    assert [one.probability for one in found] == pytest.approx([one.probability for one in plain[0]], abs=1e-4)
    assert [one.uncertainty for one in found] == pytest.approx([one.uncertainty for one in plain[0]], abs=1e-4)
    answer = VideoAnswer.model_validate_json(video.content)
    assert answer.probability == pytest.approx(plain[1].probability, abs=1e-4)
    assert [(one.frame, one.box) for one in answer.faces] == [(one.frame, one.box) for one in plain[1].faces]
    assert (refused.status_code, refused.json()["reason"]) == (415, "wrong_type")


async def _plain(folder: Path, run: Path, clip: Path, crops: list[bytes]) -> tuple[list[CropAnswer], VideoAnswer]:
    async with services.asked(services.make(folder, run)) as client:
        replies = [await client.post("/v1/crops", content=one) for one in crops]
        video = await client.post("/v1/videos", content=clip.read_bytes())
    return [CropAnswer.model_validate_json(one.content) for one in replies], VideoAnswer.model_validate_json(
        video.content
    )


@contextlib.contextmanager
def _cluster(options: dict[str, object]) -> Iterator[str]:
    """The address of a local Ray with the service; afterwards, no process of it is left, nor a file of the service."""
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        process, port = _started(options, folder) or _started(options, folder) or pytest.fail("Ray did not start twice")
        family = process.children(recursive=True)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            _end(process, family)
        assert not list(Path(folder).glob("semblance-serve-*/*/*"))


def _started(options: dict[str, object], folder: str) -> tuple[psutil.Popen, int] | None:
    """The process and its port; None if it did not start in time."""
    environment = os.environ | {
        "TMPDIR": folder,
        "PYTHONPATH": str(REPOSITORY),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    command = [sys.executable, "-m", "tests.training.serving.ray_cluster", json.dumps(options)]
    process = psutil.Popen(
        command,
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    timer = threading.Timer(_START_S, process.kill)
    timer.start()
    for line in process.stdout:
        if line.strip().isdigit():
            timer.cancel()
            return process, int(line)
    timer.cancel()
    _end(process, [])
    return None


def _end(process: psutil.Popen, family: list[psutil.Process]) -> None:
    family = [*family, *process.children(recursive=True)] if process.is_running() else family
    process.stdin.close()
    _, alive = psutil.wait_procs([process, *family], timeout=60)
    for one in alive:
        one.kill()
    process.stdout.close()
    assert not alive, f"left after the stop: {[one.pid for one in alive]}"

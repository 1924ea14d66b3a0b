"""The service as a real process: started, watched from outside and ended as its owner or an accident would."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import psutil

from semblance.training.serving import answers
from tests.conftest import BIN, HANG

_SAID: Final = re.compile(r"serving .+: http://127\.0\.0\.1:(\d+)/")
_LOCKS: Final = "lock"
_TORCH: Final = "torchinductor_"  # an empty folder that torch makes when it is imported
_CHILD: Final = "semblance.ingest.run.child_main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the service answered: status, headers by lower-case name, body. Status 0: it closed without an answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> answers.Problem:
        """The body as a Problem; raises ValidationError if it is anything else."""
        return answers.Problem.model_validate_json(self.body)


@dataclass(kw_only=True, eq=False)
class Server:
    """A running service. ``temporary``: its TMPDIR; ``log``: what it writes to standard error."""

    process: subprocess.Popen[str]
    port: int
    temporary: Path
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(
        self,
        path: str,
        body: bytes | None = None,
        kind: str = "application/octet-stream",
        *,
        method: str | None = None,
        seconds: float = HANG,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """A whole request, and its whole answer; POST if it has a body."""
        named = {"Content-Type": kind} if body is not None else {}
        asked = urllib.request.Request(self.url + path, body, {**named, **(headers or {})}, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=seconds) as got:
                return Reply(status=got.status, headers=_lower(got.headers), body=got.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(status=error.code, headers=_lower(error.headers), body=error.read())
        except (urllib.error.URLError, ConnectionError):
            return Reply(status=0)

    def connect(self, seconds: float = HANG) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def metric(self, name: str, **labels: str) -> float:
        """A figure of /metrics; 0 for a series that is not there yet."""
        for line in self.send("/metrics").body.decode().splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(f'{key}="{one}"' in series for key, one in labels.items()):
                return float(value)
        return 0.0

    @property
    def processes(self) -> list[psutil.Process]:
        """The process and all below it."""
        try:
            own = psutil.Process(self.process.pid)
            return [own, *own.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    @property
    def children(self) -> list[psutil.Process]:
        """The supervised children that look for faces."""
        found = []
        for one in self.processes[1:]:
            with contextlib.suppress(psutil.Error):
                if _CHILD in one.cmdline():
                    found.append(one)
        return found

    @property
    def resident(self) -> tuple[int, int]:
        """Resident bytes: of the process itself, and of those below it."""
        sizes = []
        for one in self.processes:
            with contextlib.suppress(psutil.Error):
                sizes.append(one.memory_info().rss)
        return (sizes[0], sum(sizes[1:])) if sizes else (0, 0)

    @property
    def descriptors(self) -> int:
        """Open file descriptors of the process itself."""
        return psutil.Process(self.process.pid).num_fds()

    @property
    def connections(self) -> int:
        """Connections to clients that are open."""
        found = psutil.Process(self.process.pid).net_connections("inet")
        return sum(one.laddr.port == self.port and bool(one.raddr) for one in found)

    @property
    def idle(self) -> bool:
        """Whether nothing waits or is being scored."""
        names = ("crops_waiting", "videos_waiting", "jobs_waiting", "videos_running")
        return not any(self.metric(f"semblance_{name}") for name in names)

    @property
    def cpu_seconds(self) -> float:
        """Processor seconds of the process itself, without its children."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def foreign_connections(self) -> list[str]:
        """Where the processes are connected to, other than to a client of the service's own port."""
        found = []
        for one in self.processes:
            with contextlib.suppress(psutil.Error):
                for connection in one.net_connections("inet"):
                    if connection.raddr and connection.laddr.port != self.port:
                        found.append(f"{connection.raddr.ip}:{connection.raddr.port}")
        return found

    def left(self) -> set[str]:
        """Files below TMPDIR, apart from locks, by path."""
        return left(self.temporary)

    @property
    def jobs(self) -> set[str]:
        """Files of jobs that are kept in TMPDIR."""
        return {name for name in self.left() if "/jobs/" in name}

    def said(self) -> list[dict[str, Any]]:
        """The lines of the log; raises ValueError for one that is no JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self, seconds: float = HANG) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL: what an accident does."""
        self.process.kill()
        self.process.wait()


def left(folder: Path) -> set[str]:
    """Files below a folder, apart from locks and what torch makes there, by path relative to it."""
    files = (one for one in folder.rglob("*") if one.is_file() or one.is_symlink())
    return {str(one.relative_to(folder)) for one in files if one.name != _LOCKS and not _torch(one, folder)}


def _torch(file: Path, folder: Path) -> bool:
    return file.relative_to(folder).parts[0].startswith(_TORCH)


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@contextlib.contextmanager
def serving(
    run: Path, folder: Path, *settings: str, words: tuple[str, ...] = (), env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A service of a run that is ready; killed with all its children at the end if it still runs.

    ``folder`` gets its TMPDIR, ``tmp``, and its log; ``settings`` are ``key=value``, ``words`` further options.
    """
    temporary, log, out = folder / "tmp", folder / "log", folder / "out"
    temporary.mkdir(parents=True, exist_ok=True)
    command = [str(BIN / "training"), "serve", "--run", str(run), "--port", "0", *words]
    for one in settings:
        command += ["--set", one]
    with out.open("w") as said, log.open("w") as complaints:
        process = subprocess.Popen(
            command,
            stdout=said,
            stderr=complaints,
            text=True,
            env=os.environ | {"TMPDIR": str(temporary)} | dict(env or {}),
            start_new_session=True,
        )
    below: list[psutil.Process] = []
    try:
        server = Server(process=process, port=_port(process, out, log), temporary=temporary, log=log)
        until(lambda: process.poll() is not None or server.send("/health/ready").status == 200)
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            below = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        for child in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def _port(process: subprocess.Popen[str], out: Path, log: Path) -> int:
    until(lambda: process.poll() is not None or _SAID.search(out.read_text()) is not None)
    found = _SAID.search(out.read_text())
    assert found is not None, f"{out.read_text()}{log.read_text()}"
    return int(found[1])


def until(condition: Any, seconds: float = HANG) -> None:
    """Wait for a condition; fails if it never comes."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def crop(side: int = 64, seed: int = 0) -> bytes:
    """A JPEG of a square picture of soft noise, as a face crop."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    done, data = cv2.imencode(".jpg", cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC))
    assert done
    return data.tobytes()

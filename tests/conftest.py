"""What all tests share: the sample collections, a small demo collection and its build, the commands."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import hypothesis
import pytest
from typer.testing import CliRunner

from semblance.ingest.demo import dataset as demo_maker
from semblance.ingest.detector.door import DetectConfig, Detector

# No test depends on the machine's speed.
hypothesis.settings.register_profile("semblance", deadline=None)
hypothesis.settings.load_profile("semblance")

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("ingest", "manifests", "quality", "shards", "training")  # folders of the repository
BIN = Path(sys.executable).parent
HANG = 1500.0  # seconds after which a command counts as hanging, on any machine; under pytest's own limit
Run = Callable[..., subprocess.CompletedProcess[str]]
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1"}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    cv2.setNumThreads(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of sample collections; skips where it is absent."""
    folder = Path(os.environ.get("SEMBLANCE_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"the sample collections are not at {folder.name}/ beside the checkout (set SEMBLANCE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def run() -> Run:
    """Run one of the five commands as a user would: ``run("ingest", "plan", ...)``.

    A build that is not to be refused is a process, with workers of its own. All else runs in this one, which has
    the libraries already.
    """

    def call(command: str, *arguments: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
        words = [command, *map(str, arguments)]
        builds = words[:2] == ["ingest", "build"] and expect not in (1, 2)
        done = _started(words) if builds else _called(words)
        assert done.returncode == expect, f"{command} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return call


def _started(words: list[str]) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / words[0]), *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG, check=False)


def _called(words: list[str]) -> subprocess.CompletedProcess[str]:
    app = importlib.import_module(f"semblance.{words[0]}.cli").app
    done = CliRunner().invoke(app, words[1:], prog_name=words[0], catch_exceptions=False)
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A copy of a folder that ``make`` writes once in a run, by whichever of xdist's workers needs it first.

    Each worker has a copy of its own, with the same times of change: what a test does to its copy, no other sees.
    """
    base = factory.getbasetemp()
    store = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    store.mkdir(exist_ok=True)
    with (store / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (store / f"{name}.made").exists():
            make(store / name)
            (store / f"{name}.made").touch()
    return Path(shutil.copytree(store / name, factory.mktemp(name) / name))


_MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[2:], stdout=open(sys.argv[1], "ab"), stderr=subprocess.STDOUT).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
"""


def measured(command: Sequence[object], said: Path) -> tuple[int, float, int]:
    """Exit code, processor seconds and peak resident bytes of a command; what it says is added to the file ``said``.

    A small process starts it: Linux counts the starter's own memory to what it starts.
    """
    words = [sys.executable, "-c", _MEASURE, str(said), *map(str, command)]
    code, seconds, memory = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return int(code), float(seconds), int(memory)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first four families of the demo: one face, two faces, no face."""
    return once(tmp_path_factory, "dfdc", lambda folder: demo_maker.write(str(folder), families=4))


@pytest.fixture(scope="session")
def recipe() -> tuple[str, ...]:
    """Few frames and a shard a family: everything happens, and soon."""
    return ("--set", "sampling.n=6", "--set", "shards.target_bytes=1", "--set", "split.fractions=[0.5,0.25,0.25]")


@pytest.fixture(scope="session")
def built(demo: Path, recipe: tuple[str, ...], run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small demo, built by two workers. Tests only read it."""
    words = ("ingest", "build", "--dataset", "dfdc", "--root", demo, "--workers", 2, *recipe)
    return once(tmp_path_factory, "built", lambda out: run(*words, "--out", out))


@pytest.fixture(scope="session")
def detector() -> Detector:
    return Detector(DetectConfig())


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a client of an S3 server with one bucket, ``bucket``."""
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as env:
        yield env


@contextlib.contextmanager
def s3_server(said: Path) -> Iterator[dict[str, str]]:
    """A real S3 API on loopback, in a process of its own that writes to the file ``said``; a client's environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = said.open("w")
    server = subprocess.Popen([BIN / "moto_server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                request = urllib.request.Request(f"{address}/bucket", method="PUT")
                urllib.request.urlopen(request, timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield os.environ | AWS | {"AWS_ENDPOINT_URL": address}
    finally:
        server.terminate()
        server.wait(30)
        log.close()
        log.close()


ALLOWED_TO_SKIP = ("the sample collections are not at", "needs a GPU", "SEMBLANCE_DEEPFAKEBENCH names no checkout")
_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In CI only what needs the sample collections, a GPU or another project's checkout may skip: remember the rest."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(allowed in reason for allowed in ALLOWED_TO_SKIP):
            _skipped.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("SEMBLANCE_CI") and _skipped:
        print("\nskipped, but must run in CI:", *_skipped, sep="\n  ", file=sys.stderr)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

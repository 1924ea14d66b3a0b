"""What all tests share: the sample collections, a small demo collection and its build, the commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from ingest import demo as demo_maker
from ingest.faces import DetectConfig, Detector

REPOSITORY = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
Run = Callable[..., subprocess.CompletedProcess[str]]


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
    """Run one of the five commands as a user would: ``run("ingest", "plan", ...)``."""

    def call(command: str, *arguments: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(BIN / command), *map(str, arguments)], capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == expect, f"{command} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return call


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first four families of the demo: one face, two faces, no face."""
    folder = tmp_path_factory.mktemp("demo") / "dfdc"
    demo_maker.write(str(folder), families=4)
    return folder


@pytest.fixture(scope="session")
def recipe() -> tuple[str, ...]:
    """Few frames and a shard a family: everything happens, and soon."""
    return ("--set", "sampling.n=6", "--set", "shards.target_bytes=1", "--set", "split.fractions=[0.5,0.25,0.25]")


@pytest.fixture(scope="session")
def built(demo: Path, recipe: tuple[str, ...], run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small demo, built by two workers. Tests only read it."""
    out = tmp_path_factory.mktemp("built") / "out"
    run("ingest", "build", "--dataset", "dfdc", "--root", demo, "--out", out, "--workers", 2, *recipe)
    return out


@pytest.fixture(scope="session")
def detector() -> Detector:
    return Detector(DetectConfig())


ALLOWED_TO_SKIP = ("the sample collections are not at", "needs a GPU")
_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In CI only what needs the sample collections or a GPU may skip: remember everything else."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(allowed in reason for allowed in ALLOWED_TO_SKIP):
            _skipped.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("SEMBLANCE_CI") and _skipped:
        print("\nskipped, but must run in CI:", *_skipped, sep="\n  ", file=sys.stderr)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

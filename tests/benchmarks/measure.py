"""Seconds and memory of whole commands, as a user runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def build(root: Path, out: Path, workers: int, *more: str) -> float:
    """Wall seconds of ``ingest build`` into an empty folder."""
    start = time.perf_counter()
    code = _building(root, out, workers, *more).wait()
    assert code == 0, f"the build of {root.name} ended with {code}"
    return time.perf_counter() - start


def worker_mib(root: Path, out: Path, workers: int) -> float:
    """The largest PSS seen of one worker with its child in a build, in MiB; looking takes time from the build."""
    process = _building(root, out, workers)
    with _Memory(process.pid) as memory:
        assert process.wait() == 0
    return memory.largest


def _building(root: Path, out: Path, workers: int, *more: str) -> subprocess.Popen[bytes]:
    shutil.rmtree(out, ignore_errors=True)
    command = [str(BIN / "ingest"), "build", "--dataset", "dfdc", "--root", str(root), "--out", str(out)]
    return subprocess.Popen([*command, "--workers", str(workers), *more], stdout=subprocess.DEVNULL)


def other(kind: str, paths: Sequence[Path], processes: int, *more: str) -> float:
    """Seconds of bare decoding (``decode``) or of a user's pipeline (``pipeline``), without their start."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.others", kind, str(processes), *more],
        input="\n".join(map(str, paths)),
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | ONE_THREAD,
    )
    return float(done.stdout)


def seconds(*command: str) -> float:
    """Wall seconds of a command."""
    start = time.perf_counter()
    subprocess.run([str(BIN / command[0]), *command[1:]], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


class _Memory(threading.Thread):
    """Watches the workers of a build: processes below it that have a supervised child."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._over = threading.Event()
        self.largest = 0.0

    def __enter__(self) -> _Memory:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(0.25):
            try:
                children = [
                    one
                    for one in self._root.children(recursive=True)
                    if "semblance.ingest.run.child_main" in one.cmdline()
                ]
                for child in children:
                    parent = child.parent()
                    held = child.memory_full_info().pss + (parent.memory_full_info().pss if parent else 0)
                    self.largest = max(self.largest, held / 2**20)
            except psutil.Error:
                continue

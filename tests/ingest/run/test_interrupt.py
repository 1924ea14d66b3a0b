"""Ctrl-C at a terminal reaches every process of a build at once: one line, exit 130, and nobody is left."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import BIN, HANG

Moment = Callable[[psutil.Process, Path], bool]


def planning(process: psutil.Process, _: Path) -> bool:
    """Since the command has a handler of SIGTERM, which Python by itself has not."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def starting(process: psutil.Process, _: Path) -> bool:
    """Since the first worker is a process, which imports its libraries."""
    return any("spawn_main" in word for child in process.children() for word in child.cmdline())


def running(_: psutil.Process, said: Path) -> bool:
    return "building" in said.read_text()


def working(process: psutil.Process, _: Path) -> bool:
    """Since the first supervised child is a process."""
    return any("semblance.ingest.run.child_main" in child.cmdline() for child in process.children(recursive=True))


def sealing(_: psutil.Process, said: Path) -> bool:
    return "sealed" in said.read_text()


def of_session(number: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def interrupted(
    demo: Path, recipe: tuple[str, ...], folder: Path, moment: Moment, by: signal.Signals, times: int
) -> tuple[int, str, str]:
    """A build in a session of its own whose process group is sent ``by``: its exit code, stdout and stderr."""
    said, complaints, out = folder / "stdout", folder / "stderr", folder / "out"
    options = ["--dataset", "dfdc", "--root", str(demo), "--out", str(out), "--workers", "2", *recipe]
    with said.open("w") as stdout, complaints.open("w") as stderr:
        process = subprocess.Popen(
            [str(BIN / "ingest"), "build", *options], stdout=stdout, stderr=stderr, start_new_session=True
        )
    try:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.Error, OSError):
                if moment(watched, said):
                    break
            time.sleep(0.002)
        for _ in range(times):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, by)
            time.sleep(0.05)
        code = process.wait(HANG)
        until = time.monotonic() + HANG
        while of_session(process.pid) and time.monotonic() < until:  # the kernel ends orphans a moment later
            time.sleep(0.02)
        assert not of_session(process.pid)
    finally:
        for pid in of_session(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
    return code, said.read_text(), complaints.read_text()


@pytest.mark.parametrize(
    ("moment", "by", "times"),
    [
        (planning, signal.SIGINT, 1),
        (starting, signal.SIGINT, 1),
        (running, signal.SIGINT, 1),
        (working, signal.SIGINT, 1),
        (sealing, signal.SIGINT, 1),
        (planning, signal.SIGINT, 4),
        (working, signal.SIGINT, 4),
        (working, signal.SIGTERM, 1),
    ],
)
def test_an_interrupted_build_says_one_line_and_leaves_nobody(
    demo: Path, recipe: tuple[str, ...], tmp_path: Path, moment: Moment, by: signal.Signals, times: int
) -> None:
    code, said, complaints = interrupted(demo, recipe, tmp_path, moment, by, times)
    out = tmp_path / "out"
    before = (
        f"Interrupted before the first video: this run wrote no shard to {re.escape(str(out))}; run it again to begin"
    )
    none = rf"Interrupted before this run sealed a shard of \d+ in {re.escape(str(out))}"
    some = rf"Interrupted after this run sealed [1-9]\d* shards? of \d+ in {re.escape(str(out))}"
    again = "; run the same command again: sealed shards are kept, unfinished videos are processed again"
    expected = {planning: before, starting: before, sealing: some + again}.get(moment, f"(?:{none}|{some}){again}")
    assert re.fullmatch(expected + r"\.\n", complaints), complaints
    assert "Traceback" not in said
    assert code == 128 + by
    assert not (out / "build.lock").exists()
    assert not (out / "dataset.json").exists()


_FINALISER = """
import os, signal, sys, time
from semblance.ingest.run.interrupt import told

class Held:
    def __del__(self):
        os.kill(os.getpid(), signal.Signals[sys.argv[1]])
        sum(range(10))  # the handler runs before this ends

with told(lambda: "Interrupted."):
    Held()
    while True:
        time.sleep(60)
"""


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_meets_a_finaliser_still_interrupts(by: signal.Signals) -> None:
    done = subprocess.run(
        [str(BIN / "python"), "-c", _FINALISER, by.name], capture_output=True, text=True, timeout=HANG, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (128 + by, "", "Interrupted.\n")

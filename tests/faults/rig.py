"""What every injected fault is measured with: a small collection, the real command, an undisturbed build to compare."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from semblance.ingest.demo import dataset
from semblance.ingest.limits import LimitsConfig
from semblance.ingest.run.child_process import Child
from semblance.shards import read, verify
from tests.conftest import BIN, HANG
from tests.ingest.run.test_build import content
from tests.ingest.run.test_child_process import job

RECIPE = (
    *("--set", "sampling.n=2", "--set", "shards.target_bytes=1", "--set", "split.fractions=[0.5,0.25,0.25]"),
    *("--set", "limits.memory_mib=1500"),
)
QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the table: what was injected, how often, what came of it, and the three counts that must be nought."""

    fault: str
    rounds: int
    outcome: str
    lost: int = 0  # samples of the undisturbed build that the disturbed one has not
    wrong: int = 0  # builds that passed for success and were not
    stuck: int = 0  # builds that did not end


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a build ended: ``code`` is None where it had to be killed because it was stuck."""

    code: int | None
    said: str

    @property
    def clear(self) -> bool:
        """Whether a failure was told in a sentence, without a traceback."""
        return "Error: " in self.said and "Traceback" not in self.said


def collection(folder: Path, families: int = 4) -> Path:
    """A small demo; the same bytes every time."""
    dataset.write(str(folder), families=families)
    return folder


def patience(root: Path) -> float:
    """CPU seconds that no sound clip reaches on this machine: twice what a child needs to start, load and do one."""
    child = Child()
    with contextlib.closing(child):
        child.run(job(root), LimitsConfig())
        assert child._process is not None
        times = psutil.Process(child._process.pid).cpu_times()
    return 2 * (times.user + times.system)


def command(root: Path | str, out: Path | str, *more: object) -> list[str]:
    return [str(BIN / "ingest"), "build", "--dataset", "dfdc", "--root", str(root), "--out", str(out), *RECIPE] + [
        str(word) for word in more
    ]


@contextlib.contextmanager
def started(words: list[str], env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A running command in a process group of its own, which is killed at the end whatever happens."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            words,
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | (env or {}),
            start_new_session=True,
        )
        process.said = said  # type: ignore[attr-defined]
        try:
            yield process
        finally:
            family = [process.pid, *(child.pid for child in offspring(process.pid))]
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def finish(process: subprocess.Popen[str], seconds: float = HANG) -> Ended:
    """Wait for a started command."""
    try:
        code: int | None = process.wait(seconds)
    except subprocess.TimeoutExpired:
        code = None
    said = process.said  # type: ignore[attr-defined]
    said.seek(0)
    return Ended(code=code, said=said.read())


def build(
    root: Path | str, out: Path | str, *more: object, env: Mapping[str, str] | None = None, seconds: float = HANG
) -> Ended:
    """Build, and wait for it."""
    with started(command(root, out, *more), env) as process:
        return finish(process, seconds)


def offspring(pid: int) -> list[psutil.Process]:
    """All living processes below one, the nearest first."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def lost_samples(out: Path, undisturbed: Path) -> int:
    """Samples that the undisturbed build has and the other has not, or not with the same bytes."""
    return len(samples(undisturbed).items() - samples(out).items())


def samples(out: Path) -> dict[str, str]:
    """Sample id -> the hash of its picture, from the tars themselves."""
    found: dict[str, str] = {}
    for tar in sorted(out.glob("shards/*/*.tar")):
        for name, parts in read.stream(str(tar)):
            found[name] = json.loads(parts["json"])["sha256"]
    return found


def same(out: Path, undisturbed: Path) -> bool:
    """Whether two builds are equal in every byte but their times, and the one is whole."""
    return content(out) == content(undisturbed) and not verify.verify(str(out), deep=True).problems


def wait_until(condition: Any, seconds: float = HANG) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False


def sound_clip(root: Path) -> Path:
    """A clip of the demo with one face."""
    notes = {name: note for part in root.rglob("metadata.json") for name, note in json.loads(part.read_text()).items()}
    return next(path for path in sorted(root.rglob("*.mp4")) if notes[path.name]["label"] == "FAKE")


def sound(line: Line) -> None:
    """What every line of the table must say."""
    assert (line.lost, line.wrong, line.stuck) == (0, 0, 0), line

"""Work in a child process with a deadline and a memory cap, so that a fault ends only that piece of work.

This is the parent; ``semblance.ingest.run.child_main`` is the child. They exchange pickles over a private socket pair,
so no foreign data is ever unpickled.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

import psutil

from semblance.ingest.limits import LimitsConfig, Work
from semblance.manifests.errors import ChildError, StorageError

_TICK: Final = 0.1  # seconds between two checks of the child
_START: Final = 300.0  # seconds that a child may take to start
_STARTS: Final = 3  # attempts: a machine out of memory may kill a starting child
# glibc returns the pages of a large frame to the kernel and requests zeroed ones for the next frame, which takes a
# seventh of the time of two parallel children. These settings keep up to 128 MiB; other C libraries ignore them.
_KEPT_PAGES: Final = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a child's work on a video ended early: ``timeout``, ``crashed`` or ``oom``, and a sentence.

    ``killed``: by SIGKILL, which comes from the kernel or another process, never from a decoder.
    """

    status: str
    sentence: str
    killed: bool = False


class Child:
    """A long-lived child process that takes one video after another; restarted after a fault."""

    def __init__(self) -> None:
        self._closing = threading.Lock()  # held while a child starts, so that none starts after `close`
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._first: int | None = None  # resident bytes after the first job

    def run(self, job: object, limits: LimitsConfig, work: Work | None = None) -> Any:
        """The child's result for the job, or the Fault that ended it.

        ``work``: what is known of the job's size; the child may correct it when it has opened the file.
        Raises StorageError if the job's files could not be reached, ChildError for a programming error.
        """
        connection = self._given(job)
        if connection is None:
            return self._died()
        kind, value = "work", work or Work()
        try:
            spent = _Spent(self._pid)
            while kind == "work":
                if (fault := self._watch(connection, limits, spent, value)) is not None:
                    self.stop()
                    return fault
                kind, value = connection.recv()
        except (EOFError, OSError, psutil.Error):
            return self._died()
        self._recycle(limits.growth_mib << 20)
        if kind == "storage":
            raise StorageError(value)
        if kind == "error":
            raise ChildError(value)
        return value

    @property
    def _pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _given(self, job: object) -> Connection[Any, Any] | None:
        """The connection to a child that has the job; one that died before it had it is replaced.

        None where the machine kills each of them at once: the last one is still there to say how it died.
        """
        for attempt in range(_STARTS):
            if attempt:
                self.stop()
            connection = self._ready()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.send(job)
                return connection
        return None

    def _recycle(self, growth: int) -> None:
        """Stop a child that uses ``growth`` bytes more than after its first job: its libraries leak memory."""
        assert self._process is not None
        try:
            held = psutil.Process(self._process.pid).memory_info().rss
        except psutil.Error:
            return
        self._first = self._first or held
        if held - self._first > growth:
            self.stop()

    def _ready(self) -> Connection[Any, Any]:
        if self._process is not None and self._process.poll() is None and self._connection is not None:
            return self._connection
        for _ in range(_STARTS - 1):
            with contextlib.suppress(ChildError):
                return self._start()
        return self._start()

    def _start(self) -> Connection[Any, Any]:
        self.stop()
        ours, theirs = socket.socketpair()
        with theirs, self._closing:
            if self._closed:
                ours.close()
                raise ChildError("no child process starts while its parent ends")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "semblance.ingest.run.child_main", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=_KEPT_PAGES | os.environ | _ONE_THREAD,
            )
            self._connection = Connection(ours.detach())
        if not self._connection.poll(_START):
            self.stop()
            raise ChildError("the child process did not start in time")
        try:
            self._connection.recv()
        except (EOFError, OSError) as error:
            self.stop()
            raise ChildError("the child process ended while it started") from error
        return self._connection

    def _watch(self, connection: Connection[Any, Any], limits: LimitsConfig, spent: _Spent, work: Work) -> Fault | None:
        """Wait for a message; returns a Fault if a limit is exceeded first."""
        allowed = limits.allowed(work)
        try:
            while not connection.poll(_TICK):
                for key, what, unit, used in spent.now():
                    if used > (most := getattr(allowed, key)):
                        status = "oom" if key == "memory_mib" else "timeout"
                        return Fault(status=status, sentence=_over(limits, key, f"{used:.4g} {unit} of {what}", most))
        except psutil.Error:
            return None  # the child is gone: reading its answer will fail
        return None

    def _died(self) -> Fault:
        assert self._process is not None
        code = self._process.wait()
        self.stop()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        killed = code == -signal.SIGKILL
        why = "the machine is probably short of memory" if killed else "the file is probably damaged"
        return Fault(status="crashed", sentence=f"the decoding process died ({how}); {why}.", killed=killed)

    def stop(self) -> None:
        """Kill the child, if there is one."""
        self._first = None
        if self._process is not None:
            self._process.kill()  # before its connection is closed: a child that writes to a closed one complains
            self._process.wait()
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Kill the child for good: the parent ends, and a thread that still runs a job must not start another one."""
        with self._closing:
            self._closed = True
            if (process := self._process) is not None:
                process.kill()
                process.wait()


class _Spent:
    """What a child has used since it was given a job."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._cpu, self._started = self._cpu_seconds(), time.monotonic()

    def now(self) -> Iterator[tuple[str, str, str, float]]:
        """Limit, what it limits, unit, amount; raises psutil.Error if the child is gone."""
        yield "cpu_seconds", "CPU time", "s", self._cpu_seconds() - self._cpu
        yield "wall_seconds", "wall time", "s", time.monotonic() - self._started
        yield "memory_mib", "memory", "MiB", self._process.memory_info().rss / 2**20

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def _over(limits: LimitsConfig, key: str, used: str, most: float) -> str:
    base = getattr(limits, key)
    grown = "" if most == base else f" of the {most:.0f} for a video of its size"
    return (
        f"it used {used}, beyond the limit{grown} (limits.{key}={base:g}); "
        f"if the file is intact, run the same command with {limits.remedy(key)}."
    )


_idle: queue.SimpleQueue[Child] = queue.SimpleQueue()


@contextlib.contextmanager
def borrowed() -> Iterator[Child]:
    """Borrow a child of this process for one piece of work: an idle one, or a new one."""
    try:
        child = _idle.get_nowait()
    except queue.Empty:
        child = Child()
        atexit.register(child.close)
    try:
        yield child
    finally:
        _idle.put(child)

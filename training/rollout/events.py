"""What happened, written by the services: requests and feedback as Parquet parts in a folder or S3 prefix."""

from __future__ import annotations

import hashlib
import logging
import threading
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import polars as pl

from semblance.manifests import storage, tables

Table = Literal["requests", "feedback"]
Kind = Literal["video", "crop"]
SCHEMAS: Final[dict[Table, pl.Schema]] = {
    "requests": pl.Schema(
        {
            "id": pl.String(),
            "time": pl.Datetime("us", "UTC"),
            "rollout": pl.String(),
            "share": pl.Float64(),
            "subject_hash": pl.String(),
            "role": pl.String(),
            "model": pl.String(),
            "version": pl.String(),
            "kind": pl.String(),
            "status": pl.Int64(),
            "latency_s": pl.Float64(),
            "probability": pl.Float64(),
            "verdict": pl.String(),
            "uncertainty": pl.Float64(),
            "reason": pl.String(),
            "cpu_s": pl.Float64(),
        }
    ),
    "feedback": pl.Schema(
        {"id": pl.String(), "time": pl.Datetime("us", "UTC"), "label": pl.Int64(), "satisfied": pl.Boolean()}
    ),
}
_HELD: Final = 100  # times ``rows`` that are kept while the store fails
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request that was answered, or failed.

    ``time``: of its arrival, UTC. ``rollout`` and ``share``: those by which ``role`` was drawn; "" and 0 without a
    roll-out. ``role``: as drawn, also where the other model answered in the end. ``status``: of HTTP. Times in s.
    """

    id: str
    time: datetime
    rollout: str
    share: float
    subject_hash: str
    role: Literal["champion", "challenger"]
    model: str
    version: str
    kind: Kind
    status: int
    latency_s: float
    probability: float | None = None
    verdict: Literal["real", "fake", "uncertain"] | None = None
    uncertainty: float | None = None
    reason: str | None = None
    cpu_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What was said of an answer, by its ``id``: the truth (0 real, 1 fake), and whether it served. None: not said."""

    id: str
    time: datetime
    label: Literal[0, 1] | None = None
    satisfied: bool | None = None


def hashed(rollout: str, subject: str) -> str:
    """What stands for a subject in events: one name in a roll-out, another in the next.

    >>> hashed("a", "x") == hashed("a", "x") != hashed("b", "x")
    True
    """
    return hashlib.sha256(f"event:{len(rollout)}:{rollout}{subject}".encode()).hexdigest()[:32]


class Log:
    """Events of one process, written to ``folder`` in the background once ``rows`` wait, or after ``seconds``.

    Its methods never raise, and ``request`` and ``feedback`` never wait for the store. While the store fails, up to
    100 times ``rows`` events wait; of further ones the oldest are dropped and counted in ``dropped``. Safe for threads.
    """

    def __init__(self, folder: str, *, rows: int = 1000, seconds: float = 10.0) -> None:
        self._folder, self._rows, self._seconds = folder, rows, seconds
        self._waiting: dict[Table, deque[Request | Feedback]] = {"requests": deque(), "feedback": deque()}
        self._lock = threading.Lock()  # of the waiting events
        self._writing = threading.Lock()  # of the store: one part at a time
        self._due = threading.Event()
        self._closed = self._given_up = False
        self._name = uuid.uuid4().hex[:12]
        self._parts = 0
        self.dropped = 0  # events that were lost
        self.failures = 0  # attempts to write that failed
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Events that are not written yet."""
        with self._lock:
            return sum(map(len, self._waiting.values()))

    def request(self, request: Request) -> None:
        """Note a request."""
        self._note("requests", request)

    def feedback(self, feedback: Feedback) -> None:
        """Note what was said of an answer."""
        self._note("feedback", feedback)

    def flush(self) -> None:
        """Write what waits now; returns after it is written, or the store failed."""
        with self._writing:
            for table in SCHEMAS:
                self._write(table)

    def close(self, seconds: float = 10.0) -> None:
        """Write what waits, for at most so many seconds; what is not written then is lost, and counted."""
        with self._lock:
            self._closed = True
        self._due.set()
        self._thread.join(seconds)
        with self._lock:
            self._given_up = True
            for waiting in self._waiting.values():
                self.dropped += len(waiting)
                waiting.clear()

    def _note(self, table: Table, event: Request | Feedback) -> None:
        with self._lock:
            if self._closed:
                self.dropped += 1
                return
            self._waiting[table].append(event)
            self._bound(table)
            full = len(self._waiting[table]) >= self._rows
        if full:
            self._due.set()

    def _bound(self, table: Table) -> None:
        while len(self._waiting[table]) > _HELD * self._rows:
            self._waiting[table].popleft()
            self.dropped += 1

    def _run(self) -> None:
        while not self._closed:
            self._due.wait(self._seconds)
            self._due.clear()
            failed = self.failures
            self.flush()
            if self.failures > failed and not self._closed:
                self._due.wait(self._seconds)  # a failing store is not asked at every event
        self.flush()

    def _write(self, table: Table) -> None:
        with self._lock:
            events = list(self._waiting[table])
            self._waiting[table].clear()
        if not events:
            return
        try:
            self._publish(table, events)
        except Exception as error:  # of any store: no request may suffer from it
            self.failures += 1
            _log.warning("Events could not be written (%s); they wait.", error)
            with self._lock:
                if self._given_up:
                    self.dropped += len(events)
                    return
                self._waiting[table].extendleft(reversed(events))
                self._bound(table)

    def _publish(self, table: Table, events: list[Request | Feedback]) -> None:
        try:
            rows = frame(table, events)
        except Exception:  # a value of another type: it must not hold up the others
            sound = [event for event in events if _sound(table, event)]
            self.dropped += len(events) - len(sound)
            events[:] = sound
            rows = frame(table, events)
        self._parts += 1
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        name = f"{moment}-{self._name}-{self._parts:06}.parquet"
        storage.write_bytes(storage.join(self._folder, table, name), tables.parquet(rows))


def frame(table: Table, events: Iterable[Request | Feedback]) -> pl.DataFrame:
    """Events as a table; raises an error of Polars for a value of another type."""
    schema = SCHEMAS[table]
    return pl.DataFrame([tuple(getattr(event, name) for name in schema) for event in events], schema, orient="row")


def _sound(table: Table, event: Request | Feedback) -> bool:
    try:
        frame(table, [event])
    except Exception:
        return False
    return True

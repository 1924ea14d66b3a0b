"""A service under hostile requests: what it answered, and what it holds afterwards."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.training.serving import harness, hostile, hostile_files, law
from tests.training.serving.harness import Reply, Server
from tests.training.serving.hostile_requests import Case

CLIENTS: Final = 6  # at once
GROWTH_MIB: Final = 64  # that the process may have more after the second half than after the first
BODY_SECONDS: Final = 5.0
MEMORY_MIB: Final = 1024  # of a child
SETTINGS: Final = (
    "videos.workers=1",
    "videos.cpu_seconds=20",
    f"videos.memory_mib={MEMORY_MIB}",
    f"body_seconds={BODY_SECONDS}",
    "rate.per_minute=1000000",
    "rate.burst=100000",
    "passes=10",
    "videos.mib=32",
    "jobs.keep_seconds=2",  # those of clients that left are forgotten soon, too
)


@dataclass(kw_only=True, eq=False)
class Outcome:
    """What came of it. ``halves``: resident bytes of the process after each half; ``descriptors``: before and after."""

    replies: Counter[tuple[str, str]] = field(default_factory=Counter)  # kind, what came back
    faults: list[str] = field(default_factory=list)
    halves: tuple[int, int] = (0, 0)
    peak: int = 0
    descriptors: tuple[int, int] = (0, 0)
    lines: int = 0
    code: int | None = None
    seconds: list[tuple[float, str]] = field(default_factory=list)  # of each case, with its name and answer

    @property
    def growth_mib(self) -> float:
        return (self.halves[1] - self.halves[0]) / 2**20

    def check(self) -> None:
        assert not self.faults, "\n".join(self.faults)
        assert self.code == 0
        assert self.growth_mib <= GROWTH_MIB, self.halves
        assert self.descriptors[1] <= self.descriptors[0], self.descriptors


def lay(
    run: Path, clip: Path, folder: Path, *, count: int, seed: int, whole: Sequence[Path] = (), malformed: bool = False
) -> Outcome:
    """Send ``count`` hostile requests to a service of ``run``, end it, and tell what came of it."""
    with canary() as (address, heard), harness.serving(run, folder / "service", *SETTINGS) as server:
        of = hostile_files.corpus(clip, folder / "corpus", address, whole=whole, malformed=malformed)
        outcome = Outcome()
        for warm in (lambda: server.send("/v1/crops", harness.crop()), lambda: server.send("/v1/model")):
            assert warm().status == 200
        harness.until(lambda: not server.connections)
        before, held = server.left(), server.descriptors - len(server.children)  # one of each child
        cases = list(hostile.cases(count, seed, of))
        half = len(cases) // 2
        outcome.halves = (_wave(server, cases[:half], outcome), _wave(server, cases[half:], outcome))
        with contextlib.suppress(AssertionError):  # the last answers may still be on their way
            harness.until(lambda: server.descriptors - len(server.children) <= held, 30)
        outcome.descriptors = (held, server.descriptors - len(server.children))
        foreign = server.foreign_connections()
        after = server.send("/v1/crops", harness.crop())
        if after.status != 200:
            outcome.faults.append(f"afterwards: {after.status} {after.body!r}")
        if server.left() - before:
            outcome.faults.append(f"files left: {sorted(server.left() - before)}")
        outcome.code = server.stop()
        if server.left():
            outcome.faults.append(f"files left after its end: {sorted(server.left())}")
        if foreign or heard:
            outcome.faults.append(f"connections to others: {foreign}, {heard} to the canary")
        outcome.lines = len(server.log.read_text("utf-8", "replace").splitlines())
        outcome.faults += [f"log: {line}" for line in law.bad_lines(server)[:20]]
    return outcome


def _wave(server: Server, cases: Sequence[Case], outcome: Outcome) -> int:
    """Send cases, several at once; resident bytes of the process once all is quiet."""
    jobs = []

    def send(case: Case) -> tuple[Case, Reply]:
        start = time.perf_counter()
        reply = law.exchange(server, case)
        outcome.seconds.append((time.perf_counter() - start, f"{case.kind}, {case.name}: {reply.status}"))
        return case, reply

    with ThreadPoolExecutor(CLIENTS) as clients:
        for case, reply in clients.map(send, cases):
            if (wrong := law.broken_law(case, reply)) is not None:
                outcome.faults.append(f"{case.kind}, {case.name}: {wrong}")
            said = {0: "closed", -1: "left"}.get(reply.status, str(reply.status))
            outcome.replies[case.kind, said] += 1
            if reply.status == 202 and "address" in reply.json:
                jobs.append(reply.json["address"])
            outcome.peak = max(outcome.peak, server.resident[0])
            if server.process.poll() is not None:
                outcome.faults.append(f"the process ended with {server.process.poll()} at {case.kind}, {case.name}")
                return 0
    law.settled(server, jobs)
    harness.until(lambda: not server.connections and server.idle and not server.jobs)
    return server.resident[0]


@contextlib.contextmanager
def canary() -> Iterator[tuple[str, list[str]]]:
    """An address on loopback, and who came to it."""
    heard: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def listen() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, who = listening.accept()
                    heard.append(str(who))
                    connection.close()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", heard
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()

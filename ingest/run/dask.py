"""Dask's one door: a local cluster by default, any running one by its address."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Any, Final

import dask
from distributed import Client, Future, KilledWorker, LocalCluster

from semblance.manifests.errors import SemblanceError
from semblance.manifests.storage import retry

_LOOK: Final = 2.0  # seconds without a result before the cluster is looked at
_ANSWER: Final = 20.0  # seconds for a scheduler to answer
_ATTACH: Final = 15.0  # seconds for a scheduler to answer for the first time

_CONFIG = {
    "distributed.scheduler.allowed-failures": 10,  # a worker that dies blames every task queued on it
    "distributed.comm.timeouts.connect": "30s",
    "distributed.worker.memory.terminate": False,  # children hold the memory, and are capped themselves
    "distributed.worker.memory.monitor-interval": "1s",
    # Workers wait for their children: looking at their stacks and event loops a hundred times a second took 5 % of the
    # cores from these.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}


class Cluster:
    """A Dask client with the few verbs that a build needs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def threads(self) -> int:
        """How many tasks run at once."""
        return int(max(sum(self._client.nthreads().values()), 1))

    def submit(self, function: Callable[..., Any], *args: Any, priority: int = 0) -> Future:
        """Run ``function`` on a worker; futures among ``args``, also inside a list, become their results."""
        return self._client.submit(function, *args, pure=False, priority=priority, retries=0)

    def everywhere(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        """What ``function`` returns on each worker, by the worker's address."""
        found: dict[str, Any] = self._client.run(function, *args)
        return found

    def arrivals(self) -> Arrivals:
        """An open queue of futures, given back as they finish."""
        return Arrivals(self._client)


class Arrivals:
    """Futures on their way; while one waits for them the cluster is watched, so that nobody waits for the dead."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._coming: dict[str, Future] = {}
        self._done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._alone: float | None = None  # since when the cluster has no worker, or no scheduler

    @property
    def open(self) -> int:
        """How many are still to come."""
        return len(self._coming)

    def add(self, futures: Iterable[Future]) -> None:
        for future in futures:
            self._coming[future.key] = future
            future.add_done_callback(self._done.put)

    def next(self) -> Any:
        """The result of the next one; raises what its task raised, or SemblanceError where the cluster is gone."""
        while True:
            try:
                future = self._done.get(timeout=_LOOK)
            except queue.Empty:
                self._look()
                continue
            self._alone = None
            del self._coming[future.key]
            try:
                return future.result()
            except KilledWorker as error:
                raise SemblanceError(
                    f"Workers died again and again ({error}); look whether their machines run out of memory, then run "
                    "the same command again."
                ) from error
            except CancelledError as error:
                raise self._gone("forgot what it was to do") from error

    def _look(self) -> None:
        """Raise SemblanceError where the scheduler or all workers stay away."""
        if self._client.status == "closed":
            raise self._gone("does not answer any more")
        try:
            there = bool(self._client.sync(self._client.scheduler.ncores, callback_timeout=_ANSWER))
        except (OSError, TimeoutError, ValueError, CancelledError):
            there = False
        now = time.monotonic()
        self._alone = None if there else (self._alone or now)
        if self._alone is not None and now - self._alone > retry.limit():
            raise self._gone("does not answer, or has no workers any more,")

    def _gone(self, what: str) -> SemblanceError:
        return SemblanceError(
            "The Dask scheduler " + what + " and the build cannot go on; start the cluster anew, then run the same "
            "command again: what is sealed is kept."
        )


@contextlib.contextmanager
def connect(workers: int | None, scheduler: str | None) -> Iterator[Cluster]:
    """A local cluster of ``workers`` single-threaded processes (default: one a core), or a running one.

    Raises SemblanceError where the scheduler does not answer or has no workers.
    """
    # what matters comes back as an exception; a worker that is closing logs lost heartbeats as errors
    for name in ("distributed", *(name for name in logging.root.manager.loggerDict if name.startswith("distributed."))):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with dask.config.set(_CONFIG), contextlib.ExitStack() as stack:
        if scheduler is None:
            spill = stack.enter_context(tempfile.TemporaryDirectory(prefix="semblance-dask-"))
            local = LocalCluster(
                n_workers=workers or len(os.sched_getaffinity(0)),
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # any free port: two builds may run side by side
                local_directory=spill,
                silence_logs=logging.CRITICAL,
            )
            client = stack.enter_context(Client(stack.enter_context(local)))
        else:
            client = stack.enter_context(_attach(scheduler))
        yield Cluster(client)


def _attach(scheduler: str) -> Client:
    try:
        client = Client(scheduler, timeout=_ATTACH)
    except (OSError, ValueError, TimeoutError) as error:
        raise SemblanceError(
            f"No Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler`, or leave "
            "--scheduler out to run a local cluster."
        ) from error
    if not client.nthreads():
        client.close()
        raise SemblanceError(
            f"The Dask scheduler at {scheduler} has no workers; start some with `dask worker {scheduler}`."
        )
    return client

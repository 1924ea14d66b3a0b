"""Dask clusters, local or running elsewhere: the only module that imports Dask."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from multiprocessing import resource_tracker
from typing import Any, Final

import dask
from distributed import Client, Future, KilledWorker, LocalCluster

from semblance.ingest.run.interrupt import not_inherited
from semblance.manifests.errors import SemblanceError
from semblance.manifests.storage import retry

_CHECK_AFTER: Final = 2.0  # seconds without a result before the cluster is checked
_ANSWER: Final = 20.0  # seconds for a scheduler to answer
_ATTACH: Final = 15.0  # seconds for a scheduler to answer for the first time
_ABANDONED: Final = 0.5  # seconds that a worker has to end where the build failed or was interrupted
_START: Final = 600.0  # seconds for the local workers to start

_CONFIG = {
    "distributed.scheduler.allowed-failures": 10,  # a dying worker counts as a failure of every task queued on it
    "distributed.comm.timeouts.connect": "30s",
    "distributed.worker.memory.terminate": False,  # the children use the memory, and have their own cap
    "distributed.worker.memory.monitor-interval": "1s",
    # Workers only wait for their children. Profiling their stacks and event loops a hundred times per second took 5 %
    # of the cores.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}


class Cluster:
    """A Dask client with the few operations that a build needs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def threads(self) -> int:
        """The number of tasks that run in parallel."""
        return int(max(sum(self._client.nthreads().values()), 1))

    def submit(self, function: Callable[..., Any], *args: Any, priority: int = 0) -> Future:
        """Run ``function`` on a worker; futures in ``args``, also inside a list, are replaced by their results."""
        return self._client.submit(function, *args, pure=False, priority=priority, retries=0)

    def everywhere(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        """The result of ``function`` on each worker, by the worker's address."""
        results: dict[str, Any] = self._client.run(function, *args)
        return results

    def arrivals(self) -> Arrivals:
        """An empty collection of futures that yields results as they arrive."""
        return Arrivals(self._client)


class Arrivals:
    """Pending futures; the cluster is checked while waiting, so that a dead cluster ends the build."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pending: dict[str, Future] = {}
        self._done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._gone_since: float | None = None  # monotonic seconds: no worker, or no scheduler

    @property
    def open(self) -> int:
        """The number of pending futures."""
        return len(self._pending)

    def add(self, futures: Iterable[Future]) -> None:
        """Wait for these futures too."""
        for future in futures:
            self._pending[future.key] = future
            future.add_done_callback(self._done.put)

    def next(self) -> Any:
        """The next result that arrives; raises the error of its task, or SemblanceError if the cluster is gone."""
        while True:
            try:
                future = self._done.get(timeout=_CHECK_AFTER)
            except queue.Empty:
                self._check()
                continue
            self._gone_since = None
            del self._pending[future.key]
            try:
                return future.result()
            except KilledWorker as error:
                raise SemblanceError(
                    f"Workers died repeatedly ({error}); check whether their machines run out of memory, then run the "
                    "same command again."
                ) from error
            except CancelledError as error:
                raise self._gone("has lost its tasks") from error

    def _check(self) -> None:
        """Raise SemblanceError if the scheduler or all workers have been gone for too long."""
        if self._client.status == "closed":
            raise self._gone("no longer answers")
        try:
            alive = bool(self._client.sync(self._client.scheduler.ncores, callback_timeout=_ANSWER))
        except (OSError, TimeoutError, ValueError, CancelledError):
            alive = False
        now = time.monotonic()
        self._gone_since = None if alive else (self._gone_since or now)
        if self._gone_since is not None and now - self._gone_since > retry.limit():
            raise self._gone("does not answer or has no workers")

    def _gone(self, what: str) -> SemblanceError:
        return SemblanceError(
            f"The build cannot continue: the Dask scheduler {what}; restart the cluster, then run the same command "
            "again: sealed shards are kept."
        )


@contextlib.contextmanager
def connect(workers: int | None, scheduler: str | None) -> Iterator[Cluster]:
    """A local cluster of ``workers`` single-threaded processes (default: one per core), or a running one.

    Raises SemblanceError if the scheduler does not answer or has no workers.
    """
    # real faults arrive as exceptions; a closing worker logs lost heartbeats as errors
    for name in ("distributed", *(name for name in logging.root.manager.loggerDict if name.startswith("distributed."))):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with dask.config.set(_CONFIG), contextlib.ExitStack() as stack:
        if scheduler is None:
            count = workers or len(os.sched_getaffinity(0))
            client = stack.enter_context(Client(stack.enter_context(_local(count))))
            _start_workers(client, count)
        else:
            client = stack.enter_context(_attach(scheduler))
        yield Cluster(client)


@contextlib.contextmanager
def _local(count: int) -> Iterator[LocalCluster]:
    """A scheduler in this process, for ``count`` workers that are not started yet; what it starts is spared Ctrl-C."""
    with contextlib.ExitStack() as stack:
        spill = stack.enter_context(tempfile.TemporaryDirectory(prefix="semblance-dask-"))
        resource_tracker.ensure_running()  # its start would unblock the signals in the thread that starts the workers
        with not_inherited():
            local = stack.enter_context(
                LocalCluster(
                    n_workers=0,
                    threads_per_worker=1,
                    memory_limit=1.0 / count,  # of the machine's
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",  # any free port: two builds may run in parallel
                    local_directory=spill,
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            yield local
        except BaseException:
            local.sync(_abandon, local)
            raise


async def _abandon(local: LocalCluster) -> None:
    """End the workers without waiting for what they do: nobody takes its result."""
    nannies = list(local.workers.values())
    await asyncio.gather(*(nanny.close(timeout=_ABANDONED) for nanny in nannies), return_exceptions=True)


def _start_workers(client: Client, count: int) -> None:
    client.cluster.scale(count)
    try:
        client.wait_for_workers(count, timeout=_START)
    except TimeoutError as error:
        raise SemblanceError(
            f"The {count} local workers do not start; check whether the machine runs out of memory, or pass fewer "
            "with --workers."
        ) from error


def _attach(scheduler: str) -> Client:
    try:
        client = Client(scheduler, timeout=_ATTACH)
    except (OSError, ValueError, TimeoutError) as error:
        raise SemblanceError(
            f"No Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler`, or omit "
            "--scheduler to run a local cluster."
        ) from error
    if not client.nthreads():
        client.close()
        raise SemblanceError(
            f"The Dask scheduler at {scheduler} has no workers; start some with `dask worker {scheduler}`."
        )
    return client

"""Dask's one door: a local cluster by default, any running one by its address."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import dask
from distributed import Client, Future, LocalCluster, as_completed

from manifests.records import SemblanceError

_CONFIG = {
    "distributed.scheduler.allowed-failures": 10,  # a worker that dies blames every task queued on it
    "distributed.comm.timeouts.connect": "30s",
    "distributed.worker.memory.terminate": False,  # children hold the memory, and are capped themselves
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

    @staticmethod
    def finished() -> as_completed:
        """An open queue of futures, given back as they finish."""
        return as_completed([])


@contextlib.contextmanager
def connect(workers: int | None, scheduler: str | None) -> Iterator[Cluster]:
    """A local cluster of ``workers`` single-threaded processes (default: one a core), or a running one.

    Raises SemblanceError where the scheduler does not answer or has no workers.
    """
    # what matters comes back as an exception; a worker that is closing logs lost heartbeats as errors
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
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
        client = Client(scheduler, timeout=15)
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

"""Dynamic batching: crops of many requests in one pass of the network, from a queue that has an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from semblance.training.serving.problems import ProblemError, busy, stopping

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Collects items of ``offer`` and works on up to ``batch`` of them at once, in one thread.

    The first item of a batch waits at most ``wait_s`` for others, and only while nothing else is being worked on: under
    load, batches fill while the one before them is computed. ``work`` returns a result or an exception for each item.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        batch: int,
        wait_s: float,
        queue: int,
        done: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._work, self._batch, self._wait_s, self._done = work, batch, wait_s, done
        self._queue: asyncio.Queue[tuple[T, asyncio.Future[R]]] = asyncio.Queue(queue)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; called inside the event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        return self._queue.qsize()

    def check(self, items: int) -> None:
        """Raises ProblemError if there is no room for so many items: now (503), or ever (413)."""
        if items > self._queue.maxsize:
            raise ProblemError(
                413,
                "too_large",
                f"The request holds {items} crops, and {self._queue.maxsize} are taken at most; send them in parts.",
            )
        if self._queue.maxsize - self._queue.qsize() < items:
            raise busy("crops", 1)

    async def offer(self, item: T) -> R:
        """The result for one item. Raises ProblemError (503) if the queue is full, or what ``work`` returned for it."""
        if self._task is None or self._task.done():
            raise stopping()
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((item, future))
        except asyncio.QueueFull:
            raise busy("crops", 1) from None
        return await future

    async def stop(self) -> None:
        """Answer what is queued, then end."""
        if self._task is not None:
            await self._queue.join()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            taken = await self._take()
            live = [(item, future) for item, future in taken if not future.done()]  # a client that left
            try:
                if live:
                    results = await loop.run_in_executor(self._thread, self._results, [item for item, _ in live])
                    for (_, future), result in zip(live, results, strict=True):
                        if not future.done():
                            _settle(future, result)
            finally:
                for _ in taken:
                    self._queue.task_done()
            self._done(len(live))

    def _results(self, items: Sequence[T]) -> Sequence[R | Exception]:
        try:
            return self._work(items)
        except Exception as error:
            return [error] * len(items)

    async def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        taken = [await self._queue.get()]
        self._drain(taken)
        if len(taken) < self._batch and self._wait_s:
            await asyncio.sleep(self._wait_s)
            self._drain(taken)
        return taken

    def _drain(self, taken: list[tuple[T, asyncio.Future[R]]]) -> None:
        while len(taken) < self._batch and not self._queue.empty():
            taken.append(self._queue.get_nowait())


def _settle(future: asyncio.Future[R], result: R | Exception) -> None:
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)

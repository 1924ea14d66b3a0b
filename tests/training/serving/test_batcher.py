"""The micro-batcher: each item gets its own result, batches fill under load, and the queue has an end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.training.serving.batcher import Batcher
from semblance.training.serving.problems import ProblemError


@given(
    items=st.lists(st.integers(), min_size=1, max_size=40),
    batch=st.integers(1, 9),
    wait=st.sampled_from([0.0, 0.001]),
    bad=st.integers(0, 40),
)
def test_each_item_gets_its_own_result(items: list[int], batch: int, wait: float, bad: int) -> None:
    sizes: list[int] = []

    def work(taken: Sequence[int]) -> list[str | Exception]:
        sizes.append(len(taken))
        return [KeyError(one) if one == bad else str(one) for one in taken]

    async def ask() -> list[str | BaseException]:
        batcher: Batcher[int, str] = Batcher(work, batch=batch, wait_s=wait, queue=len(items))
        batcher.start()
        found = await asyncio.gather(*(batcher.offer(one) for one in items), return_exceptions=True)
        await batcher.stop()
        return list(found)

    found = asyncio.run(ask())
    for item, result in zip(items, found, strict=True):
        assert isinstance(result, KeyError) if item == bad else result == str(item)
    assert sum(sizes) == len(items)
    assert max(sizes) <= batch
    assert len(sizes) == -(-len(items) // batch), "all waited, so every batch but the last is full"


def test_a_full_queue_refuses_and_says_when_to_come_again() -> None:
    async def ask() -> None:
        go = threading.Event()

        def work(taken: Sequence[int]) -> list[int | Exception]:
            go.wait(60)
            return list(taken)

        batcher: Batcher[int, int] = Batcher(work, batch=1, wait_s=0, queue=2)
        batcher.start()
        first = asyncio.ensure_future(batcher.offer(0))
        while batcher.waiting or first.done():
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)  # the first is in work
        waiting = [asyncio.ensure_future(batcher.offer(one)) for one in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(ProblemError) as refused:
            await batcher.offer(3)
        with pytest.raises(ProblemError):
            batcher.check(1)
        assert (refused.value.status, refused.value.reason, refused.value.retry_s) == (503, "busy", 1)
        go.set()
        assert await asyncio.gather(first, *waiting) == [0, 1, 2]
        batcher.check(2)
        with pytest.raises(ProblemError, match="2 are taken at most; send them in parts") as never:
            batcher.check(3)
        assert never.value.status == 413
        await batcher.stop()
        with pytest.raises(ProblemError, match="stopping"):
            await batcher.offer(4)

    asyncio.run(ask())


def test_a_failing_batch_and_a_client_that_left_cost_only_their_own() -> None:
    async def ask() -> None:
        def work(taken: Sequence[int]) -> list[int | Exception]:
            if 7 in taken:
                raise RuntimeError("the network")
            return list(taken)

        batcher: Batcher[int, int] = Batcher(work, batch=4, wait_s=0.01, queue=99)
        batcher.start()
        gone = asyncio.ensure_future(batcher.offer(1))
        stays = asyncio.ensure_future(batcher.offer(2))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == 2
        with pytest.raises(RuntimeError, match="the network"):
            await batcher.offer(7)
        assert await batcher.offer(8) == 8
        last = [asyncio.ensure_future(batcher.offer(one)) for one in range(20, 40)]
        await asyncio.sleep(0)
        await batcher.stop()
        assert await asyncio.gather(*last) == list(range(20, 40)), "what was queued is answered before the end"

    asyncio.run(ask())

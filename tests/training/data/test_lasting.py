"""Workers that last: the same processes in every epoch, and the same batches as from new ones."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Image
from semblance.training.data import lasting, query
from semblance.training.data.loader import EpochConfig, Loader, Transfer, World
from semblance.training.data.order import ShuffleConfig
from semblance.training.data.query import Selection
from semblance.training.data.worker import SampleTransform
from semblance.training.records import Batch

# torch 2.15 warns of more workers than cores: here they are two or three on any machine
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning:torch.utils.data.dataloader")

CONFIG = EpochConfig(balanced_per_method=True, draws=41, shuffle=ShuffleConfig(buffer=7, open=2))


def stamp(image: Image, landmarks: object, key: str) -> Image:
    """The process that made the picture, in its first pixels."""
    del landmarks, key
    image = image.copy()
    image[0, :4, 0] = np.frombuffer(np.uint32(os.getpid()).tobytes(), np.uint8)
    return image


def processes(batch: Batch) -> set[int]:
    return {int(np.frombuffer(image[0, 0, :4].numpy().tobytes(), np.uint32)[0]) for image in batch.image_BCHW}


@pytest.fixture(scope="module")
def selection(ffpp: Path) -> Selection:
    return query.select([str(ffpp)], "train")


def loader(selection: Selection, workers: int = 2, stamped: bool = True, prefetch: int = 2) -> Loader:
    return Loader(
        selection,
        batch=4,
        seed=3,
        config=CONFIG,
        world=World(rank=1, ranks=2),
        workers=workers,
        transform=SampleTransform(image=stamp if stamped else None),
        transfer=Transfer(as_bytes=True, prefetch=prefetch),
    )


def same(a: Batch, b: Batch) -> bool:
    return a.sample_ids == b.sample_ids and torch.equal(a.image_BCHW, b.image_BCHW)


def test_processes_outlive_epochs_and_breaks(selection: Selection) -> None:
    one, seen = loader(selection), set()
    for epoch in range(3):
        for place, batch in enumerate(one):
            seen |= processes(batch)
            if epoch == 1 and place == 1:
                break
    assert len(seen) == 2
    assert os.getpid() not in seen
    one.close()
    one.epoch = one.position = 0
    later = set().union(*map(processes, one))
    assert len(later) == 2
    assert not later & seen


@pytest.mark.parametrize("workers", [0, 3])
def test_any_walk_gives_what_new_loaders_give(selection: Selection, workers: int) -> None:
    """Epochs in any order, left at any batch and resumed, on one loader with its workers."""
    one = loader(selection, workers, stamped=False, prefetch=1)
    whole = {epoch: list(_fresh(selection, epoch)) for epoch in range(3)} if not workers else {}
    for epoch in range(3) if workers else ():
        fresh = loader(selection, workers, stamped=False)
        fresh.epoch = epoch
        whole[epoch] = list(fresh)

    @given(walk=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 6)), max_size=4))
    @settings(max_examples=10, deadline=None)
    def law(walk: list[tuple[int, int, int]]) -> None:
        for epoch, start, count in walk:
            one.epoch, one.position = epoch, start
            expected = whole[epoch][start:]
            for place, batch in enumerate(one):
                assert same(batch, expected[place])
                if place == count:
                    break
            else:
                assert (one.epoch, one.position) == (epoch + 1, 0)

    law()


def _fresh(selection: Selection, epoch: int) -> Iterator[Batch]:
    fresh = loader(selection, 0, stamped=False)
    fresh.epoch = epoch
    return iter(fresh)


def test_a_dead_worker_is_reported_and_replaced(selection: Selection) -> None:
    """torch reports it from a signal handler, wherever this process then is."""
    one = loader(selection)
    victim = processes(next(iter(one))).pop()
    error = _kill(victim, one)
    assert lasting.death(error) or "A worker of the loader died" in str(error)
    assert lasting.death(RuntimeError("another")) is None
    assert "died (closed)" in str(lasting.death(ConnectionResetError("closed")))
    one.epoch = one.position = 0
    assert len(list(one)) == one.batches


def _kill(process: int, one: Loader) -> Exception:
    """Kill a worker and go on; returns what is then raised."""
    try:
        os.kill(process, signal.SIGKILL)
        for _ in range(1000):
            one.epoch = one.position = 0
            list(one)
    except (SemblanceError, RuntimeError) as error:
        one.close()
        return error
    pytest.fail("nothing was said")


def test_processes_end_with_their_loader(selection: Selection) -> None:
    one = loader(selection)
    alive = processes(next(iter(one)))
    del one
    for process in alive:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)

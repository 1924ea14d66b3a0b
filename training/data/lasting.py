"""Worker processes that last: one epoch after another is sent to them, in place of new processes for each."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass, replace
from typing import Any

from torch.utils.data import Dataset, Sampler
from torch.utils.data._utils import signal_handling

from semblance.manifests.errors import SemblanceError
from semblance.training.data.worker import Failure, RankEpoch, SampleTable, SampleTransform
from semblance.training.records import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Asks a worker for its next batch. Its first one of an epoch brings the epoch, without what all share.

    ``last``: the worker's last one of this epoch.
    """

    epoch: RankEpoch | None
    last: bool


class Served(Dataset[Batch | Failure]):
    """What workers answer orders from. They hold ``table`` and ``transform`` from their start.

    ``epoch`` is set in the main process, before each iteration. torch gives orders to workers 0, 1, ... in turn, so
    every worker gets those of its own batches, one after the other, and keeps its place in the shards between them.
    """

    def __init__(self, table: SampleTable, transform: SampleTransform) -> None:
        self.table, self.transform = table, transform
        self.epoch: RankEpoch | None = None
        self._batches: Iterator[Batch | Failure] = iter(())

    def __getitem__(self, order: Order) -> Batch | Failure:
        if order.epoch is not None:
            self._batches = iter(replace(order.epoch, table=self.table, transform=self.transform))
        batch = next(self._batches, None)
        if order.last:  # frees the buffers until the next epoch
            self._batches = iter(())
        return batch if batch is not None else Failure(message="A worker has no more batches. This is a bug.")

    def orders(self) -> Sampler[Order]:
        """The orders for the rest of ``epoch``, at each iteration."""
        return _Orders(self)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"epoch": None, "_batches": iter(())}


def death(error: BaseException) -> SemblanceError | None:
    """What to say of an error by which torch reports a dead worker; None for any other error.

    torch raises it from a signal handler, so in whatever the main process is doing, or finds a connection closed when
    it fetches a batch of the dead.
    """
    closed = isinstance(error, ConnectionError | EOFError)
    if not closed and not (isinstance(error, RuntimeError) and "DataLoader worker" in str(error)):
        return None
    reason = str(error).partition("\n")[0]
    return SemblanceError(
        f"A worker of the loader died ({reason}), most often because memory ran out; use fewer workers or a smaller "
        "shuffle.buffer."
    )


def end(iterator: Any) -> None:
    """End the workers of torch's iterator, if it has any.

    torch forgets them first: while it knows one that died, it reports that again at the end of each other.
    """
    if getattr(iterator, "_worker_pids_set", False):
        signal_handling._remove_worker_pids(id(iterator))  # type: ignore[attr-defined]
        iterator._worker_pids_set = False
        iterator._shutdown_workers()


class _Orders(Sampler[Order], Sized):
    def __init__(self, served: Served) -> None:
        self._served = served

    def __len__(self) -> int:
        epoch = self._served.epoch
        return 0 if epoch is None else epoch.cut.batches - epoch.start

    def __iter__(self) -> Iterator[Order]:
        epoch, count = self._served.epoch, len(self)
        if epoch is None:
            return
        sent = replace(epoch, table=None, transform=None)  # type: ignore[arg-type]  # the workers have them
        for place in range(count):
            yield Order(epoch=sent if place < epoch.workers else None, last=place + epoch.workers >= count)

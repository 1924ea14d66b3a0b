"""The loader: pictures and targets of an epoch in batches, the same for any number of ranks and workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import DataLoader

from semblance.manifests.config import fingerprint
from semblance.manifests.errors import SemblanceError
from semblance.training.data import lasting, order, sampling, worker
from semblance.training.data.order import EpochPlan, ShuffleConfig
from semblance.training.data.query import QueryConfig, Selection
from semblance.training.data.sampling import SamplingConfig
from semblance.training.data.units import UnitConfig
from semblance.training.data.worker import SampleTransform
from semblance.training.records import Batch


class EpochConfig(SamplingConfig):
    """What an epoch is: how often pictures are drawn, and how well they are mixed."""

    shuffle: ShuffleConfig = ShuffleConfig()


class DataConfig(QueryConfig, UnitConfig, EpochConfig):
    """Everything that decides which pictures are used, how often and in which order; the same on any machine.

    ``batch_size`` counts units (pictures, clips or pairs) of one batch over all devices, which share it equally.
    """

    balanced_per_method: bool = True
    batch_size: int = Field(default=32, ge=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The rank of this process among those that train together; plain numbers, so that a test can set any of them."""

    rank: int = 0
    ranks: int = 1

    @classmethod
    def detect(cls) -> World:
        """The world of torch.distributed if it runs, else that of its launcher's environment, else a single process."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return cls(rank=torch.distributed.get_rank(), ranks=torch.distributed.get_world_size())
        return cls(rank=int(os.environ.get("RANK", "0")), ranks=int(os.environ.get("WORLD_SIZE", "1")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """How batches leave the loader, for the sake of their way to the device.

    ``as_bytes`` leaves ``image_BCHW`` uint8, a quarter of the memory, to be divided by 255 on the device.
    ``pin_memory`` puts batches into page-locked memory. ``prefetch``: batches that each worker makes in advance.
    """

    as_bytes: bool = False
    pin_memory: bool = False
    prefetch: int = 2


class Loader:
    """Batches of one epoch after another: iterate over it once per epoch.

    ``batch`` counts units: pictures, clips or pairs. The pictures of a unit are adjacent in ``image_BCHW``: a clip's in
    time order, a pair's with the real one first. ``workers`` are processes; 0 reads in this one. They and their pinned
    buffers live from the first epoch until ``close``, or as long as the loader. ``transform`` is applied there, then
    pictures of another size are resized to ``size`` x ``size`` px.

    The pictures of an epoch depend on the selection, ``config``, ``seed`` and the epoch. Their order also depends on
    ``world`` and ``workers``, and repeats exactly for the same values. Every rank gets the same number of batches.
    ``state_dict`` after any batch and ``load_state_dict`` resume with exactly the remaining batches.
    """

    def __init__(
        self,
        selection: Selection,
        *,
        batch: int,
        seed: int = 0,
        config: EpochConfig | None = None,
        world: World | None = None,
        workers: int = 0,
        transform: SampleTransform | None = None,
        size: int | None = None,
        transfer: Transfer | None = None,
    ) -> None:
        self.selection = selection
        self.batch, self.seed, self.workers = batch, seed, workers
        self.config, self.world = config or EpochConfig(), world or World()
        self.transform, self.size = transform or SampleTransform(), size
        self.transfer = transfer or Transfer()
        self.epoch = self.position = 0
        self._table = worker.SampleTable(selection)
        self._cut = order.cut(self.config.draws or selection.units.height, self.world.ranks, batch)
        self._served = lasting.Served(self._table, self.transform)
        self._loader: DataLoader[Batch | worker.Failure] | None = None

    def __len__(self) -> int:
        """Remaining batches of this epoch, for each rank."""
        return self._cut.batches - self.position

    @property
    def batches(self) -> int:
        """Batches of a full epoch, for each rank."""
        return self._cut.batches

    def draws(self, epoch: int) -> sampling.Counts_U:
        """How often each of ``selection.units`` is drawn in an epoch, over all ranks."""
        return sampling.draw(self.selection.units, self.config, seed=self.seed, epoch=epoch)

    def __iter__(self) -> Iterator[Batch]:
        """The remaining batches of the current epoch; afterwards the loader is at the start of the next one.

        Raises SemblanceError, with the name, for a damaged shard or picture.
        """
        if self._loader is None:
            self._loader = self._start()
        self._served.epoch = self._epoch()
        try:
            for batch in worker.raising(self._loader):
                self.position += 1
                yield batch if self.transfer.as_bytes else as_floats(batch)
        except (SemblanceError, RuntimeError, ConnectionError, EOFError) as error:
            self.close()  # the next iteration starts others
            if (died := lasting.death(error)) is not None:
                raise died from error
            raise
        if self.position != self._cut.batches:
            raise SemblanceError(
                f"The loader gave {self.position} of {self._cut.batches} batches. This is a bug; please report it."
            )
        self.epoch, self.position = self.epoch + 1, 0

    def close(self) -> None:
        """End the workers; the next iteration starts new ones."""
        lasting.end(getattr(self._loader, "_iterator", None))
        self._loader = None

    def _start(self) -> DataLoader[Batch | worker.Failure]:
        """torch's loader, whose workers start with its first iteration and go on with each further one."""
        how: dict[str, Any] = {
            "persistent_workers": True,
            "prefetch_factor": self.transfer.prefetch,
            "multiprocessing_context": "fork",  # a worker that imports all anew takes 7 s of CPU, and its own table
        }
        return DataLoader(
            self._served,
            batch_size=None,
            sampler=self._served.orders(),
            num_workers=self.workers,
            collate_fn=worker.unchanged,
            worker_init_fn=worker.start_worker,
            pin_memory=self.transfer.pin_memory,
            generator=torch.Generator(),  # leaves torch's global generator alone
            **(how if self.workers else {}),
        )

    def _epoch(self) -> worker.RankEpoch:
        """The rest of the current epoch."""
        return worker.RankEpoch(
            table=self._table,
            plan=self._plan(),
            cut=self._cut,
            shuffle=self.config.shuffle,
            transform=self.transform,
            size=self.size,
            seed=self.seed,
            epoch=self.epoch,
            start=self.position,
            rank=self.world.rank,
            workers=max(self.workers, 1),
        )

    def state_dict(self) -> dict[str, Any]:
        """The position in the data, as plain numbers and strings."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "ranks": self.world.ranks,
            "workers": self.workers,
            "identity": self.identity(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Move to a saved position; the next iteration starts there.

        Raises SemblanceError if the data, the sampling or the seed differ. Inside an epoch, where the order depends on
        the numbers of ranks and workers, it also raises if these differ.
        """
        if state["identity"] != self.identity():
            raise SemblanceError(
                "The data, sampling, batch size or seed differ from those of the saved position; "
                "resume with the same ones, or start a new run."
            )
        was, now = (state["ranks"], max(state["workers"], 1)), (self.world.ranks, max(self.workers, 1))
        if state["position"] and was != now:
            raise SemblanceError(
                f"The saved position is inside an epoch of {was[0]} ranks with {was[1]} workers each, and the order "
                f"depends on these numbers; resume with the same ones (now {now[0]} ranks with {now[1]} workers)."
            )
        self.epoch, self.position = state["epoch"], state["position"]

    def identity(self) -> str:
        """A fingerprint of the batch size over all ranks and everything that decides which pictures an epoch holds."""
        return fingerprint(
            {
                "pictures": self._table.identity(),
                "config": self.config.model_dump(mode="json", include=set(SamplingConfig.model_fields)),
                "shuffle": self.config.shuffle.model_dump(mode="json"),
                "seed": self.seed,
                "batch": self.batch * self.world.ranks,
            }
        )

    def _plan(self) -> EpochPlan:
        table = self._table
        return order.plan(
            self.draws(self.epoch), table.shard_U, table.place_U, table.samples_S, seed=self.seed, epoch=self.epoch
        )


class Sized:
    """One epoch of a loader, with the length at its start, as trainers count batches."""

    def __init__(self, loader: Loader) -> None:
        self.loader, self.length = loader, len(loader)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.loader)


def as_floats(batch: Batch) -> Batch:
    """The batch with its uint8 pictures as float32 in [0, 1], on the same device."""
    return replace(batch, image_BCHW=floats(batch.image_BCHW))


def floats(bytes_BCHW: Tensor) -> Tensor:
    """uint8 pictures as float32 in [0, 1], on the same device, in the same order of memory (``channels_last``)."""
    return bytes_BCHW.to(torch.float32).div_(255)

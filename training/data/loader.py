"""The loader: an epoch's pictures and targets as batches, the same ones for any number of ranks and workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import Field
from torch.utils.data import DataLoader

from semblance.manifests.config import fingerprint
from semblance.manifests.errors import SemblanceError
from semblance.training.data import order, sampling, worker
from semblance.training.data.order import EpochPlan, ShuffleConfig
from semblance.training.data.query import QueryConfig, Selection
from semblance.training.data.sampling import SamplingConfig
from semblance.training.data.units import UnitConfig
from semblance.training.records import Batch


class DataConfig(QueryConfig, UnitConfig, SamplingConfig):
    """All that decides which pictures come, how often and how well mixed; the same for any machine.

    ``batch_size`` is that of one process and one step, in units: pictures, clips or pairs.
    """

    balanced_per_method: bool = True
    batch_size: int = Field(default=32, ge=1)
    shuffle: ShuffleConfig = ShuffleConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Where this process stands among those that train together: numbers, so that a test can be any of them."""

    rank: int = 0
    ranks: int = 1

    @classmethod
    def detect(cls) -> World:
        """As torch.distributed says, else as its launcher's environment does, else alone."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return cls(rank=torch.distributed.get_rank(), ranks=torch.distributed.get_world_size())
        return cls(rank=int(os.environ.get("RANK", "0")), ranks=int(os.environ.get("WORLD_SIZE", "1")))


class Loader:
    """Batches of one epoch after the other; iterate over it once an epoch.

    ``batch`` counts units: pictures, clips or pairs, whose pictures stand side by side in ``image_BCHW`` (a clip's in
    time order, a pair's real one first). The set of an epoch depends on query, ``seed`` and epoch; the order also on
    ``world`` and ``workers`` and repeats exactly for the same ones. Every rank gets the same number of batches.
    ``state_dict`` after any batch and ``load_state_dict`` go on from there with the batches that would have come.

    In the worker, ``forge`` makes fakes of some real pictures (their target becomes 1), then ``transform`` changes
    each one; both get the landmarks where ``landmarks`` is set. ``size`` resizes what is not that large afterwards.
    ``as_bytes`` leaves ``image_BCHW`` uint8, a quarter of the memory, to be divided by 255 on the device; ``pin`` puts
    batches into page-locked memory.
    """

    def __init__(
        self,
        chosen: Selection,
        *,
        batch: int,
        seed: int = 0,
        config: SamplingConfig | None = None,
        shuffle: ShuffleConfig | None = None,
        world: World | None = None,
        workers: int = 0,
        transform: worker.Transform | None = None,
        forge: worker.Forge | None = None,
        landmarks: bool = False,
        size: int | None = None,
        as_bytes: bool = False,
        pin: bool = False,
    ) -> None:
        self.chosen = chosen
        self.batch, self.seed, self.workers = batch, seed, workers
        self.config, self.shuffle = config or SamplingConfig(), shuffle or ShuffleConfig()
        self.world = world or World()
        self.as_bytes, self.pin = as_bytes, pin
        self.epoch = self.position = 0
        self._table = worker.SampleTable(chosen)
        self._view = worker.SampleTransform(transform=transform, forge=forge, landmarks=landmarks, size=size)
        self._cut = order.cut(self.config.draws or chosen.units.height, self.world.ranks, batch)

    def __len__(self) -> int:
        """Batches that this epoch still has for each rank."""
        return self._cut.batches - self.position

    @property
    def batches(self) -> int:
        """Batches of a whole epoch for each rank."""
        return self._cut.batches

    def draws(self, epoch: int) -> sampling.Counts_U:
        """How often each of ``chosen.units`` comes in an epoch, over all ranks."""
        return sampling.draw(self.chosen.units, self.config, seed=self.seed, epoch=epoch)

    def __iter__(self) -> Iterator[Batch]:
        """The rest of the current epoch; afterwards the loader stands at the start of the next.

        Raises SemblanceError for a damaged shard or picture, with its name.
        """
        rest = worker.RankEpoch(
            table=self._table,
            line=self._line(),
            cut=self._cut,
            shuffle=self.shuffle,
            view=self._view,
            seed=self.seed,
            epoch=self.epoch,
            start=self.position,
            rank=self.world.rank,
            workers=max(self.workers, 1),
        )
        loader = DataLoader(
            rest,
            batch_size=None,
            num_workers=self.workers,
            collate_fn=worker.unchanged,
            worker_init_fn=worker.start_worker,
            pin_memory=self.pin,
            generator=torch.Generator(),  # so that loading leaves the global one alone
        )
        for batch in worker.raising(loader):
            self.position += 1
            yield batch if self.as_bytes else as_floats(batch)
        if self.position != self._cut.batches:
            raise SemblanceError(
                f"The loader gave {self.position} of {self._cut.batches} batches: a defect, report it."
            )
        self.epoch, self.position = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """The place in the data: plain numbers and texts."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "ranks": self.world.ranks,
            "workers": self.workers,
            "identity": self.identity(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a place; the next iteration starts there.

        Raises SemblanceError where the data, the sampling or the seed are others, or where the place is inside an
        epoch and the numbers of ranks or workers, on which the order depends, are others.
        """
        if state["identity"] != self.identity():
            raise SemblanceError(
                "The data, their sampling, the batch size or the seed are not those of the saved position; "
                "resume with the same ones, or start a new run."
            )
        was, now = (state["ranks"], max(state["workers"], 1)), (self.world.ranks, max(self.workers, 1))
        if state["position"] and was != now:
            raise SemblanceError(
                f"The saved position is inside an epoch of {was[0]} ranks with {was[1]} workers each, and the order "
                f"depends on them; resume with these (there are {now[0]} with {now[1]} now)."
            )
        self.epoch, self.position = state["epoch"], state["position"]

    def identity(self) -> str:
        """A fingerprint of all that decides the epochs' sets, and the batch size."""
        return fingerprint(
            {
                "pictures": self._table.identity(),
                "config": self.config.model_dump(mode="json", include=set(SamplingConfig.model_fields)),
                "shuffle": self.shuffle.model_dump(mode="json"),
                "seed": self.seed,
                "batch": self.batch,
            }
        )

    def _line(self) -> EpochPlan:
        table = self._table
        return order.lay(
            self.draws(self.epoch), table.shard_U, table.place_U, table.samples_S, seed=self.seed, epoch=self.epoch
        )


def as_floats(batch: Batch) -> Batch:
    """The batch with its uint8 pictures as float32 in [0, 1], on the device where they are."""
    floats = batch.image_BCHW.to(torch.float32, memory_format=torch.contiguous_format)
    return replace(batch, image_BCHW=floats.div_(255))

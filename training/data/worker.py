"""The worker processes of a loader: they read units from shards in the planned order and make batches of them."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import polars as pl
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Image
from semblance.quality.resize import to_square
from semblance.training.data import order, reader, sampling
from semblance.training.data.order import BatchCut, EpochPlan, Index, ShuffleConfig
from semblance.training.data.query import Selection
from semblance.training.data.shards import Shard
from semblance.training.records import Batch

# (image, its ten landmarks in px or None, key of this draw) -> image; the key seeds all random numbers
Transform = Callable[[Image, NDArray[np.float32] | None, str], Image]
# the key of this draw -> K numbers: what is to be done to the picture on the device
DeviceDraws = Callable[[str], NDArray[np.float32]]
# the arguments of a transform, of a real picture -> a fake made from it, or None to leave it unchanged
Forge = Callable[[Image, NDArray[np.float32] | None, str], Image | None]
Draw = tuple[int, int, list[reader.Members]]  # a unit, the number of this draw of it, the members of its pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Takes the place of a batch; the main process raises it as an error without the worker's traceback."""

    message: str


class SampleTable:
    """The selected pictures (P), units (U) and shards (S) as flat arrays, which forked workers share without a copy."""

    def __init__(self, selection: Selection) -> None:
        pictures, units = selection.pictures, selection.units
        self.members = selection.members
        self.shards = selection.shards
        self.sample_P = _strings(pictures["sample_id"])
        self.video_P = _strings(pictures["video_id"])
        self.track_P = pictures["track"].fill_null(0).to_numpy().astype(np.int32)
        self.person_P = pictures["person"].to_numpy().astype(np.int32)
        self.target_P = pictures["target"].fill_null(float("nan")).to_numpy().astype(np.float32)
        self.shard_U = units["shard"].to_numpy().astype(np.int32)
        self.place_U = units["place"].to_numpy().astype(np.int64)
        self.samples_S = np.array([shard.samples for shard in selection.shards], np.int64)

    def identity(self) -> str:
        """A hash of the pictures, in order, and their targets."""
        h = hashlib.sha256(f"{self.members} {len(self.sample_P)}".encode())
        for buffer in self.sample_P.buffers():
            h.update(buffer if buffer is not None else b"")
        h.update(self.target_P.tobytes())
        return h.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTransform:
    """What is done to a picture in the worker, before it is resized.

    ``forge`` makes fakes of some real pictures, whose target becomes 1. Then ``image`` changes each picture.
    ``landmarks``: both are given the landmarks, else None. ``draws``: what a batch carries for the device to do.
    ``by_unit``: all pictures of a unit have the key of its first one, so the same is done to all of a clip; else each
    has its own.
    """

    image: Transform | None = None
    forge: Forge | None = None
    landmarks: bool = False
    draws: DeviceDraws | None = None
    by_unit: bool = False

    def apply(self, name: str, members: reader.Members, shard: Shard, key: str, target: float) -> tuple[Image, float]:
        """Decode the picture of a sample; returns it transformed, (H, W, 3), and its target."""
        image = reader.picture(name, members, shard)
        points = reader.landmarks(members, shard, image.shape[0]) if self.landmarks else None
        if self.forge is not None and target == 0:
            forged = self.forge(image, points, key)
            image, target = (image, target) if forged is None else (forged, 1.0)
        if self.image is not None:
            image = self.image(image, points, key)
        return image, target


@dataclass(frozen=True, kw_only=True, eq=False)
class RankEpoch(IterableDataset[Batch | Failure]):
    """The rest of one rank's epoch; each worker makes every ``workers``-th batch of it."""

    table: SampleTable
    plan: EpochPlan
    cut: BatchCut
    shuffle: ShuffleConfig
    transform: SampleTransform
    size: int | None
    seed: int
    epoch: int
    start: int  # batches before it are done
    rank: int
    workers: int

    def __iter__(self) -> Iterator[Batch | Failure]:
        info = get_worker_info()
        # torch takes the first batch from its worker 0, so that one must make the batch at ``start``
        worker = ((info.id if info else 0) + self.start) % self.workers
        try:
            yield from self._batches(worker)
        except SemblanceError as error:
            yield Failure(message=str(error))

    def _batches(self, worker: int) -> Iterator[Batch]:
        first, last, sizes = self.cut.piece(self.rank, worker, self.workers)
        read, emitted = order.mix(
            self.plan.visit_N[first:last],
            buffer=max(self.shuffle.buffer // self.table.members, 1),
            ways=self.shuffle.open if self.table.members == 1 else 1,
            rng=sampling.generator(self.seed, "mix", self.epoch, self.rank, worker),
        )
        done = len(range(worker, self.start, self.workers))
        remaining = emitted[int(sizes[:done].sum()) :]
        units = _Units(self.table, self.plan, first + read, first + remaining, self._kinds())
        for size in sizes[done:]:
            yield self._batch([next(units) for _ in range(int(size))])

    def _kinds(self) -> tuple[str, ...]:
        return (*reader.PICTURES, "json") if self.transform.landmarks else reader.PICTURES

    def _key(self, copy: int, names: list[str]) -> str:
        """The key of the last of ``names``, the pictures of a unit so far.

        A picture that the unit holds already, as another view, has a key of its own: with its place, after a sign that
        is in no id.
        """
        *before, name = names
        key = f"{self.seed}-{self.epoch}-{copy}-{names[0] if self.transform.by_unit else name}"
        return f"{key}#{len(before)}" if name in before and not self.transform.by_unit else key

    def _batch(self, draws: list[Draw]) -> Batch:
        table = self.table
        rows = [unit * table.members + member for unit, _, pictures in draws for member in range(len(pictures))]
        names: list[str] = table.sample_P.take(pa.array(rows)).to_pylist()
        images: list[Image] = []
        rows_BK: list[NDArray[np.float32]] = []
        target_B = table.target_P[rows]
        for unit, copy, pictures in draws:
            first = len(images)
            for members in pictures:
                i = len(images)
                key = self._key(copy, names[first : i + 1])
                shard = table.shards[table.shard_U[unit]]
                image, target_B[i] = self.transform.apply(names[i], members, shard, key, float(target_B[i]))
                images.append(image if self.size is None else to_square(image, self.size))
                if self.transform.draws is not None:
                    rows_BK.append(self.transform.draws(key))
        if len({image.shape for image in images}) > 1:
            sizes = sorted({f"{image.shape[1]}x{image.shape[0]}" for image in images})
            raise SemblanceError(f"A batch has pictures of {' and '.join(sizes)} px; pass a size to resize all to.")
        return Batch(
            image_BCHW=torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),  # a view: channels_last
            target_B=torch.from_numpy(target_B),
            draws_BK=torch.from_numpy(np.stack(rows_BK)) if rows_BK else None,
            sample_ids=tuple(names),
            video_ids=tuple(table.video_P.take(pa.array(rows)).to_pylist()),
            tracks=tuple(table.track_P[rows].tolist()),
            persons=tuple(table.person_P[rows].tolist()),
        )


class _Units:
    """The drawn units in the order of emission; shards are opened, read and closed on demand."""

    def __init__(
        self, table: SampleTable, plan: EpochPlan, read: Index, emitted: Index, kinds: tuple[str, ...]
    ) -> None:
        self._table, self._plan, self._kinds = table, plan, kinds
        needed = np.isin(read, emitted)
        self._read = iter(read[needed].tolist())
        self._emitted = iter(emitted.tolist())
        self._pending: dict[int, list[int]] = {}  # units of each visit that are not read yet, the next one last
        for draw in np.sort(emitted)[::-1]:
            self._pending.setdefault(int(plan.visit_N[draw]), []).append(int(plan.unit_N[draw]))
        self._open: dict[int, Iterator[list[reader.Members]]] = {}
        self._held: dict[int, list[reader.Members]] = {}

    def __next__(self) -> Draw:
        draw = next(self._emitted)
        while draw not in self._held:
            self._pull(next(self._read))
        return int(self._plan.unit_N[draw]), int(self._plan.copy_N[draw]), self._held.pop(draw)

    def _pull(self, draw: int) -> None:
        visit = int(self._plan.visit_N[draw])
        pending = self._pending[visit]
        if visit not in self._open:
            self._open[visit] = self._visit(visit, pending[::-1])
        self._held[draw] = next(self._open[visit])
        pending.pop()
        if not pending:
            deque(self._open.pop(visit), maxlen=0)  # read on to the end of the shard, where its samples are checked
            del self._pending[visit]

    def _visit(self, visit: int, units: list[int]) -> Iterator[list[reader.Members]]:
        """The pictures of each unit, in the units' order, as soon as all of them are read."""
        shard, size = self._table.shards[self._plan.shard_V[visit]], self._table.members
        places: dict[str, list[tuple[int, int]]] = {}
        for unit in dict.fromkeys(units):
            for member, name in enumerate(self._table.sample_P.slice(unit * size, size).to_pylist()):
                places.setdefault(name, []).append((unit, member))
        parts: dict[int, dict[int, reader.Members]] = {}
        waiting = deque(units)
        for name, members in reader.read(shard):
            for unit, member in places.pop(name, ()):
                parts.setdefault(unit, {})[member] = {kind: members[kind] for kind in self._kinds if kind in members}
            while waiting and len(parts.get(waiting[0], ())) == size:
                unit = waiting.popleft()
                yield [parts[unit][member] for member in range(size)]
                if not waiting or waiting[0] != unit:
                    del parts[unit]
        if waiting:
            raise SemblanceError(f"Pictures that its manifest lists are missing in {shard.url}; run `shards verify`.")


def raising(batches: Iterable[Batch | Failure]) -> Iterator[Batch]:
    """The batches; raises SemblanceError if a worker reports a failure."""
    for batch in batches:
        if isinstance(batch, Failure):
            raise SemblanceError(batch.message)
        yield batch


def unchanged(batch: Any) -> Any:
    return batch


def start_worker(_: int) -> None:
    cv2.setNumThreads(0)


def _strings(column: pl.Series) -> pa.Array:
    strings = column.to_arrow().cast(pa.large_string())
    return pa.concat_arrays([strings])  # a copy without slice offsets, since `identity` hashes the buffers

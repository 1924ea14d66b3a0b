"""What a loader's worker does: pull units out of shards in the planned order, and make batches of them."""

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
from semblance.training.data import order, reader, sampling
from semblance.training.data.order import BatchCut, EpochPlan, Index, ShuffleConfig
from semblance.training.data.query import Selection
from semblance.training.data.shards import Shard
from semblance.training.records import Batch

# (image, the ten landmarks in its pixels or None, key of this draw) -> image; the key seeds what is random
Transform = Callable[[Image, NDArray[np.float32] | None, str], Image]
# the same of a real picture to a fake made from it, or None where it stays as it is
Forge = Callable[[Image, NDArray[np.float32] | None, str], Image | None]
Drawn = tuple[int, int, list[reader.Members]]  # a unit, which of its draws, the members of its pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a worker says instead of a batch: raised in the main process, a sentence without the worker's traceback."""

    sentence: str


class SampleTable:
    """The chosen pictures in flat arrays, which a forked worker shares instead of copying."""

    def __init__(self, chosen: Selection) -> None:
        pictures, units = chosen.pictures, chosen.units
        self.members = chosen.members
        self.shards = chosen.shards
        self.sample_P = _texts(pictures["sample_id"])
        self.video_P = _texts(pictures["video_id"])
        self.track_P = pictures["track"].fill_null(0).to_numpy().astype(np.int32)
        self.target_P = pictures["target"].fill_null(float("nan")).to_numpy().astype(np.float32)
        self.shard_U = units["shard"].to_numpy().astype(np.int32)
        self.place_U = units["place"].to_numpy().astype(np.int64)
        self.samples_S = np.array([shard.samples for shard in chosen.shards], np.int64)

    def identity(self) -> str:
        """A hash of the pictures in their order, and their targets."""
        h = hashlib.sha256(f"{self.members} {len(self.sample_P)}".encode())
        for buffer in self.sample_P.buffers():
            h.update(buffer if buffer is not None else b"")
        h.update(self.target_P.tobytes())
        return h.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTransform:
    """From a sample's members to the picture and target that go into a batch."""

    transform: Transform | None
    forge: Forge | None
    landmarks: bool
    size: int | None

    def show(self, name: str, members: reader.Members, shard: Shard, key: str, target: float) -> tuple[Image, float]:
        image = reader.picture(name, members, shard)
        points = reader.landmarks(members, shard, image.shape[0]) if self.landmarks else None
        if self.forge is not None and target == 0:
            forged = self.forge(image, points, key)
            image, target = (image, target) if forged is None else (forged, 1.0)
        if self.transform is not None:
            image = self.transform(image, points, key)
        if self.size is not None and image.shape[:2] != (self.size, self.size):
            kind = cv2.INTER_AREA if self.size < min(image.shape[:2]) else cv2.INTER_CUBIC
            image = cv2.resize(image, (self.size, self.size), interpolation=kind)  # type: ignore[assignment]
        return image, target


@dataclass(frozen=True, kw_only=True, eq=False)
class RankEpoch(IterableDataset[Batch | Failure]):
    """What one rank still has to read of an epoch; each worker makes every ``workers``-th batch of it."""

    table: SampleTable
    line: EpochPlan
    cut: BatchCut
    shuffle: ShuffleConfig
    view: SampleTransform
    seed: int
    epoch: int
    start: int
    rank: int
    workers: int

    def __iter__(self) -> Iterator[Batch | Failure]:
        info = get_worker_info()
        # torch takes the first batch from its worker 0: here that is the one whose turn it is at ``start``
        worker = ((info.id if info else 0) + self.start) % self.workers
        try:
            yield from self._batches(worker)
        except SemblanceError as error:
            yield Failure(sentence=str(error))

    def _batches(self, worker: int) -> Iterator[Batch]:
        first, last, sizes = self.cut.piece(self.rank, worker, self.workers)
        read, given = order.mix(
            self.line.visit_N[first:last],
            buffer=max(self.shuffle.buffer // self.table.members, 1),
            ways=self.shuffle.open if self.table.members == 1 else 1,
            rng=sampling.generator(self.seed, "mix", self.epoch, self.rank, worker),
        )
        done = len(range(worker, self.start, self.workers))
        units = _Units(self.table, self.line, first + read, first + given[int(sizes[:done].sum()) :], self._kinds())
        for size in sizes[done:]:
            yield self._batch([next(units) for _ in range(int(size))])

    def _kinds(self) -> tuple[str, ...]:
        return (*reader.PICTURES, "json") if self.view.landmarks else reader.PICTURES

    def _batch(self, drawn: list[Drawn]) -> Batch:
        table = self.table
        rows = [unit * table.members + member for unit, _, parts in drawn for member in range(len(parts))]
        names: list[str] = table.sample_P.take(pa.array(rows)).to_pylist()
        images: list[Image] = []
        target_B = table.target_P[rows]
        for unit, copy, parts in drawn:
            for members in parts:
                i = len(images)
                key = f"{self.seed}-{self.epoch}-{copy}-{names[i]}"
                shard = table.shards[table.shard_U[unit]]
                image, target_B[i] = self.view.show(names[i], members, shard, key, float(target_B[i]))
                images.append(image)
        if len({image.shape for image in images}) > 1:
            sizes = sorted({f"{image.shape[1]}x{image.shape[0]}" for image in images})
            raise SemblanceError(f"A batch has pictures of {' and '.join(sizes)} px; set the size that all are made.")
        return Batch(
            image_BCHW=torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),  # laid out anew where it is made float
            target_B=torch.from_numpy(target_B),
            sample_ids=tuple(names),
            video_ids=tuple(table.video_P.take(pa.array(rows)).to_pylist()),
            tracks=tuple(table.track_P[rows].tolist()),
        )


class _Units:
    """The drawn units in the order in which they are given out; shards are opened, read and closed as it asks."""

    def __init__(self, table: SampleTable, line: EpochPlan, read: Index, given: Index, kinds: tuple[str, ...]) -> None:
        self._table, self._line, self._kinds = table, line, kinds
        needed = np.isin(read, given)
        self._read = iter(read[needed].tolist())
        self._given = iter(given.tolist())
        self._left: dict[int, list[int]] = {}  # units that a visit still has to bring
        for draw in np.sort(given)[::-1]:
            self._left.setdefault(int(line.visit_N[draw]), []).append(int(line.unit_N[draw]))
        self._open: dict[int, Iterator[list[reader.Members]]] = {}
        self._held: dict[int, list[reader.Members]] = {}

    def __next__(self) -> Drawn:
        draw = next(self._given)
        while draw not in self._held:
            self._pull(next(self._read))
        return int(self._line.unit_N[draw]), int(self._line.copy_N[draw]), self._held.pop(draw)

    def _pull(self, draw: int) -> None:
        visit = int(self._line.visit_N[draw])
        left = self._left[visit]
        if visit not in self._open:
            self._open[visit] = self._visit(visit, left[::-1])
        self._held[draw] = next(self._open[visit])
        left.pop()
        if not left:
            deque(self._open.pop(visit), maxlen=0)  # to the end of the shard, where it is counted
            del self._left[visit]

    def _visit(self, visit: int, units: list[int]) -> Iterator[list[reader.Members]]:
        """The pictures of each unit, in the units' order, as soon as they are there."""
        shard, size = self._table.shards[self._line.shard_V[visit]], self._table.members
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
            raise SemblanceError(f"The shard {shard.url} lacks pictures that its manifest lists; run `shards verify`.")


def raising(batches: Iterable[Batch | Failure]) -> Iterator[Batch]:
    """The batches; raises SemblanceError where a worker says that it failed, or is gone."""
    iterator = iter(batches)
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise SemblanceError(
                f"A loader's worker is gone ({str(error).splitlines()[0]}); most often memory ran out: use fewer "
                "workers or a smaller shuffle.buffer."
            ) from error
        if isinstance(batch, Failure):
            raise SemblanceError(batch.sentence)
        yield batch


def unchanged(batch: Any) -> Any:
    return batch


def start_worker(_: int) -> None:
    cv2.setNumThreads(0)


def _texts(column: pl.Series) -> pa.Array:
    texts = column.to_arrow().cast(pa.large_string())
    return pa.concat_arrays([texts])  # without the offset of a slice: its buffers are hashed

"""The order of an epoch: its draws as a sequence of shard visits, cut for ranks and workers, then mixed.

The order is computed from the manifest before a byte is read. The sequence depends on the draws, the seed and the
epoch; a rank's order also depends on the numbers of ranks and workers.

A shard is read from front to back, as a stream must be. A unit that is drawn several times is spread over several
visits to its shard. A shard gets one visit for every tar's worth of draws. So reading costs one pass over each used
shard, plus at most about one tar member per draw. A query that selects less than about a tenth of each shard reads
slowly; repack such a selection with ``shards repack``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from semblance.manifests.config import Config
from semblance.manifests.errors import SemblanceError
from semblance.training.data.sampling import Counts_U, generator

Index = NDArray[np.int64]


class ShuffleConfig(Config):
    """How well pictures are mixed. A worker holds ``buffer`` encoded pictures (about 26 kB each) from ``open`` shards.

    Clips and pairs are assembled from one shard at a time, since their pictures may be anywhere in it. Up to one
    shard's pictures are then held in addition to the buffer.
    """

    buffer: int = Field(default=2000, ge=1)
    open: int = Field(default=4, ge=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EpochPlan:
    """All N draws of an epoch in the order of V shard visits."""

    unit_N: NDArray[np.int32]
    copy_N: NDArray[np.int32]  # which of a unit's draws this is, from 0
    visit_N: NDArray[np.int32]  # ascending
    shard_V: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.unit_N)


def plan(
    counts: Counts_U, shard_U: NDArray[np.int32], place_U: Index, samples_S: Index, *, seed: int, epoch: int
) -> EpochPlan:
    """Spread every unit's draws over visits to its shard, and put the visits in a random order.

    ``shard_U``: the shard of each unit. ``place_U``: the tar offset of its last picture. ``samples_S``: the samples
    of each shard.
    """
    rng = generator(seed, "line", epoch)
    unit_N = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    copy_N = np.arange(len(unit_N)) - np.repeat(np.cumsum(counts) - counts, counts)
    drawn_S = np.bincount(shard_U, weights=counts, minlength=len(samples_S)).astype(np.int64)
    most_S = np.zeros(len(samples_S), np.int64)
    np.maximum.at(most_S, shard_U, counts)
    passes_S = np.clip(-(-drawn_S // np.maximum(samples_S, 1)), 1, np.maximum(most_S, 1))
    first_U = rng.integers(0, passes_S[shard_U]) if len(shard_U) else np.zeros(0, np.int64)
    pass_N = (first_U[unit_N] + copy_N) % passes_S[shard_U[unit_N]]
    key_N = (np.cumsum(passes_S) - passes_S)[shard_U[unit_N]] + pass_N
    used = np.unique(key_N)
    rank = np.zeros(int(passes_S.sum()), np.int64)
    rank[used] = rng.permutation(len(used))
    visit_N = rank[key_N]
    order = np.lexsort((copy_N, unit_N, place_U[unit_N], visit_N))
    shard_V = np.zeros(len(used), np.int32)
    shard_V[visit_N] = shard_U[unit_N]
    return EpochPlan(
        unit_N=unit_N[order].astype(np.int32),
        copy_N=copy_N[order].astype(np.int32),
        visit_N=visit_N[order].astype(np.int32),
        shard_V=shard_V,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchCut:
    """An epoch cut into batches, the same number on every rank.

    Sizes differ by one at most, so no draw is dropped or repeated to fill a batch.
    """

    sizes_RK: Index  # the size of rank r's batch k

    @property
    def batches(self) -> int:
        return int(self.sizes_RK.shape[1])

    def piece(self, rank: int, worker: int, workers: int) -> tuple[int, int, Index]:
        """Start and stop of one worker's draws in the plan, and the sizes of its batches: every ``workers``-th one."""
        parts = [[self.sizes_RK[r, w::workers].sum() for w in range(workers)] for r in range(len(self.sizes_RK))]
        ends = np.cumsum(np.array(parts).reshape(-1))
        place = rank * workers + worker
        return int(ends[place - 1]) if place else 0, int(ends[place]), self.sizes_RK[rank, worker::workers]


def cut(draws: int, ranks: int, batch: int) -> BatchCut:
    """Cut ``draws`` for ``ranks`` into batches of at most ``batch``; at batch size 1 some may have to hold two.

    Raises SemblanceError if there are fewer draws than ranks.
    """
    if draws < ranks:
        raise SemblanceError(f"There are only {draws} units for {ranks} ranks; use fewer ranks or a larger dataset.")
    batches = min(-(-draws // (ranks * batch)), draws // ranks)
    ends = (np.arange(ranks * batches + 1, dtype=np.int64) * draws) // (ranks * batches)
    return BatchCut(sizes_RK=np.diff(ends).reshape(batches, ranks).T)


def mix(visit_N: NDArray[np.int32], *, buffer: int, ways: int, rng: np.random.Generator) -> tuple[Index, Index]:
    """The order in which a worker reads its draws, and the order in which it emits them.

    It reads ``ways`` visits at a time in equal steps. A draw is emitted at most ``buffer`` positions after it was
    read, so at most that many are held at any time.
    """
    n = len(visit_N)
    _, visit, size = np.unique(visit_N, return_inverse=True, return_counts=True)
    place = np.arange(n) - (np.cumsum(size) - size)[visit]
    read = np.lexsort((visit, (place + 0.5) / size[visit], visit // ways))
    emitted = np.argsort(np.arange(n) + buffer * rng.random(n), kind="stable")
    return read, read[emitted]

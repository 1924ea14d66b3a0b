"""In which order: an epoch's draws laid on a line of shard visits, cut for ranks and workers, and mixed.

All of it is computed from the manifest before a byte is read. The line depends on the draws, the seed and the epoch;
a rank's order also on the numbers of ranks and workers. Shards are read from front to back, as a stream must be. A
unit that is drawn several times comes in several visits to its shard, as far as these pay: the draws of a shard are
dealt to as many visits as they would fill the whole tar, so reading costs at most about one tar member a draw beyond
one pass over every shard that is used. A query that takes less than about a tenth of a shard is read slower for it:
lay such a selection out anew with ``shards repack``.
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
    """How well pictures mix: ``buffer`` encoded pictures are held by a worker (about 26 kB each), drawn from ``open``
    shards that it reads at once. Clips and pairs are put together from one shard at a time, since their pictures lie
    anywhere in it: then up to one shard's pictures are held beside the buffer.
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


def lay(
    counts: Counts_U, shard_U: NDArray[np.int32], place_U: Index, samples_S: Index, *, seed: int, epoch: int
) -> EpochPlan:
    """Lay every unit's draws on the line.

    ``shard_U``: the shard of each unit; ``place_U``: where in the tar it is complete; ``samples_S``: members of each
    shard.
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
    """A line cut into the same number of batches on every rank; sizes differ by one at most, so that no draw is left
    out or repeated to fill a batch.
    """

    sizes_RK: Index  # of rank r's batch k

    @property
    def batches(self) -> int:
        return int(self.sizes_RK.shape[1])

    def piece(self, rank: int, worker: int, workers: int) -> tuple[int, int, Index]:
        """Start and stop on the line of what one worker reads, and the sizes of its batches, every ``workers``-th."""
        parts = [[self.sizes_RK[r, w::workers].sum() for w in range(workers)] for r in range(len(self.sizes_RK))]
        ends = np.cumsum(np.array(parts).reshape(-1))
        place = rank * workers + worker
        return int(ends[place - 1]) if place else 0, int(ends[place]), self.sizes_RK[rank, worker::workers]


def cut(draws: int, ranks: int, batch: int) -> BatchCut:
    """Cut ``draws`` for ``ranks`` in batches of at most ``batch`` (one more at batch size 1, where it must be).

    Raises SemblanceError where there are fewer draws than ranks.
    """
    if draws < ranks:
        raise SemblanceError(
            f"There are {draws} units for {ranks} ranks, so some would have nothing; use fewer ranks or a larger set."
        )
    batches = min(-(-draws // (ranks * batch)), draws // ranks)
    ends = (np.arange(ranks * batches + 1, dtype=np.int64) * draws) // (ranks * batches)
    return BatchCut(sizes_RK=np.diff(ends).reshape(batches, ranks).T)


def mix(visit_N: NDArray[np.int32], *, buffer: int, ways: int, rng: np.random.Generator) -> tuple[Index, Index]:
    """The order in which a worker's draws are read, and the order in which they are given out.

    Reading takes ``ways`` visits at a time in equal steps. Giving out moves a draw back by at most ``buffer`` places
    of reading: at most that many are held at any time.
    """
    n = len(visit_N)
    _, visit, size = np.unique(visit_N, return_inverse=True, return_counts=True)
    place = np.arange(n) - (np.cumsum(size) - size)[visit]
    read = np.lexsort((visit, (place + 0.5) / size[visit], visit // ways))
    given = np.argsort(np.arange(n) + buffer * rng.random(n), kind="stable")
    return read, read[given]

"""64-bit hashes within a Hamming distance of each other, found without comparing all pairs.

Hashes that differ in at most ``limit`` bits agree completely in at least ``bands - limit`` of ``bands`` bands of bits.
So for every choice of that many bands the hashes are sorted by them, and only those that agree are compared: no pair
is missed (multi-index hashing, Norouzi, Punjani and Fleet 2012, with sorting in place of hash tables).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from semblance.quality.duplicates.bit_bands import Hashes, Numbers, dealt, sorted_by

COMMON: Final = 2_000  # hashes of other groups: a hash near more of them is not evidence
_CHUNK: Final = 1 << 15  # hashes compared at a time: they stay in the processor's cache
_SPARSE: Final = 4  # where less than a quarter of a chunk still agrees, those hashes are picked out
_HELD: Final = 1 << 21  # pairs held before they are made unique
_STRONG: Final = 16  # near hashes from which two groups are merged
_CLUSTER: Final = 32  # most groups that are merged
_ROUND: Final = 4  # choices of bands between two updates of the results
_NOBODY: Final = -1  # the owner of a common hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """``pairs`` (P, 2): every two groups that hold hashes near each other, and some that do not; the lesser first.

    ``common``: the hashes that were left out, being near too many others; sorted.
    """

    pairs: Numbers
    common: Hashes


def linked(hashes: Hashes, groups: Numbers, limit: int, common: int = COMMON) -> Linked:
    """The pairs of groups that hold two hashes within ``limit`` bits; ``hashes`` and their owners' numbers are (N,).

    A hash seen near more than ``common`` hashes of other groups, such as a blank screen or a title card, is left
    out: otherwise equal frames would cost quadratic time. Groups that are near in many hashes are merged during
    the search, so a few returned pairs may not be near. The time grows
    little faster than N, the memory is about 100 N bytes.
    """
    search = _Search(hashes, groups, limit, common)
    with ThreadPoolExecutor(2) as pool:  # NumPy sorts and compares outside the interpreter's lock
        for choices in search.rounds():
            search.settle(list(pool.map(search.compare, choices)))
    return Linked(pairs=search.pairs(), common=search.common())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The result of one choice of bands: pairs of groups, how often each was near, and the common hashes."""

    pairs: Hashes  # lesser << 32 | greater, sorted
    counts: Numbers
    common: Numbers


class _Search:
    """The remaining hashes, the merged groups and the pairs found so far."""

    def __init__(self, hashes: Hashes, groups: Numbers, limit: int, most: int) -> None:
        self._limit, self._most = limit, most
        rows = pl.DataFrame({"hash": hashes, "group": groups}).unique().sort("hash", "group")
        self._given = rows["hash"].to_numpy()
        self._groups = rows["group"].to_numpy()
        self._bands, self._hashes = dealt(self._given, limit)
        self._cluster = np.arange(int(self._groups.max(initial=-1)) + 1)  # of each group
        self._members: dict[int, list[int]] = {}  # of the clusters with more than one
        self._common = np.zeros(len(self._groups), np.bool_)
        self._found = [np.empty(0, np.uint64)]

    def rounds(self) -> Iterator[list[tuple[int, ...]]]:
        """The choices of bands, the first alone: its result saves the most work in the others."""
        choices = list(combinations(range(len(self._bands)), len(self._bands) - self._limit))
        yield choices[:1]
        for start in range(1, len(choices), _ROUND):
            yield choices[start : start + _ROUND]

    def compare(self, choice: Sequence[int]) -> _Found:
        """Compare all hashes that agree in the chosen bands and belong to different owners."""
        keys, order = sorted_by([self._bands[band] for band in choice], self._hashes)
        groups = self._groups[order]
        owners = np.where(self._common[order], _NOBODY, self._cluster[groups]).astype(np.int32)
        tally = _Tally(groups, owners, self._most)
        _compare(keys, self._hashes[order], tally, self._limit)
        tally.count()
        return _Found(pairs=tally.pairs, counts=tally.counts, common=order[tally.common()])

    def settle(self, found: Sequence[_Found]) -> None:
        """Record the results of a round and merge groups that are near in many hashes."""
        self._found += [one.pairs for one in found]
        if sum(map(len, self._found)) > _HELD:
            self._found = [np.unique(np.concatenate(self._found))]
        for one in found:
            self._common[one.common] = True
            strong = np.flatnonzero(one.counts >= _STRONG)
            for pair in one.pairs[strong[np.argsort(-one.counts[strong], kind="stable")]].tolist():
                self._merge(int(self._cluster[pair >> 32]), int(self._cluster[pair & 0xFFFFFFFF]))

    def _merge(self, a: int, b: int) -> None:
        together = self._members.get(a, [a]) + self._members.get(b, [b])
        if a != b and len(together) <= _CLUSTER:
            self._members.pop(b, None)
            self._members[a] = together
            self._cluster[together] = a

    def pairs(self) -> Numbers:
        """The pairs found, and every two groups of a cluster: nothing was compared within it."""
        inside = [pair for members in self._members.values() for pair in combinations(sorted(members), 2)]
        packed = np.array([a << 32 | b for a, b in inside], np.uint64)
        every = np.unique(np.concatenate([*self._found, packed])).astype(np.int64)
        return np.stack([every >> 32, every & 0xFFFFFFFF], axis=1)

    def common(self) -> Hashes:
        return np.unique(self._given[self._common])


class _Tally:
    """The near hashes of one choice of bands, counted by pairs of groups; places are those of the sorted hashes."""

    def __init__(self, groups: Numbers, owners: NDArray[np.int32], most: int) -> None:
        self.owners = owners  # a common hash loses its owner once it is recognised
        self.pairs, self.counts = np.empty(0, np.uint64), np.empty(0, np.int64)
        self._groups, self._most = groups, most
        self._near = np.zeros(len(groups), np.int32)  # how many of other owners each hash is near
        self._held: list[tuple[Numbers, Numbers]] = []
        self._size = 0

    def add(self, a: Numbers, b: Numbers) -> bool:
        """Places of hashes near each other; whether owners may have changed."""
        self._held.append((a, b))
        self._size += len(a)
        if self._size <= _HELD:
            return False
        self.count()
        return True

    def count(self) -> None:
        """Turn the places held into counted pairs of groups, and take common hashes from their owners."""
        if not self._held:
            return
        a, b = (np.concatenate(side) for side in zip(*self._held, strict=True))
        self._held, self._size = [], 0
        for side in (a, b):
            np.add.at(self._near, side, 1)
        self.owners[self._near > self._most] = _NOBODY
        both = (self.owners[a] != _NOBODY) & (self.owners[b] != _NOBODY)
        ends = np.sort(np.stack([self._groups[a[both]], self._groups[b[both]]]), axis=0).astype(np.uint64)
        fresh, times = np.unique(ends[0] << np.uint64(32) | ends[1], return_counts=True)
        self.pairs, places = np.unique(np.concatenate([self.pairs, fresh]), return_inverse=True)
        self.counts = np.bincount(places, np.concatenate([self.counts, times]), len(self.pairs)).astype(np.int64)

    def common(self) -> Numbers:
        return np.flatnonzero(self._near > self._most)


def _compare(keys: Hashes, hashes: Hashes, tally: _Tally, limit: int) -> None:
    """Tally the places of all hashes with one key, different owners and at most ``limit`` different bits.

    ``keys`` are sorted. Every hash is compared with the next, the next but one, and so on to the last of its key;
    while most of a chunk have such a partner the whole chunk is compared, keys or no keys: near is near.
    """
    after = _after(keys)
    for start in range(0, len(keys), _CHUNK):
        chunk = after[start : start + _CHUNK]
        with_partner = np.cumsum(np.bincount(chunk)[::-1])[::-1]  # by step
        places: Numbers | None = None
        for step in range(1, len(with_partner)):
            if places is None and with_partner[step] * _SPARSE >= len(chunk):
                end = min(start + _CHUNK, len(keys) - step)
                near = np.bitwise_count(hashes[start:end] ^ hashes[start + step : end + step]) <= limit
                found = np.flatnonzero(near) + start if near.any() else None
            else:
                places = np.flatnonzero(chunk >= step) + start if places is None else places[after[places] >= step]
                near = np.bitwise_count(hashes[places] ^ hashes[places + step]) <= limit
                found = places[near] if near.any() else None
            if found is None:
                continue
            found = found[tally.owners[found] != tally.owners[found + step]]
            if not len(found):
                continue
            if tally.add(found, found + step) and not (tally.owners[start : start + _CHUNK] != _NOBODY).any():
                break


def _after(keys: Hashes) -> NDArray[np.int32]:
    """How many equal keys follow each of the sorted keys."""
    ends = np.append(np.flatnonzero(keys[1:] != keys[:-1]), len(keys) - 1)
    return (np.repeat(ends, np.diff(ends, prepend=-1)) - np.arange(len(keys))).astype(np.int32)

"""Candidates by aligned faces: what comparing all pairs of faces finds, in any order, mirrored or not."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from semblance.quality.duplicates.aligned_search import DISTANCE, LEAST, SEED, SHARE, find_aligned
from semblance.quality.duplicates.recordings import nearest

Hashes = NDArray[np.uint64]


def _sound(chance: np.random.Generator, count: int) -> Hashes:
    """Hashes with 31 of 63 bits set, as those of faces have."""
    bits = chance.permuted(np.tile(np.repeat([1, 0], [31, 32]), (count, 1)), axis=1)
    return np.packbits(np.pad(bits, ((0, 0), (1, 0))), axis=1).view(">u8").reshape(-1).astype(np.uint64)


def _turned(hashes: Hashes, most: int, chance: np.random.Generator) -> Hashes:
    """Each hash with up to ``most`` pairs of bits, one set and one not, exchanged: as many are set as before."""
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
    for row in bits:
        for _ in range(int(chance.integers(0, most + 1))):
            row[chance.choice(np.flatnonzero(row))], row[1 + chance.choice(np.flatnonzero(row[1:] == 0))] = 0, 1
    return np.packbits(bits, axis=1).view(">u8").reshape(-1).astype(np.uint64)


def _made(seed: int, videos: int, noise: int) -> tuple[NDArray[np.int64], Hashes, Hashes, NDArray[np.int64]]:
    """Videos of a few scenes, some of them mirrored, each a family or with others."""
    chance = np.random.default_rng(seed)
    families = np.unique(chance.integers(0, videos, videos), return_inverse=True)[1]
    numbers = np.repeat(np.arange(videos), chance.integers(0, 12, videos))
    scenes = _sound(chance, 6), _sound(chance, 6)
    picked = chance.integers(0, 6, len(numbers))
    one, other = (_turned(scene[picked], noise, chance) for scene in scenes)
    flipped = chance.random(videos)[numbers] < 0.4
    return numbers, np.where(flipped, other, one), np.where(flipped, one, other), families


def _by_hand(numbers: NDArray[np.int64], own: Hashes, other: Hashes) -> dict[tuple[int, int], tuple[int, int]]:
    """Pairs of videos -> matches in the orientation that counts, and the faces of the one with fewer."""
    found = {}
    for a, b in combinations(range(int(numbers.max(initial=-1)) + 1), 2):
        A, B = numbers == a, numbers == b
        fewer = min(A.sum(), B.sum())
        best = []
        for sides in (((own[A], own[B]),), ((own[A], other[B]), (other[A], own[B]))):
            far = [np.bitwise_count(one[:, None] ^ two[None, :]) for one, two in sides]
            counts = [min((one <= DISTANCE).any(0).sum(), (one <= DISTANCE).any(1).sum()) for one in far]
            if max(counts) >= max(LEAST, np.ceil(SHARE * fewer)) and min(one.min() for one in far) <= SEED:
                best.append(int(max(counts)))
        if best:
            found[a, b] = max(best), int(fewer)
    return found


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), videos=st.integers(2, 12), noise=st.integers(0, 6))
def test_the_finder_equals_comparing_all_pairs(seed: int, videos: int, noise: int) -> None:
    numbers, own, other, families = _made(seed, videos, noise)
    found = find_aligned(numbers, own, other, families).pairs
    rows = found.select("a", "b", "matched", "sampled").rows()
    assert {(a, b): (matched, sampled) for a, b, matched, sampled in rows} == _by_hand(numbers, own, other)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), videos=st.integers(2, 12), noise=st.integers(0, 6))
def test_neither_order_nor_a_mirror_changes_what_is_found(seed: int, videos: int, noise: int) -> None:
    numbers, own, other, families = _made(seed, videos, noise)
    found = find_aligned(numbers, own, other, families).pairs
    back = videos - 1 - numbers[::-1]
    reverse = find_aligned(back, own[::-1], other[::-1], families[::-1]).pairs
    columns = ("a", "b", "matched", "sampled", "mirrored", "family")
    turned = {(videos - 1 - b, videos - 1 - a, *rest) for a, b, *rest in reverse.select(columns).rows()}
    assert turned == set(found.select(columns).rows())
    if len(own):
        i, j = np.flatnonzero(numbers == numbers[0]), np.flatnonzero(numbers == numbers[-1])
        ways = nearest(own[i], other[j], other[i], own[j]), nearest(own[j], other[i], other[j], own[i])
        assert len(ways[0]) == len(ways[1])


def test_flat_faces_are_no_evidence() -> None:
    flat = np.full(20, (1 << 20) - 1, np.uint64)
    found = find_aligned(np.repeat(np.arange(2), 10), flat, flat, np.arange(2))
    assert (found.flat, found.compared, found.pairs.height) == (20, 0, 0)

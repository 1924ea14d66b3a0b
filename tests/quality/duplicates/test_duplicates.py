"""Near-duplicate videos by hash: what is found is what comparing all pairs finds, and what is left out is said."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from semblance.quality.duplicates.hamming_join import linked
from semblance.quality.duplicates.sequences import DuplicateConfig, chain, different_people, find

Hashes = NDArray[np.uint64]


def _longest(a: Hashes, b: Hashes, distance: int) -> int:
    """Longest common subsequence, by the book."""
    row = [0] * (len(b) + 1)
    for one in a.tolist():
        above, row = row, [0]
        for place, other in enumerate(b.tolist()):
            match = (one ^ other).bit_count() <= distance
            row.append(max(above[place] + 1 if match else 0, above[place + 1], row[place]))
    return row[-1]


def _flipped(hashes: Hashes, most: int, chance: np.random.Generator) -> Hashes:
    """Each hash with up to ``most`` of its bits turned."""
    for _ in range(most):
        turned = np.uint64(1) << chance.integers(0, 64, len(hashes), np.uint64)
        hashes = np.where(chance.random(len(hashes)) < 0.7, hashes ^ turned, hashes)
    return hashes


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    videos=st.integers(2, 20),
    scenes=st.integers(1, 8),
    noise=st.integers(0, 8),
    distance=st.integers(0, 12),
)
def test_the_finder_equals_comparing_all_pairs(seed: int, videos: int, scenes: int, noise: int, distance: int) -> None:
    chance = np.random.default_rng(seed)
    families = np.unique(chance.integers(0, videos, videos), return_inverse=True)[1]
    numbers = np.repeat(np.arange(videos), chance.integers(0, 16, videos))
    picked = chance.integers(0, 2**64, scenes, np.uint64)[chance.integers(0, scenes, len(numbers))]
    hashes = _flipped(picked, noise, chance)
    config = DuplicateConfig(distance=distance)
    expected = []
    kept = np.array([28 <= int(value).bit_count() <= 36 for value in hashes], np.bool_)
    for a, b in combinations(range(videos), 2):
        left, right = (hashes[(numbers == one) & kept] for one in (a, b))
        shorter = min((numbers == a).sum(), (numbers == b).sum())
        matched = _longest(left, right, distance)
        if matched >= max(5, 0.3 * shorter):
            expected.append((a, b, matched, shorter, families[a] == families[b]))
            assert len(chain(left, right, distance)) == matched
    found = find(numbers, hashes, families, config)
    assert found.pairs.rows() == expected
    assert found.flat == (~kept).sum()


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32), limit=st.integers(0, 12), fixed=st.integers(0, 40))
def test_no_near_hash_is_missed(seed: int, limit: int, fixed: int) -> None:
    """Also where most bits are always the same, as some of a perceptual hash nearly are."""
    chance = np.random.default_rng(seed)
    bases = chance.integers(0, 2**64, 60, np.uint64) | np.uint64((1 << fixed) - 1)
    hashes = _flipped(np.repeat(bases, 20), 9, chance)
    groups = chance.integers(0, 150, len(hashes))
    far = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    near = {tuple(sorted(pair)) for pair in groups[np.argwhere(far <= limit)].tolist() if pair[0] != pair[1]}
    found = linked(hashes, groups, limit)
    assert near <= set(map(tuple, found.pairs.tolist()))
    assert not len(found.common)


def test_groups_that_are_taken_for_one_lose_no_pair() -> None:
    """Copies of copies: 40 families with equal frames are found pair by pair, though few comparisons are made."""
    chance = np.random.default_rng(0)
    clip = chance.integers(0, 2**64, 24, np.uint64)
    hashes = np.concatenate([_flipped(clip, 1, chance) for _ in range(40)])
    groups = np.repeat(np.arange(40), 24)
    assert set(map(tuple, linked(hashes, groups, 8).pairs.tolist())) == set(combinations(range(40), 2))


def test_a_frame_like_all_others_is_left_out_and_said() -> None:
    """A title card in 300 films makes no pair of them, and costs no square; a copy beside it is found."""
    chance = np.random.default_rng(1)
    films = [chance.permuted(np.repeat([0, 1], 32)[None, :].repeat(20, axis=0), axis=1) for _ in range(300)]
    hashes = np.concatenate([np.packbits(bits, axis=1).view(">u8").reshape(-1).astype(np.uint64) for bits in films])
    hashes = hashes.reshape(300, 20)
    hashes[:, :7] = hashes[0, 0]
    hashes[7] = hashes[9]
    numbers = np.repeat(np.arange(300), 20)
    config = DuplicateConfig()
    shown = find(numbers, hashes.reshape(-1), np.arange(300), config, common=100)
    assert shown.common == 300 * 7
    assert shown.pairs.select("a", "b").rows() == [(7, 9)]
    every = find(numbers, hashes.reshape(-1), np.arange(300), config)
    assert (every.common, every.pairs.height) == (0, 300 * 299 // 2)


def test_flat_frames_are_no_evidence() -> None:
    numbers = np.repeat(np.arange(2), 10)
    found = find(numbers, np.full(20, 1 << 63, np.uint64), np.arange(2), DuplicateConfig())
    assert (found.flat, found.compared, found.pairs.height) == (20, 0, 0)


def test_order_counts_and_a_part_is_enough() -> None:
    chance = np.random.default_rng(2)
    clip = _half_set(chance, 40)
    parts = {"whole": clip, "backwards": clip[::-1], "part": clip[11:17], "short": clip[11:15], "slow": clip[::3]}
    numbers = np.repeat(np.arange(len(parts)), [len(part) for part in parts.values()])
    found = find(numbers, np.concatenate(list(parts.values())), np.arange(len(parts)), DuplicateConfig())
    names = list(parts)
    assert {(names[a], names[b]): (matched, of) for a, b, matched, of, _ in found.pairs.rows()} == {
        ("whole", "part"): (6, 6),
        ("whole", "slow"): (14, 14),
    }


def test_long_videos_are_thinned_evenly() -> None:
    chance = np.random.default_rng(3)
    clip = np.repeat(_half_set(chance, 100), 9)  # 900 frames, each instant nine times
    numbers = np.repeat(np.arange(2), len(clip))
    found = find(numbers, np.tile(clip, 2), np.arange(2), DuplicateConfig())
    assert found.thinned == 2
    assert found.pairs.select("matched", "sampled").rows() == [(128, 128)]


def _half_set(chance: np.random.Generator, count: int) -> Hashes:
    """Hashes with 32 bits set, as those of pictures have."""
    bits = chance.permuted(np.repeat([0, 1], 32)[None, :].repeat(count, axis=0), axis=1)
    return np.packbits(bits, axis=1).view(">u8").reshape(-1).astype(np.uint64)


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from("abcd"), st.none() | st.sampled_from("abcd"))))
def test_pairs_of_different_people_are_counted_without_listing_them(rows: list[tuple[str, str, str | None]]) -> None:
    people = pl.DataFrame(rows, schema=dict.fromkeys(("dataset", "target_id", "donor_id"), pl.String), orient="row")
    sure = sum(a[0] == b[0] and not ({a[1], a[2]} & {b[1], b[2]} - {None}) for a, b in combinations(rows, 2))
    assert different_people(people) == sure

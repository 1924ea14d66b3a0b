"""Near-duplicate videos: pairs whose sampled frames match by perceptual hash, in consistent order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from semblance.manifests.config import Config
from semblance.quality.duplicates.bit_bands import Flags, Hashes, Numbers
from semblance.quality.duplicates.hamming_join import COMMON, linked

_FLAT: Final = 4  # bits: half of a perceptual hash is set, unless terms tie as they do in a flat picture
_MOST_FRAMES: Final = 128  # compared of one video: longer ones are thinned evenly
_BLOCK: Final = 1 << 18  # frame pairs compared at a time
_PAIRS: Final = 1 << 18  # video pairs listed at a time


class DuplicateConfig(Config):
    """What makes two videos near-duplicates: at least ``least_frames`` sampled frames, and at least
    ``least_share`` of the shorter one's, match within ``distance`` bits of 64, in consistent order.
    """

    distance: int = Field(default=8, ge=0, le=12)
    least_frames: int = Field(default=5, ge=1)
    least_share: float = Field(default=0.3, ge=0, le=1)

    def needed(self, frames: int) -> int:
        """Matching frames that make a pair whose shorter video has so many."""
        return max(self.least_frames, ceil(self.least_share * frames - 1e-9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """The hashes of videos: those of video v are ``hashes[starts[v]:starts[v + 1]]``, in order of time.

    ``sampled[v]`` frames were sampled of it, flat and common ones included, which are left out of ``hashes``.
    """

    hashes: Hashes
    starts: Numbers
    sampled: Numbers

    def of(self, video: int) -> Hashes:
        return self.hashes[self.starts[video] : self.starts[video + 1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """``pairs``: a, b (places of two videos, a < b), matched, sampled (of the shorter) and family (whether it is
    one); ``sequences`` is what was compared. ``compared`` videos had frames enough; ``flat`` and ``common`` frames
    were no evidence, ``thinned`` videos had more than 128 frames.
    """

    pairs: pl.DataFrame
    sequences: Sequences
    compared: int
    flat: int
    common: int
    thinned: int


def find(
    videos: Numbers, hashes: Hashes, families: Numbers, config: DuplicateConfig, common: int = COMMON
) -> Duplicates:
    """All pairs of near-duplicate videos, without comparing all pairs.

    ``videos`` (N,) are sorted places of the videos in ``families`` (V,), their families' numbers; ``hashes`` (N,)
    stand in order of time. Exact but for what is said to be left out: frames whose hash is flat (fewer than 28 or
    more than 36 bits set), or near more than ``common`` hashes of other families; both match by chance.
    """
    kept, thinned = thin(videos, len(families))
    videos, hashes = videos[kept], hashes[kept]
    sampled = np.bincount(videos, minlength=len(families))
    flat = np.abs(np.bitwise_count(hashes).astype(np.int16) - 32) > _FLAT
    videos, hashes = videos[~flat], hashes[~flat]
    found = linked(hashes, families[videos], config.distance, common)
    shared = np.isin(hashes, found.common)
    videos, hashes = videos[~shared], hashes[~shared]
    starts = np.concatenate([[0], np.cumsum(np.bincount(videos, minlength=len(families)))])
    sequences = Sequences(hashes=hashes, starts=starts, sampled=sampled)
    parts = [_judge(a, b, sequences, families, config) for a, b in candidates(found.pairs, families)]
    return Duplicates(
        pairs=pl.concat(parts).sort("a", "b") if parts else pl.DataFrame(schema=_SCHEMA),
        sequences=sequences,
        compared=int((np.diff(starts) >= config.least_frames).sum()),
        flat=int(flat.sum()),
        common=int(shared.sum()),
        thinned=thinned,
    )


_SCHEMA: Final = {"a": pl.Int64, "b": pl.Int64, "matched": pl.Int64, "sampled": pl.Int64, "family": pl.Boolean}


def chain(a: Hashes, b: Hashes, distance: int) -> list[tuple[int, int]]:
    """The longest list of matching frames (place in a, place in b) that goes forward in both; the nearest of these."""
    far = np.bitwise_count(a[:, None] ^ b[None, :]).astype(np.int64)
    gain = np.where(far <= distance, len(a) * len(b) * 65 - far, -1)  # one match more outweighs all distances
    best = np.zeros((len(a) + 1, len(b) + 1), np.int64)
    for i in range(len(a)):
        stepped = np.maximum(best[i, 1:], best[i, :-1] + np.maximum(gain[i], 0))
        best[i + 1, 1:] = np.maximum.accumulate(stepped)
    i, j, pairs = len(a), len(b), []
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


def different_people(people: pl.DataFrame) -> int:
    """How many pairs of videos are known to show different people: no name appears in both.

    ``people`` has a row for each video with a known target: dataset, target_id, donor_id. Counted without
    listing the pairs: all, less those that share a person, by inclusion and exclusion.
    """
    total = 0
    for (_,), rows in people.group_by(["dataset"]):
        named = rows.select(
            pl.min_horizontal("target_id", pl.col("donor_id").fill_null(pl.col("target_id"))).alias("one"),
            pl.max_horizontal("target_id", pl.col("donor_id").fill_null(pl.col("target_id"))).alias("two"),
        )
        each = pl.concat(
            [named.select(person="one"), named.filter(pl.col("one") != pl.col("two")).select(person="two")]
        )
        both = named.filter(pl.col("one") != pl.col("two")).group_by("one", "two").len()["len"]
        singly = each.group_by("person").len()["len"]
        total += _choose(rows.height) - sum(map(_choose, singly)) + sum(map(_choose, both))
    return total


def _choose(count: int) -> int:
    return count * (count - 1) // 2


def thin(videos: Numbers, count: int, most: int = _MOST_FRAMES) -> tuple[Numbers, int]:
    """Places of at most ``most`` frames of each video, evenly spread, and how many videos had more."""
    sizes = np.bincount(videos, minlength=count)
    rank = np.arange(len(videos)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    size = np.repeat(sizes, sizes)
    # rank r is kept where it is the first with its share r * most // size
    chosen = (size <= most) | (rank * most // size != (rank - 1) * most // size)
    return np.flatnonzero(chosen), int((sizes > most).sum())


def candidates(pairs: Numbers, families: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
    """The pairs of videos of each pair of families, and of each family with itself, some at a time."""
    order = np.argsort(families, kind="stable")
    sizes = np.bincount(families)
    starts = np.cumsum(sizes) - sizes
    own = np.flatnonzero(sizes > 1)
    ends = np.concatenate([pairs, np.stack([own, own], axis=1)])
    counts = sizes[ends[:, 0]] * sizes[ends[:, 1]]
    blocks = np.cumsum(counts) // _PAIRS
    for block in np.unique(blocks):
        inside = blocks == block
        f, g, count = ends[inside, 0], ends[inside, 1], counts[inside]
        rank = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        width = np.repeat(sizes[g], count)
        a = order[np.repeat(starts[f], count) + rank // width]
        b = order[np.repeat(starts[g], count) + rank % width]
        once = np.repeat(f != g, count) | (a < b)
        yield np.minimum(a, b)[once], np.maximum(a, b)[once]


def by_width(widest: Numbers, block: int) -> Iterator[tuple[Numbers, int]]:
    """Places of pairs whose longer video fits a width, with that width: at most ``block`` comparisons at a time."""
    width = 8
    while len(widest) and width < 2 * widest.max():
        of_width = np.flatnonzero((widest <= width) & (widest > (width // 2 if width > 8 else 0)))
        step = max(block // width**2, 1)
        for start in range(0, len(of_width), step):
            yield of_width[start : start + step], width
        width *= 2


def _judge(a: Numbers, b: Numbers, sequences: Sequences, families: Numbers, config: DuplicateConfig) -> pl.DataFrame:
    """Those of the pairs of videos that are near-duplicates."""
    lengths = np.diff(sequences.starts)
    shorter = np.minimum(sequences.sampled[a], sequences.sampled[b])
    least = np.maximum(config.least_frames, np.ceil(config.least_share * shorter - 1e-9)).astype(np.int64)
    able = np.minimum(lengths[a], lengths[b]) >= least
    a, b, shorter, least = a[able], b[able], shorter[able], least[able]
    widest = np.maximum(lengths[a], lengths[b])
    matched = np.zeros(len(a), np.int64)
    for some, width in by_width(widest, _BLOCK):
        matched[some] = _matched(a[some], b[some], least[some], width, sequences, config.distance)
    found = matched >= least
    return pl.DataFrame(
        {
            "a": a[found],
            "b": b[found],
            "matched": matched[found],
            "sampled": shorter[found],
            "family": families[a[found]] == families[b[found]],
        },
        schema=_SCHEMA,
    )


def _matched(
    a: Numbers, b: Numbers, least: Numbers, width: int, sequences: Sequences, distance: int
) -> NDArray[np.int64]:
    """The most frames of each pair (P,) that match going forward in both; 0 where they cannot be ``least``."""
    first_PW, is_first_PW = padded(a, width, sequences)
    second_PW, is_second_PW = padded(b, width, sequences)
    match_PWW = np.bitwise_count(first_PW[:, :, None] ^ second_PW[:, None, :]) <= distance
    match_PWW &= is_first_PW[:, :, None] & is_second_PW[:, None, :]
    enough = (match_PWW.any(2).sum(1) >= least) & (match_PWW.any(1).sum(1) >= least)
    match_PWW = match_PWW[enough]
    best_PW = np.zeros((len(match_PWW), width + 1), np.int64)
    for row in range(width):  # longest common subsequence
        stepped = np.maximum(best_PW[:, 1:], best_PW[:, :-1] + match_PWW[:, row])
        best_PW[:, 1:] = np.maximum.accumulate(stepped, axis=1)
    matched = np.zeros(len(a), np.int64)
    matched[enough] = best_PW[:, -1]
    return matched


def padded(videos: Numbers, width: int, sequences: Sequences) -> tuple[Hashes, Flags]:
    """The hashes of the videos in rows of ``width``, and which of them are any."""
    starts = sequences.starts[videos]
    places = starts[:, None] + np.arange(width)[None, :]
    there = places < sequences.starts[videos + 1][:, None]
    return sequences.hashes[np.where(there, places, 0)], there

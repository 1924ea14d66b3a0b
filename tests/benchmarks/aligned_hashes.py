"""Made-up hashes of aligned faces, as far from each other as real ones, to time the search for candidates:
``python -m tests.benchmarks.aligned_hashes ROWS`` prints seconds, GiB and pairs as JSON.

Measured on 58 tracks of 30 people: the bits are set in 8 to 92 % of faces; strangers differ in 28.5 bits on average
(standard deviation 4.9), two frames of one track in 12.7, two that follow each other in 8.5.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from semblance.quality.duplicates.aligned_search import find_aligned

MEMBERS, FRAMES = 6, 32  # videos a family, faces a video
BITS = 63
COPIES = 200  # families that stand there again, half of them mirrored
_BLOCK = 1000  # families made at a time


@dataclass(frozen=True, kw_only=True)
class Hashes:
    """Videos (N,), the two hashes of each face, the family of each video, and the pairs of families that are copies."""

    videos: NDArray[np.int64]
    own: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    families: NDArray[np.int64]
    copies: set[tuple[int, int]]


def make(rows: int, seed: int = 0) -> Hashes:
    """About ``rows`` faces of families, of which the last ones are copies of the first."""
    chance = np.random.default_rng(seed)
    families = max(rows // (MEMBERS * FRAMES), 2 * COPIES)
    even = np.linspace(-1, 1, BITS)
    bias = norm.ppf(0.5 + 0.42 * np.sign(even) * np.abs(even) ** 1.5)[chance.permutation(BITS)]
    common = chance.standard_normal((8, BITS))  # what faces have in common
    parts = [_family_block(min(_BLOCK, families - first), bias, common, chance) for first in range(0, families, _BLOCK)]
    own, mirrored = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    for place in range(COPIES):  # a few bits differ, and the frames are others of the same
        source, copy = own[place], mirrored[place]
        drawn = np.sort(chance.integers(0, FRAMES, (MEMBERS, FRAMES)), axis=1)
        pair = [np.take_along_axis(side, drawn, axis=1) for side in ((source, copy) if place % 2 else (copy, source))]
        own[-1 - place], mirrored[-1 - place] = (_noisy(side, chance) for side in pair)
    videos = families * MEMBERS
    return Hashes(
        videos=np.repeat(np.arange(videos), FRAMES),
        own=own.reshape(-1),
        mirrored=mirrored.reshape(-1),
        families=np.repeat(np.arange(families), MEMBERS),
        copies={(place, families - 1 - place) for place in range(COPIES)},
    )


def _family_block(
    count: int, bias: NDArray[np.float64], common: NDArray[np.float64], chance: np.random.Generator
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """(count, MEMBERS, FRAMES) hashes and those of the mirror images, of which half of the bits are turned."""
    person = chance.standard_normal((count, BITS), np.float32) * np.sqrt(0.85)
    person += (chance.standard_normal((count, 8)) @ common * np.sqrt(0.15 / 8)).astype(np.float32)
    drift = np.empty((count, FRAMES, BITS), np.float32)
    drift[:, 0] = chance.standard_normal((count, BITS), np.float32)
    for frame in range(1, FRAMES):
        drift[:, frame] = 0.8 * drift[:, frame - 1] + 0.6 * chance.standard_normal((count, BITS), np.float32)
    values = (bias + person)[:, None, None] + 0.65 * drift[:, None]
    values = values + 0.08 * chance.standard_normal((count, MEMBERS, FRAMES, BITS), np.float32)
    sign = np.where(np.arange(BITS) % 2, 1.0, -1.0)  # every other frequency changes its sign
    return _packed(values), _packed(values * sign)


def _packed(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    bits = values > np.median(values, axis=-1, keepdims=True)
    padded = np.concatenate([np.zeros((*bits.shape[:-1], 1), np.bool_), bits], axis=-1)
    return np.packbits(padded, axis=-1).view(">u8")[..., 0].astype(np.uint64)


def _noisy(hashes: NDArray[np.uint64], chance: np.random.Generator) -> NDArray[np.uint64]:
    for _ in range(3):
        hashes = hashes ^ (np.uint64(1) << chance.integers(0, BITS, hashes.shape, np.uint64))
    return hashes


def main() -> None:
    made = make(int(float(sys.argv[1])))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, worked = time.perf_counter(), time.process_time()
    found = find_aligned(made.videos, made.own, made.mirrored, made.families)
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    across = found.pairs.filter(~found.pairs["family"])
    pairs = {(made.families[a], made.families[b]) for a, b in across.select("a", "b").iter_rows()}
    figures = {
        "faces": len(made.own),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "gib_before": round(before / 2**20, 2),
        "gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "copies": len(made.copies),
        "found": len(made.copies & pairs),
        "other_families": len(pairs - made.copies),
        "common": found.common,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

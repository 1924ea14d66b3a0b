"""Candidates for one recording under two names: pairs of videos whose aligned faces match by hash, or by its mirror."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np
import polars as pl

from semblance.quality.duplicates.bit_bands import Hashes, Numbers
from semblance.quality.duplicates.hamming_join import linked
from semblance.quality.duplicates.sequences import Sequences, candidates, padded, thin

# Chosen on fourteen people under nineteen changes (tests/benchmarks/COPIES.md).
DISTANCE: Final = 13  # bits of 63 within which two faces match: those of strangers differ in 14 at least
SEED: Final = 6  # bits within which at least one face of a pair of videos must lie: only these are looked for
LEAST: Final = 5  # faces of each of the two that must match
SHARE: Final = 0.3  # of the faces of the one with fewer
_SEEDS: Final = 16  # faces of a video by which it is looked for, evenly spread
_FLAT: Final = 4  # bits: 31 are set, unless terms tie as they do in a flat picture
_BLOCK: Final = 1 << 18  # pairs of faces compared at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """``pairs``: a, b (places of two videos, a < b), matched (faces of the one with fewer matches), sampled (faces of
    the one with fewer), mirrored (whether its mirror image matches better) and family (whether it is one). ``compared``
    videos had faces enough; ``flat`` and ``common`` faces were no evidence.
    """

    pairs: pl.DataFrame
    compared: int
    flat: int
    common: int


_SCHEMA: Final = {
    **dict.fromkeys(("a", "b", "matched", "sampled"), pl.Int64),
    **dict.fromkeys(("mirrored", "family"), pl.Boolean),
}


def find_aligned(videos: Numbers, own: Hashes, mirrored: Hashes, families: Numbers) -> Candidates:
    """The pairs of videos that share faces, by the hashes of aligned faces and of their mirror images, all (N,).

    ``videos`` are sorted places of the videos in ``families`` (V,), their families' numbers. Copies show
    a face at other moments, so faces need not match in order.
    """
    kept, _ = thin(videos, len(families))
    flat = np.abs(np.bitwise_count(own).astype(np.int16) - 31) > _FLAT
    kept = kept[~flat[kept]]
    videos, own, mirrored = videos[kept], own[kept], mirrored[kept]
    seeds, _ = thin(videos, len(families), _SEEDS)
    groups = families[videos[seeds]]
    beyond = int(families.max(initial=-1)) + 1  # numbers of the mirrored families
    found = linked(np.concatenate([own[seeds], mirrored[seeds]]), np.concatenate([groups, groups + beyond]), SEED)
    near = np.unique(np.sort(found.pairs % max(beyond, 1), axis=1), axis=0)
    near = near[near[:, 0] != near[:, 1]]
    starts = np.concatenate([[0], np.cumsum(np.bincount(videos, minlength=len(families)))])
    of_own, of_mirrored = (
        Sequences(hashes=hashes, starts=starts, sampled=np.diff(starts)) for hashes in (own, mirrored)
    )
    parts = [_judge(a, b, of_own, of_mirrored, families) for a, b in candidates(near, families)]
    pairs = pl.concat(parts).sort("a", "b") if parts else pl.DataFrame(schema=_SCHEMA)
    return Candidates(
        pairs=pairs,
        compared=int((np.diff(starts) >= LEAST).sum()),
        flat=int(flat.sum()),
        common=int(np.isin(own, found.common).sum()),
    )


def needed(faces: int) -> int:
    """Matching faces that make a pair of videos of which the one with fewer has so many."""
    return max(LEAST, ceil(SHARE * faces - 1e-9))


def _judge(a: Numbers, b: Numbers, own: Sequences, mirrored: Sequences, families: Numbers) -> pl.DataFrame:
    """Those of the pairs of videos in which enough faces match in one of the two orientations."""
    fewer = np.minimum(own.sampled[a], own.sampled[b])
    least = np.maximum(LEAST, np.ceil(SHARE * fewer - 1e-9)).astype(np.int64)
    able = fewer >= least
    a, b, fewer, least = a[able], b[able], fewer[able], least[able]
    widest = np.maximum(own.sampled[a], own.sampled[b])
    matched = np.zeros((2, len(a)), np.int64)
    width = 8
    while len(a) and width < 2 * widest.max():
        of_width = np.flatnonzero((widest <= width) & (widest > (width // 2 if width > 8 else 0)))
        step = max(_BLOCK // width**2, 1)
        for start in range(0, len(of_width), step):
            some = of_width[start : start + step]
            matched[0, some] = _matched(a[some], b[some], width, own, own)
            both = [_matched(*ends, width, own, mirrored) for ends in ((a[some], b[some]), (b[some], a[some]))]
            matched[1, some] = np.maximum(*both)  # whichever of the two is mirrored
        width *= 2
    found = matched.max(axis=0, initial=0) >= least
    return pl.DataFrame(
        {
            "a": a[found],
            "b": b[found],
            "matched": matched.max(axis=0, initial=0)[found],
            "sampled": fewer[found],
            "mirrored": matched[1, found] > matched[0, found],
            "family": families[a[found]] == families[b[found]],
        },
        schema=_SCHEMA,
    )


def _matched(a: Numbers, b: Numbers, width: int, first: Sequences, second: Sequences) -> Numbers:
    """How many faces of each pair (P,) match one of the other's, of the video in which fewer do."""
    first_PW, is_first_PW = padded(a, width, first)
    second_PW, is_second_PW = padded(b, width, second)
    match_PWW = np.bitwise_count(first_PW[:, :, None] ^ second_PW[:, None, :]) <= DISTANCE
    match_PWW &= is_first_PW[:, :, None] & is_second_PW[:, None, :]
    return np.minimum(match_PWW.any(2).sum(1), match_PWW.any(1).sum(1)).astype(np.int64)

"""Candidates for one recording under two names: pairs of videos whose aligned faces match by hash, or by its mirror."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from semblance.quality.duplicates.bit_bands import Hashes, Numbers
from semblance.quality.duplicates.hamming_join import linked
from semblance.quality.duplicates.sequences import Sequences, by_width, candidates, padded, thin

# Chosen on fourteen people under nineteen changes (tests/benchmarks/COPIES.md).
DISTANCE: Final = 13  # bits of 63 within which two faces match: those of strangers differ in 14 at least
SEED: Final = 4  # bits within which a face of the one must be to a face of the other: only these are looked for
LEAST: Final = 5  # faces of each of the two that must match
SHARE: Final = 0.3  # of the faces of the one with fewer
_SEEDS: Final = 32  # faces of a video by which it is looked for, evenly spread
_FLAT: Final = 4  # bits: 31 are set, unless terms tie as they do in a flat picture
_NONE: Final = 64  # bits: further than any two hashes
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


def _judge(a: Numbers, b: Numbers, own: Sequences, mirrored: Sequences, families: Numbers) -> pl.DataFrame:
    """Those of the pairs of videos in which enough faces match in one of the two orientations, one of them closely."""
    fewer = np.minimum(own.sampled[a], own.sampled[b])
    able = fewer >= LEAST
    a, b, fewer = a[able], b[able], fewer[able]
    widest = np.maximum(own.sampled[a], own.sampled[b])
    matched, nearest = np.zeros((2, len(a)), np.int64), np.full((2, len(a)), _NONE, np.int64)
    for some, width in by_width(widest, _BLOCK):
        one, other = a[some], b[some]
        matched[0, some], nearest[0, some] = _compared(one, other, width, own, own)
        for ends in ((one, other), (other, one)):  # whichever of the two is mirrored
            count, least = _compared(*ends, width, own, mirrored)
            matched[1, some] = np.maximum(matched[1, some], count)
            nearest[1, some] = np.minimum(nearest[1, some], least)
    least = np.maximum(LEAST, np.ceil(SHARE * fewer - 1e-9)).astype(np.int64)
    straight, turned = (matched >= least) & (nearest <= SEED)
    turned &= ~straight | (matched[1] > matched[0])
    found = straight | turned
    return pl.DataFrame(
        {
            "a": a[found],
            "b": b[found],
            "matched": np.where(turned, matched[1], matched[0])[found],
            "sampled": fewer[found],
            "mirrored": turned[found],
            "family": families[a[found]] == families[b[found]],
        },
        schema=_SCHEMA,
    )


def _compared(a: Numbers, b: Numbers, width: int, first: Sequences, second: Sequences) -> tuple[Numbers, Numbers]:
    """How many faces of each pair (P,) match one of the other's, of the video in which fewer do; the least distance."""
    first_PW, is_first_PW = padded(a, width, first)
    second_PW, is_second_PW = padded(b, width, second)
    far_PWW = np.bitwise_count(first_PW[:, :, None] ^ second_PW[:, None, :])
    far_PWW[~(is_first_PW[:, :, None] & is_second_PW[:, None, :])] = _NONE
    match_PWW = far_PWW <= DISTANCE
    counts = np.minimum(match_PWW.any(2).sum(1), match_PWW.any(1).sum(1))
    return counts.astype(np.int64), far_PWW.min(axis=(1, 2)).astype(np.int64)

"""Assign the bits of 64-bit hashes to bands, so that sorting by bands brings near hashes together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb
from typing import Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Band = tuple[int, int]  # its lowest bit, its width

BITS: Final = 64
_FURTHER: Final = 5  # bands beyond the limit, at most
_MOST_CHOICES: Final = 600
_SORTED: Final = 60  # cost of sorting one hash, in comparisons
_PROBE: Final = 100_000  # hashes from which the cost of a number of bands is estimated
_PROBED: Final = 4  # choices of bands that are tried for it
_PART: Final = 1 << 15  # hashes whose bits are unpacked at a time


def sorted_by(bands: Sequence[Band], hashes: Hashes) -> tuple[Hashes, Numbers]:
    """The bits of the bands, sorted, and the place of each among the hashes.

    Key and place are sorted as one number, which is much faster in NumPy than argsort. If both need
    more than 64 bits the key is truncated: more pairs are compared then, and none is missed.
    """
    width = max(len(hashes) - 1, 1).bit_length()
    keys = np.zeros(len(hashes), np.uint64)
    size = 0
    for lowest, bits in bands:
        taken = min(bits, BITS - width - size)
        keys = keys << np.uint64(taken) | (hashes >> np.uint64(lowest)) & np.uint64((1 << taken) - 1)
        size += taken
    keys = keys << np.uint64(width) | np.arange(len(hashes), dtype=np.uint64)
    keys.sort()
    order = (keys & np.uint64((1 << width) - 1)).astype(np.int64)
    keys >>= np.uint64(width)
    return keys, order


def dealt(hashes: Hashes, limit: int) -> tuple[list[Band], Hashes]:
    """The bands for which the search is cheapest, and the hashes with their bits assigned to these.

    Bits that are nearly always the same, such as the first of a perceptual hash, would make poor keys together. So
    bits are assigned in the order of how balanced they are. The cost of a number of bands is measured on a part.
    """
    probe = hashes[:: max(len(hashes) // _PROBE, 1)]
    best: tuple[float, list[Band], list[int]] | None = None
    order = np.argsort(np.abs(_bits(probe).mean(axis=0) - 0.5) if len(probe) else np.zeros(BITS), kind="stable")
    for count in range(limit + 1, limit + 1 + _FURTHER):
        choices = comb(count, count - limit)
        if choices > _MOST_CHOICES:
            break
        dealt = [order[place::count].tolist() for place in range(count)]
        bits = [bit for band in dealt for bit in band]
        bands, lowest = [], BITS
        for band in dealt:
            lowest -= len(band)
            bands.append((lowest, len(band)))
        pairs = _pairs(bands, _permuted(probe, bits), count - limit) * (len(hashes) / max(len(probe), 1)) ** 2
        cost = choices * (pairs + _SORTED * len(hashes))
        if best is None or cost < best[0]:
            best = cost, bands, bits
    assert best is not None
    return best[1], _permuted(hashes, best[2])


def _pairs(bands: Sequence[Band], hashes: Hashes, chosen: int) -> float:
    """How many pairs of hashes agree in ``chosen`` bands, on average over some choices."""
    choices = list(combinations(bands, chosen))
    tried = choices[:: max(len(choices) // _PROBED, 1)]
    total = 0.0
    for choice in tried:
        _, counts = np.unique(sorted_by(choice, hashes)[0], return_counts=True)
        total += float((counts * (counts - 1.0)).sum()) / 2
    return total / len(tried)


def _bits(hashes: Hashes) -> NDArray[np.uint8]:
    """(N,) -> (N, 64), the highest bit first."""
    return np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)


def _permuted(hashes: Hashes, bits: Sequence[int]) -> Hashes:
    """The hashes with their bits in another order; bit 0 is the highest."""
    parts = []
    for start in range(0, len(hashes), _PART):
        packed = np.packbits(_bits(hashes[start : start + _PART])[:, bits], axis=1)
        parts.append(np.ascontiguousarray(packed).view(">u8").reshape(-1).astype(np.uint64))
    return np.concatenate(parts) if parts else hashes

"""Videos of two families with equal pictures, found in the tables alone: equal bytes or equal hashes."""

from __future__ import annotations

from typing import Final

import polars as pl

LEAST: Final = 3  # frames that two videos must share, or all that the shorter has
SHARE: Final = 0.5  # of the shorter video's frames
_COMMON: Final = 20  # a picture in more families is not evidence: black frames, title cards
_FLAT: Final = 4  # least number of set and of unset bits in an informative hash


def equal_pictures(hashed: pl.DataFrame, numbered: pl.DataFrame) -> pl.DataFrame:
    """Pairs of videos: a, b (numbers, a < b), matched (frames), sampled (frames of the shorter).

    Equal means the same bytes, or the same hash of the crop and of its frame. ``hashed`` is that of
    ``builds.samples``, of which stored crops count, ``numbered`` that of ``builds.videos``. Short clips count too,
    which have too few frames for ``sequences.find``.
    """
    rows = hashed.lazy().filter("stored").join(numbered.lazy().select("number", "family"), on="number")
    bits = pl.col("phash").bitwise_count_ones()
    sound = rows.filter((bits >= _FLAT) & (bits <= 64 - _FLAT))
    by_hash = _pairs(sound.drop_nulls("frame_phash"), ["phash", "frame_phash"])
    pairs = pl.concat([_pairs(rows.drop_nulls("bytes"), ["bytes"]), by_hash]).unique()
    sizes = rows.group_by("number").agg(frames=pl.col("frame_index").n_unique())
    shorter = pl.min_horizontal("frames", "frames_b")
    return (
        pairs.group_by("a", "b")
        .agg(matched=pl.col("frame_index").n_unique())
        .join(sizes, left_on="a", right_on="number")
        .join(sizes, left_on="b", right_on="number", suffix="_b")
        .filter(pl.col("matched") >= pl.min_horizontal(pl.lit(LEAST), shorter))
        .filter(pl.col("matched") >= SHARE * shorter)
        .select(pl.col("a", "b").cast(pl.Int64), pl.col("matched").cast(pl.Int64), sampled=shorter.cast(pl.Int64))
        .sort("a", "b")
        .collect()
    )


def _pairs(rows: pl.LazyFrame, keys: list[str]) -> pl.LazyFrame:
    """Frames of two families that agree in ``keys``, each pair of videos once: a, b, frame_index (of a)."""
    families = rows.group_by(keys).agg(in_families=pl.col("family").n_unique())
    several = families.filter((pl.col("in_families") > 1) & (pl.col("in_families") <= _COMMON)).select(keys)
    some = rows.join(several, on=keys, how="semi").select("number", "family", "frame_index", *keys)
    both = some.join(some, on=keys, suffix="_b")
    return both.filter((pl.col("family") != pl.col("family_b")) & (pl.col("number") < pl.col("number_b"))).select(
        "frame_index", a="number", b="number_b"
    )

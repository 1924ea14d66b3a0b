"""Copied clips of two families: equal pictures and hashes by the tables alone, near-duplicates confirmed on pixels."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from semblance.manifests import scan
from semblance.manifests.records import TRAIN_VAL_TEST
from semblance.quality import builds as audited
from semblance.quality.duplicates.search import near
from semblance.quality.duplicates.sequences import DuplicateConfig

LEAST: Final = 3  # frames that two videos must share, or all that the shorter has
SHARE: Final = 0.5  # of the shorter video's crops
_COMMON: Final = 20  # a picture that more families have is no evidence: black frames, title cards
_PAIRS: Final = {  # the columns of what is found
    "video": pl.String,
    "other": pl.String,
    "split": pl.String,
    "other_split": pl.String,
    "shared": pl.UInt32,
    "share": pl.Float64,
}
_FLAT: Final = 4  # bits set or not set, at least, of a hash that says anything


def find(samples: pl.LazyFrame) -> pl.DataFrame:
    """Pairs of videos of two families with equal pictures: video, other, split, other_split, shared, share.

    Equal means the same bytes, or the same hash of the crop and of its frame. What was encoded anew, cropped or
    mirrored may have other hashes: ``quality audit`` looks for those on pixels.
    """
    rows = samples.select("video_id", "family_id", "split", "frame_index", "sha256", "phash", "frame_phash")
    bits = pl.col("phash").bitwise_count_ones()
    sound = rows.filter((bits >= _FLAT) & (bits <= 64 - _FLAT))
    hashed = _pairs(sound.drop_nulls("frame_phash"), ["phash", "frame_phash"])
    pairs = pl.concat([_pairs(rows.drop_nulls("sha256"), ["sha256"]), hashed]).unique()
    sizes = samples.group_by("video_id").agg(frames=pl.col("frame_index").n_unique())
    shorter = pl.min_horizontal("frames", "frames_other")
    return (
        pairs.group_by("video_id", "video_id_other", "split", "split_other")
        .agg(shared=pl.col("frame_index").n_unique())
        .join(sizes, on="video_id")
        .join(sizes.rename({"video_id": "video_id_other", "frames": "frames_other"}), on="video_id_other")
        .with_columns(share=pl.col("shared") / shorter)
        .filter((pl.col("shared") >= pl.min_horizontal(pl.lit(LEAST), shorter)) & (pl.col("share") >= SHARE))
        .select(
            video="video_id",
            other="video_id_other",
            split="split",
            other_split="split_other",
            shared="shared",
            share=pl.min_horizontal("share", 1.0),
        )
        .sort("video", "other")
        .collect()
    )


def confirmed(out: str, most: int = 500) -> pl.DataFrame:
    """Like ``find``, for near-duplicates as ``quality audit`` finds them; at most ``most`` are compared on pixels."""
    return _confirmed([out], most)


def between(out: str, other: str, most: int = 500) -> pl.DataFrame:
    """Near-duplicates between two builds, ``video`` of the first and ``other`` of the second; columns as ``find``'s.

    Videos of one dataset and family are not told: they are one family, in whichever build. A build has none with
    itself.
    """
    return _confirmed([out, other], most) if out.rstrip("/") != other.rstrip("/") else pl.DataFrame(schema=_PAIRS)


def _confirmed(outs: list[str], most: int) -> pl.DataFrame:
    """Pairs between the first and the last of the builds."""
    builds = audited.read(outs, plan=False)
    numbered = audited.videos(builds)
    hashed = audited.samples(builds, numbered)
    pairs = near(builds, numbered, hashed, DuplicateConfig(), most).pairs.filter(pl.col("confirmed"))
    names = numbered.select("number", "video_id", "split", "build").with_columns(pl.col("number").cast(pl.Int64))
    first, second = (
        names.rename({"number": end, "video_id": name, "split": split, "build": f"build_{end}"})
        for end, name, split in (("a", "video", "split"), ("b", "other", "other_split"))
    )
    return (
        pairs.with_columns(pl.col("a", "b").cast(pl.Int64))
        .join(first, on="a")
        .join(second, on="b")
        .filter((pl.col("build_a") == 0) & (pl.col("build_b") == len(outs) - 1))
        .select(
            "video",
            "other",
            "split",
            "other_split",
            shared=pl.col("matched").cast(pl.UInt32),
            share=(pl.col("matched") / pl.col("sampled")).clip(0, 1),
        )
        .sort("video", "other")
    )


def clusters(pairs: pl.DataFrame) -> list[list[str]]:
    """Videos that pairs join, directly or through others: sorted ids, the largest clusters first."""
    ends = pairs.select("video", "other").to_numpy()
    names, place = np.unique(ends, return_inverse=True)
    a, b = place.reshape(-1, 2).T
    joined = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(len(names), len(names)))
    _, label = connected_components(joined, directed=False)
    found = [sorted(names[label == one].tolist()) for one in range(int(label.max(initial=-1)) + 1)]
    return sorted(found, key=lambda one: (-len(one), one))


def bipartite(pairs: pl.DataFrame) -> list[pl.DataFrame]:
    """The pairs of two builds by cluster, the largest first; in each the pair with most in common first."""
    marked = pairs.with_columns(video="here " + pl.col("video"), other="there " + pl.col("other"))
    place = {name: number for number, names in enumerate(clusters(marked)) for name in names}
    numbered = pairs.with_columns(cluster=marked["video"].replace_strict(place, return_dtype=pl.Int64))
    ordered = numbered.sort(
        "cluster", "shared", "share", "video", "other", descending=[False, True, True, False, False]
    )
    return ordered.partition_by("cluster", maintain_order=True, include_key=False)


def kept(out: str) -> pl.DataFrame:
    """The videos (column video_id) that are left when of each pair on two sides the one further from test is not."""
    pairs = across(every(out))
    near_test = pl.col("split").replace_strict({"test": 0, "val": 1, "train": 2})
    other = pl.col("other_split").replace_strict({"test": 0, "val": 1, "train": 2})
    gone = pairs.select(pl.when(near_test > other).then("video").otherwise("other"))["video"]
    videos = scan(out, "videos").select("video_id").sort("video_id").collect()
    return videos.filter(~pl.col("video_id").is_in(gone.implode()))


def every(out: str) -> pl.DataFrame:
    """Both, each pair of videos once."""
    found = find(scan(out))
    ordered = confirmed(out).with_columns(
        video=pl.min_horizontal("video", "other"),
        other=pl.max_horizontal("video", "other"),
        split=pl.when(pl.col("video") < pl.col("other")).then("split").otherwise("other_split"),
        other_split=pl.when(pl.col("video") < pl.col("other")).then("other_split").otherwise("split"),
    )
    return pl.concat([found, ordered.join(found, on=["video", "other"], how="anti")]).sort("video", "other")


def _pairs(rows: pl.LazyFrame, keys: list[str]) -> pl.LazyFrame:
    """Rows of two families that agree in ``keys``, each pair of videos once, in the order of their ids."""
    count = pl.col("family_id").n_unique()
    several = rows.group_by(keys).agg(count.alias("in_families"))
    several = several.filter((pl.col("in_families") > 1) & (pl.col("in_families") <= _COMMON)).select(keys)
    some = rows.join(several, on=keys, how="semi").select("video_id", "family_id", "split", "frame_index", *keys)
    both = some.join(some, on=keys, suffix="_other")
    return both.filter(
        (pl.col("family_id") != pl.col("family_id_other")) & (pl.col("video_id") < pl.col("video_id_other"))
    ).select("video_id", "video_id_other", "split", "split_other", "frame_index")


def across(found: pl.DataFrame) -> pl.DataFrame:
    """Those on two of train, val and test."""
    sides = TRAIN_VAL_TEST
    return found.filter(
        (pl.col("split") != pl.col("other_split")) & pl.col("split").is_in(sides) & pl.col("other_split").is_in(sides)
    )

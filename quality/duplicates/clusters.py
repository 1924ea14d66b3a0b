"""Group pairs of videos into clusters, for the report."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def clusters(pairs: pl.DataFrame) -> list[list[str]]:
    """Videos connected by pairs, directly or through others: sorted ids, the largest clusters first."""
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


def across(pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs in two different splits of train, val and test."""
    splits = ["train", "val", "test"]
    return pairs.filter(
        (pl.col("split") != pl.col("other_split")) & pl.col("split").is_in(splits) & pl.col("other_split").is_in(splits)
    )

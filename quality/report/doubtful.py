"""The pictures of the list of doubtful labels, with its reasons."""

from __future__ import annotations

from typing import Final

import polars as pl

from semblance.manifests import scan
from semblance.quality.checks.doubtful import FLAG
from semblance.quality.report.gallery import Gallery, Sheet, some

_VIDEOS: Final = 12
_EACH: Final = 4


def sheets(album: Gallery) -> list[Sheet]:
    """A sheet for each of the most doubtful videos, in the order of the list: some kept faces, its label and why."""
    flags = scan(album.out, "flags").filter(pl.col("flag") == FLAG).collect()
    listed = flags.sort("value", "video_id", descending=[True, False]).head(_VIDEOS)
    rows = scan(album.out, flags=False).filter(pl.col("video_id").is_in(listed["video_id"].implode()))
    faces = dict(some(rows, ["video_id"], _EACH))
    found = []
    for name, value, reason in listed.select("video_id", "value", "reason").iter_rows():
        if pictures := faces.get(name):
            label = "fake" if pictures[0]["label"] else "real"
            found.append(album.sheet(f"doubtful ({value:.2f}): {name}, labelled {label}: {reason or ''}", pictures))
    return found

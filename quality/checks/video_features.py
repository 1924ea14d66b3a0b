"""The statistics of ``picture_features`` for videos: a few stored crops of each, read by range, and their mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import polars as pl

from semblance.manifests import build_files, scan
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Image
from semblance.manifests.text import seeded_order
from semblance.quality import codec
from semblance.quality.checks.picture_features import Numbers, Region, features, in_crop
from semblance.shards import read

EACH: Final = 4  # crops of a video: of the same frames in a fake and its original
_READERS: Final = 8
_AHEAD: Final = 64  # pictures read before they are looked at
_COLUMNS: Final = (
    *("sample_id", "video_id", "frame_index", "shard", "tar_offset", "tar_bytes"),
    *("crop_x0", "crop_y0", "crop_side", "box_x0", "box_y0", "box_x1", "box_y1"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFeatures:
    """``values``: video -> region -> mean statistics. ``unreadable`` pictures were left out; ``unknown`` ones do not
    say where their face is, or have too little beside it.
    """

    values: Mapping[str, Mapping[Region, Numbers]]
    unreadable: int
    unknown: int


def of_videos(
    out: str, ids: Sequence[str], regions: Sequence[Region], *, where: pl.Expr | None = None, seed: int = 0
) -> VideoFeatures:
    """Look at up to ``EACH`` kept crops of each of these videos; ``where`` chooses among their rows.

    In aligned crops the place of the face box is not recorded: they are all unknown.
    """
    if build_files.description(out).get("recipe", {}).get("crop", {}).get("kind", "box") != "box":
        return VideoFeatures(values={}, unreadable=0, unknown=len(ids))
    found: dict[str, list[Mapping[Region, Numbers]]] = {}
    unreadable = unknown = 0
    for row, image in _pictures(out, _rows(out, ids, where, seed)):
        place = None if image is None else in_crop(row, image.shape[0])
        seen = None if image is None or place is None else features(image, regions, *place)
        unreadable += image is None
        unknown += image is not None and seen is None
        if seen is not None:
            found.setdefault(row["video_id"], []).append(seen)
    return VideoFeatures(
        values={
            name: {region: np.mean([one[region] for one in several], axis=0) for region in regions}
            for name, several in found.items()
        },
        unreadable=unreadable,
        unknown=unknown,
    )


def _rows(out: str, ids: Sequence[str], where: pl.Expr | None, seed: int) -> list[dict[str, Any]]:
    """The crops to look at, in the order of the tars."""
    wanted = pl.Series(sorted(ids), dtype=pl.String).implode()
    kept = scan(out, flags=False).filter((pl.col("verdict") == "keep") & pl.col("video_id").is_in(wanted))
    sizes = scan(out, "videos").select("video_id", "width", "height").filter(pl.col("video_id").is_in(wanted))
    return (
        (kept if where is None else kept.filter(where))
        .select(_COLUMNS)
        .collect(engine="streaming")
        .with_columns(draw=seeded_order(f"picture features {seed}", "frame_index"))
        .sort("video_id", "draw", "sample_id")
        .group_by("video_id", maintain_order=True)
        .head(EACH)
        .join(sizes.collect(engine="streaming"), on="video_id", how="left")
        .sort("shard", "tar_offset")
        .to_dicts()
    )


def _pictures(out: str, rows: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], Image | None]]:
    """Each row with its picture; None where it cannot be read. Some are read at a time, since a store answers late."""

    def fetched(row: dict[str, Any]) -> Image | None:
        try:
            return codec.decode(read.fetch(out, row))
        except (OSError, SemblanceError, ValueError, cv2.error):
            return None

    with ThreadPoolExecutor(_READERS) as pool:
        for first in range(0, len(rows), _AHEAD):
            part = rows[first : first + _AHEAD]
            yield from zip(part, pool.map(fetched, part), strict=True)

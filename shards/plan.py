"""The shard of every video: fixed before the build, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl
from pydantic import Field

from semblance.manifests.config import Config
from semblance.manifests.ids import digest
from semblance.manifests.records import SPLITS
from semblance.shards.layout import shard_key, tar_path

_PLACE: Final = {split: place for place, split in enumerate(SPLITS)}


class ShardConfig(Config):
    """Shard size, estimated by the plan and never corrected at run time.

    ``bytes_per_crop`` is the size of a 224 px JPEG at quality 95 without chroma subsampling (measured on
    faces: 15 to 30 kB), with its JSON and tar headers; the plan scales it by the crop's area.
    """

    target_bytes: int = Field(default=80_000_000, ge=1)
    bytes_per_crop: int = Field(default=26_000, ge=1)


def assign_shards(
    videos: pl.DataFrame, config: ShardConfig, *, dataset: str, bytes_per_video: int | Mapping[str, int], seed: int
) -> pl.DataFrame:
    """Fill ``shard`` and ``order`` of a table whose ``split`` is set; rows are returned in that order.

    Within a split, a family is in one shard, which may exceed its target size. Families are ordered by hash, originals
    before their fakes. Videos that will not be decoded have no size. ``bytes_per_video``: one estimate for all videos,
    or the known size of each by video_id (default 0).
    """
    columns = ["video_id", "family_id", "split", "label", "fault"]
    rows = videos.select(columns).rows()
    rows.sort(key=lambda row: (_PLACE[row[2]], digest(seed, row[1]), row[3] is None, row[3] or 0, row[0]))
    shards: list[str] = []
    number, held, family, split = -1, 0, None, None
    weights: dict[tuple[str, str], int] = {}
    for video_id, row_family, row_split, _, fault in rows:
        key = (row_split, row_family)
        weight = bytes_per_video.get(video_id, 0) if isinstance(bytes_per_video, Mapping) else bytes_per_video
        weights[key] = weights.get(key, 0) + (0 if fault else weight)
    for _, row_family, row_split, _, _ in rows:
        weight = weights[row_split, row_family]
        if row_split != split:
            number, held = 0, 0
        elif row_family != family and held and weight and held + weight > config.target_bytes:
            number, held = number + 1, 0
        if (row_split, row_family) != (split, family):
            held += weight
        family, split = row_family, row_split
        shards.append(tar_path(shard_key(dataset, row_split, number), row_split))
    placed = pl.DataFrame(
        {"video_id": [row[0] for row in rows], "shard": shards, "order": range(len(rows))},
        schema={"video_id": pl.String, "shard": pl.String, "order": pl.Int64},
    )
    return videos.drop("shard", "order").join(placed, on="video_id", how="left").select(videos.columns).sort("order")

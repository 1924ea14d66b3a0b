"""What an audit reads: the plans of the builds, how many crops each video gave, and the hashes of all samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from semblance.manifests import build_files, leaks, scan, tables
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import FAILURES, SPLITS

SIDE_COLUMNS: Final = leaks.COLUMNS_AUDITED
_PLANNED: Final = ["dataset", "video_id", "label", "family_id", "target_id", "donor_id", "shard", *SIDE_COLUMNS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One build or plan: its table of videos, the protocol that was laid out, and what that promises."""

    name: str  # the path or URL, as it was given
    plan: pl.DataFrame
    protocol: str
    against: str
    shards: bool  # False: a plan alone

    @property
    def promise(self) -> Mapping[str, bool]:
        """Of the protocol that was laid out: see ``leaks.promise``."""
        return leaks.promise(self.protocol, self.against)

    def kinds(self, column: str) -> tuple[str, ...]:
        """What can leak in a protocol's column: held-out methods too where it keeps them apart."""
        by_method = column == "split_method" or (column == "split" and self.protocol == "method")
        return (*leaks.KINDS, "method") if by_method else tuple(leaks.KINDS)


def read(names: Sequence[str], *, plan: bool) -> list[Audited]:
    """The builds, or the plans alone; raises UsageError for one that is named twice, SemblanceError for none."""
    plain_names = [name.rstrip("/") or name for name in names]
    if twice := {name for name in plain_names if plain_names.count(name) > 1}:
        raise UsageError(f"{min(twice)} is named twice; name every build once.")
    return [_read_one(name, plan=plan) for name in plain_names]


def _read_one(name: str, *, plan: bool) -> Audited:
    if not plan and name.endswith(".parquet"):
        raise UsageError(f"{name} is a table, not a build; audit a plan alone with --plan.")
    rows = tables.read_plan(name)
    if not rows.height:
        raise SemblanceError(f"{name} plans no video; there is nothing to audit.")
    described = {} if name.endswith(".parquet") else build_files.description(name)
    split = described.get("recipe", {}).get("split", {})
    protocol = described.get("split") or leaks.protocol_of(rows)
    known = protocol == "official_clean" or protocol in leaks.PROMISES
    return Audited(
        name=name,
        plan=rows,
        protocol=protocol if known else leaks.protocol_of(rows),
        against=split.get("against") or "recording",
        shards=not plan,
    )


def videos(builds: Sequence[Audited]) -> pl.DataFrame:
    """All planned videos that are there, numbered: ``number`` and ``family`` over all builds, ``build`` its place.

    Videos of one dataset and family_id are one family, in whichever build.
    """
    parts = [
        build.plan.filter(pl.col("fault").is_null()).select(pl.lit(place).cast(pl.Int32).alias("build"), *_PLANNED)
        for place, build in enumerate(builds)
    ]
    return (
        pl.concat(parts)
        .with_row_index("number")
        .with_columns(family=pl.struct("dataset", "family_id").rank("dense").cast(pl.Int64) - 1)
    )


def samples(builds: Sequence[Audited], numbered: pl.DataFrame) -> pl.DataFrame:
    """The hashes of every sample, compactly, in order of video, track and frame.

    Columns: number (of the video), frame_index, track, frame_phash, phash, bytes (a 64-bit hash of sha256). About
    35 bytes a row: text is left behind while the parts are read.
    """
    parts = []
    for place, build in enumerate(builds):
        numbers = numbered.filter(pl.col("build") == place).select("video_id", "number").lazy()
        parts.append(
            scan(build.name, flags=False)
            .select(
                "video_id",
                "frame_index",
                "track",
                "frame_phash",
                "phash",
                pl.col("sha256").hash().alias("bytes"),
            )
            .join(numbers, on="video_id")
            .drop("video_id")
            .collect(engine="streaming")
        )
    return pl.concat(parts).sort("number", "track", "frame_index")


def sample_rows(builds: Sequence[Audited], numbered: pl.DataFrame, numbers: Sequence[int]) -> pl.DataFrame:
    """All that is needed to fetch and compare the pictures of some videos, in order of video, track and frame."""
    some = numbered.filter(pl.col("number").is_in(list(numbers))).select("build", "number", "video_id")
    parts = []
    for place, build in enumerate(builds):
        wanted = some.filter(pl.col("build") == place)
        if not wanted.height:
            continue
        sizes = scan(build.name, "videos").select("video_id", "width", "height")
        columns = ["sample_id", "video_id", "shard", "tar_offset", "tar_bytes", "frame_index", "track"]
        rows = scan(build.name, flags=False).select(*columns, "frame_phash", "phash", "crop_x0", "crop_y0", "crop_side")
        keys = wanted["video_id"].implode()
        parts.append(
            rows.filter(pl.col("video_id").is_in(keys))
            .join(sizes.filter(pl.col("video_id").is_in(keys)), on="video_id", how="left")
            .join(wanted.lazy(), on="video_id")
            .collect(engine="streaming")
        )
    return pl.concat(parts).sort("number", "track", "frame_index")


def coverage(build: Audited, numbered: pl.DataFrame, hashed: pl.DataFrame | None) -> list[dict[str, Any]]:
    """One row a side: real and fake videos, those not there, failed or without a crop, crops, and people known."""
    rows = build.plan.select(
        "video_id", "label", "fault", "split", "family_id", named=pl.col("target_id").is_not_null()
    ).with_columns(pl.col("split").fill_null("unassigned"))
    if hashed is not None:
        crops = hashed.group_by("number").len("crops").join(numbered.select("number", "video_id"), on="number")
        statuses = scan(build.name, "videos").select("video_id", "status").collect(engine="streaming")
        rows = rows.join(crops.select("video_id", "crops"), on="video_id", how="left").join(
            statuses, on="video_id", how="left"
        )
    else:
        rows = rows.with_columns(crops=pl.lit(None, pl.UInt32), status=pl.lit(None, pl.String))
    there = pl.col("fault").is_null()
    counted = rows.group_by("split").agg(
        ((pl.col("label") == 0) & there).sum().alias("real"),
        ((pl.col("label") == 1) & there).sum().alias("fake"),
        (~there).sum().alias("absent"),
        pl.col("status").is_in(list(FAILURES)).sum().alias("failed"),
        (pl.col("crops").is_null() & there).sum().alias("empty"),
        pl.col("crops").sum().alias("crops"),
        pl.col("family_id").n_unique().alias("families"),
        (pl.col("named") & there).sum().alias("named"),
    )
    order = {side: place for place, side in enumerate(SPLITS)}
    return sorted(counted.to_dicts(), key=lambda row: order.get(row["split"], len(order)))

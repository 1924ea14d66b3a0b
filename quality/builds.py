"""The input of an audit: plans of the builds, crops per video, and the hashes of all samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from semblance.manifests import build_files, leaks, overlap, persons, scan, splits, storage, tables
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.persons import Persons
from semblance.manifests.records import ALIGNED_HASHES, FAILURES, SPLITS

SIDE_COLUMNS: Final = overlap.COLUMNS_AUDITED
_PLANNED: Final = ["dataset", "video_id", "label", "family_id", "target_id", "donor_id", "shard", *SIDE_COLUMNS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One build or plan: its table of videos, the protocol of its active split, and what that promises."""

    name: str  # path or URL, as given
    plan: pl.DataFrame
    description: Mapping[str, Any]  # dataset.json; empty for a plan alone and for an unfinished build
    protocol: str
    against: str
    shards: bool  # False: a plan alone
    persons: Persons | None = None  # its table of estimated people, if it has one

    @property
    def promise(self) -> Mapping[str, bool]:
        """The promises of the active split's protocol: see ``leaks.promised``."""
        return leaks.promised(self.plan, self.protocol, self.against)

    def shares_run(self, other: Audited) -> bool:
        """Whether one run of `quality persons` saw both builds: only then does a name mean one person in both."""
        return self.persons is not None and other.persons is not None and self.persons.about == other.persons.about

    def kinds(self, column: str) -> tuple[str, ...]:
        """What can leak in a protocol's column: methods too if some are held out for test."""
        return leaks.kinds(column, self.protocol)


def read(names: Sequence[str], *, plan: bool) -> list[Audited]:
    """The builds, or the plans alone; raises UsageError for a duplicate, SemblanceError for what is not a build."""
    plain_names = [name.rstrip("/") or name for name in names]
    if twice := {name for name in plain_names if plain_names.count(name) > 1}:
        raise UsageError(f"{min(twice)} is named twice; give every build once.")
    return [_read_one(name, plan=plan) for name in plain_names]


def _read_one(name: str, *, plan: bool) -> Audited:
    if not plan and name.endswith(".parquet"):
        raise UsageError(f"{name} is a table, not a build; use --plan to audit a plan.")
    rows = tables.read_plan(name)
    if not rows.height:
        raise SemblanceError(f"The plan of {name} has no videos; there is nothing to audit.")
    described = {} if name.endswith(".parquet") else build_files.description(name)
    found = None
    if not name.endswith(".parquet") and storage.exists(persons.url_of(name)):
        found = persons.read(name)
        if rows["persons_estimated"].null_count() == rows.height:
            rows = splits.named(rows, persons.estimates(found))
    protocol, against = leaks.active_protocol(described, rows)
    return Audited(
        name=name, plan=rows, description=described, protocol=protocol, against=against, shards=not plan, persons=found
    )


def videos(builds: Sequence[Audited]) -> pl.DataFrame:
    """All planned videos that are present: ``number`` and ``family`` count across builds, ``build`` is the index.

    Videos with the same dataset and family_id are one family, also across builds.
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


def samples(builds: Sequence[Audited], numbered: pl.DataFrame, least: int) -> pl.DataFrame:
    """The hashes of every sample, compactly, in order of video, track and frame.

    Columns: number (of the video), frame_index, track, frame_phash, phash, bytes (a 64-bit hash of sha256), stored.
    A video with fewer than ``least`` sampled frames has its rejected faces too (not stored, bytes null): a gate must
    not hide a copy. About 36 bytes per row: text columns are dropped while the parts are read.
    """
    parts = []
    columns = ["number", "frame_index", "track", "frame_phash", "phash", "bytes", "stored"]
    for place, build in enumerate(builds):
        numbers = numbered.filter(pl.col("build") == place).select("video_id", "number").lazy()
        hashes = ["video_id", "frame_index", "track", "frame_phash", "phash"]
        stored = (
            scan(build.name, flags=False)
            .select(*hashes, bytes=pl.col("sha256").hash(), stored=pl.lit(value=True))
            .join(numbers, on="video_id")
            .select(columns)
            .collect(engine="streaming")
        )
        sampled = stored.group_by("number").agg(pl.col("frame_index").n_unique())
        enough = sampled.filter(pl.col("frame_index") >= least).lazy()
        rejected = (
            scan(build.name, "rejects")
            .filter((pl.col("unit") == "face") & pl.col("phash").is_not_null())
            .select(*hashes, bytes=pl.lit(None, pl.UInt64), stored=pl.lit(value=False))
            .join(numbers.join(enough, on="number", how="anti"), on="video_id")
            .select(columns)
            .collect(engine="streaming")
        )  # less those that are only marked, and stored as well
        parts += [stored, rejected.join(stored, on=["number", "track", "frame_index"], how="anti")]
    return pl.concat(parts).sort("number", "track", "frame_index")


def faces(builds: Sequence[Audited], numbered: pl.DataFrame) -> pl.DataFrame:
    """The hashes of every aligned face, kept or rejected, in order of video, track and frame.

    Columns: number (of the video), frame_index, track, aligned_phash, aligned_phash_mirrored, stored. A build that was
    made before there were such hashes has none. About 30 bytes per row.
    """
    keys = ["video_id", "frame_index", "track", *ALIGNED_HASHES]
    parts = []
    for place, build in enumerate(builds):
        numbers = numbered.filter(pl.col("build") == place).select("video_id", "number").lazy()
        for stored, rows in ((True, scan(build.name, flags=False)), (False, scan(build.name, "rejects"))):
            parts.append(
                rows.select(*keys, stored=pl.lit(value=stored))
                .drop_nulls("aligned_phash")
                .join(numbers, on="video_id")
                .drop("video_id")
                .collect(engine="streaming")
            )
    every = pl.concat(parts)  # a face that is only marked is in both tables
    return every.sort("number", "track", "frame_index", "stored", descending=[False, False, False, True]).unique(
        ["number", "track", "frame_index"], keep="first", maintain_order=True
    )


def sample_rows(builds: Sequence[Audited], numbered: pl.DataFrame, numbers: Sequence[int]) -> pl.DataFrame:
    """The columns needed to fetch and compare pictures of these videos, in order of video, track and frame."""
    some = numbered.filter(pl.col("number").is_in(list(numbers))).select("build", "number", "video_id")
    parts = []
    for place, build in enumerate(builds):
        wanted = some.filter(pl.col("build") == place)
        if not wanted.height:
            continue
        sizes = scan(build.name, "videos").select("video_id", "width", "height")
        columns = ["sample_id", "video_id", "shard", "tar_offset", "tar_bytes", "frame_index", "track"]
        columns += ["sha256", "frame_phash", "phash", "crop_x0", "crop_y0", "crop_side", "landmarks", *ALIGNED_HASHES]
        rows = scan(build.name, flags=False).select(columns)
        keys = wanted["video_id"].implode()
        parts.append(
            rows.filter(pl.col("video_id").is_in(keys))
            .join(sizes.filter(pl.col("video_id").is_in(keys)), on="video_id", how="left")
            .join(wanted.lazy(), on="video_id")
            .with_columns(**_crop(build))
            .collect(engine="streaming")
        )
    return pl.concat(parts).sort("number", "track", "frame_index")


def _crop(build: Audited) -> dict[str, pl.Expr]:
    """How the recipe cut the crops, as columns: crop_kind (box or aligned) and crop_margin."""
    crop = build.description.get("recipe", {}).get("crop", {})
    return {
        "crop_kind": pl.lit(crop.get("kind", "box"), pl.String),
        "crop_margin": pl.lit(crop.get("margin", 1.3), pl.Float64),
    }


def coverage(build: Audited, numbered: pl.DataFrame, hashed: pl.DataFrame | None) -> list[dict[str, Any]]:
    """One row per split: real and fake videos, those absent, failed or without a crop, crops, families and people.

    ``named``: known people. ``used_real`` and ``used_fake``: videos with a kept crop, or in a plan all that are
    present.
    """
    there = pl.col("fault").is_null()
    rows = build.plan.select(
        "video_id", "label", "fault", "family_id", "target_id", "donor_id", pl.col("split").fill_null("unassigned")
    )
    if hashed is not None:
        stored = hashed.filter("stored").group_by("number").len("crops")
        crops = stored.join(numbered.select("number", "video_id"), on="number").select("video_id", "crops")
        outcomes = scan(build.name, "videos").select("video_id", "status", kept="crops_kept")
        rows = rows.join(crops, on="video_id", how="left").join(
            outcomes.collect(engine="streaming"), on="video_id", how="left"
        )
    else:
        rows = rows.with_columns(
            crops=pl.lit(None, pl.UInt32), status=pl.lit(None, pl.String), kept=there.cast(pl.Int64)
        )
    real, fake = pl.col("label") == 0, pl.col("label") == 1
    people = pl.concat_list("target_id", "donor_id").filter(there).explode(empty_as_null=True)
    counted = rows.group_by("split").agg(
        (real & there).sum().alias("real"),
        (fake & there).sum().alias("fake"),
        (~there).sum().alias("absent"),
        pl.col("status").is_in(list(FAILURES)).sum().alias("failed"),
        (pl.col("crops").is_null() & there).sum().alias("empty"),
        pl.col("crops").sum().alias("crops"),
        pl.col("family_id").n_unique().alias("families"),
        people.drop_nulls().n_unique().alias("named"),
        (real & (pl.col("kept") > 0)).sum().alias("used_real"),
        (fake & (pl.col("kept") > 0)).sum().alias("used_fake"),
    )
    order = {split: place for place, split in enumerate(SPLITS)}
    return sorted(counted.to_dicts(), key=lambda row: order.get(row["split"], len(order)))

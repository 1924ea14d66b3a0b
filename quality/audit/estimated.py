"""The table of estimated people, OUT/manifests/persons.parquet, as an audit counts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from semblance.manifests.records import TRAIN_VAL_TEST
from semblance.quality.audit.evidence import EstimatedPeople, EstimatedPerson
from semblance.quality.builds import Audited


def people(build: Audited) -> EstimatedPeople | None:
    """The estimated people in the active split of a build; None if nobody estimated them."""
    if build.persons is None:
        return None
    return counted(build.persons.rows, build.plan, build.persons.about)


def counted(table: pl.DataFrame, plan: pl.DataFrame, method: Mapping[str, Any]) -> EstimatedPeople:
    """The people of ``table`` (dataset, video_id, person_estimated, by) by the splits of ``plan``."""
    splits = plan.filter(pl.col("split").is_in(TRAIN_VAL_TEST) & pl.col("fault").is_null())
    rows = table.join(splits.select("dataset", "video_id", "split"), on=["dataset", "video_id"])
    held = rows.drop_nulls("person_estimated").unique(["dataset", "video_id", "person_estimated"])
    where = held.group_by(person="person_estimated").agg(
        (pl.col("split") == split).sum().cast(pl.Int64).alias(split) for split in TRAIN_VAL_TEST
    )
    several = where.filter(pl.sum_horizontal(pl.col(split) > 0 for split in TRAIN_VAL_TEST) > 1).sort("person")
    trained = where.filter((pl.col("train") > 0) | (pl.col("val") > 0))["person"].implode()
    tested = held.filter(pl.col("split") == "test").group_by("dataset", "video_id")
    also = tested.agg(pl.col("person_estimated").is_in(trained).any().alias("also"))
    videos = held.select("dataset", "video_id").n_unique()
    return EstimatedPeople(
        people=where.height,
        videos=videos,
        videos_without=splits.height - videos,
        by=dict(rows.group_by(pl.col("by").fill_null("unknown")).len().sort("by").iter_rows()),
        test_videos=also.height,
        test_videos_shared=int(also["also"].sum()),
        shared=[EstimatedPerson(**row) for row in several.iter_rows(named=True)],
        method=dict(method),
    )

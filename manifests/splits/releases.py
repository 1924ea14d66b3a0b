"""When datasets and methods were given out: the one time that is known of most of their videos."""

from __future__ import annotations

import polars as pl

from semblance.manifests.datasets import DATASETS, Release


def release_of(dataset: str, part: str | None, method: str | None) -> Release | None:
    """The release of a video of ``dataset``: of its group (the first folder of ``part``) or method, else of all.

    None where nothing is known, as of a user's own videos.
    """
    return DATASETS[dataset].release_of(part, method) if dataset in DATASETS else None


def with_releases(plan: pl.DataFrame) -> pl.DataFrame:
    """A plan whose ``date`` is the release of each video's dataset or method, null where none is known."""
    groups = plan.select("dataset", "part", "method").unique(maintain_order=True)
    dates = [release and release.date for release in (release_of(*row) for row in groups.iter_rows())]
    table = groups.with_columns(pl.Series("date", dates, pl.String))
    joined = plan.drop("date").join(table, on=groups.columns, how="left", nulls_equal=True, maintain_order="left")
    return joined.select(plan.columns)


def sources_of(plan: pl.DataFrame) -> list[str]:
    """One sentence for each release that a plan's videos have, the oldest first."""
    groups = plan.select("dataset", "part", "method").unique().iter_rows()
    found = {(one.date, group[0], one.source) for group in groups if (one := release_of(*group)) is not None}
    return [f"{dataset} was released {date} ({source})" for date, dataset, source in sorted(found)]

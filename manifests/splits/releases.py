"""Release dates of datasets and methods: for most videos the only known time."""

from __future__ import annotations

import polars as pl

from semblance.manifests.datasets import DATASETS, Release


def release_of(dataset: str, part: str | None, method: str | None) -> Release | None:
    """The release of a video of ``dataset``: that of its group (the first folder of ``part``) or method, else of all.

    None if unknown, as for a user's own videos.
    """
    return DATASETS[dataset].release_of(part, method) if dataset in DATASETS else None


def with_releases(plan: pl.DataFrame) -> pl.DataFrame:
    """A plan whose ``date`` is the release of each video's dataset or method, null if unknown."""
    groups = plan.select("dataset", "part", "method").unique(maintain_order=True)
    dates = [release and release.date for release in (release_of(*row) for row in groups.iter_rows())]
    table = groups.with_columns(pl.Series("date", dates, pl.String))
    joined = plan.drop("date").join(table, on=groups.columns, how="left", nulls_equal=True, maintain_order="left")
    return joined.select(plan.columns)


def sources_of(plan: pl.DataFrame) -> list[str]:
    """One sentence for each release of a plan's videos, the oldest first."""
    groups = plan.select("dataset", "part", "method").unique().iter_rows()
    sources = {
        (release.date, group[0], release.source) for group in groups if (release := release_of(*group)) is not None
    }
    return [f"{dataset} was released {date} ({source})" for date, dataset, source in sorted(sources)]

"""The split protocols, table to table: who stands on which side, and why someone stands on none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import floor
from typing import Final, Literal, Self

import polars as pl
from pydantic import model_validator

from manifests import schema, store
from manifests.recipe import Config
from manifests.records import Split, Video, digest

SIDES: Final[tuple[Split, ...]] = ("train", "val", "test")
Group = tuple[int, int]  # index, weight
_STEPS: Final = 500_000  # of the joint search: about two seconds


class SplitConfig(Config):
    """Which protocol is laid out on disk, and the share of videos that train, val and test should get."""

    protocol: Literal["auto", "family"] = "auto"
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)

    @model_validator(mode="after")
    def _fractions_are_shares(self) -> Self:
        if min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-9:
            raise ValueError("split.fractions must be three shares (train, val, test) that add up to 1")
        return self


def plan_frame(videos: Iterable[Video]) -> pl.DataFrame:
    """Videos as a table with the columns and types of plan.parquet."""
    names = schema.PLAN.names
    rows = [{name: getattr(video, name) for name in names} for video in videos]
    frame = pl.from_arrow(store.to_arrow(rows, "plan"))
    assert isinstance(frame, pl.DataFrame)
    return frame


def to_videos(frame: pl.DataFrame) -> list[Video]:
    """The table's rows as records, in its order."""
    return [Video(**row) for row in frame.iter_rows(named=True)]


def laid_out(videos: pl.DataFrame, config: SplitConfig) -> str:
    """The protocol that ``auto`` comes to for these videos."""
    del videos  # the other protocols look at what identities the names give
    return "family" if config.protocol == "auto" else config.protocol


def assign(videos: pl.DataFrame, config: SplitConfig, seed: int) -> pl.DataFrame:
    """Fill the split columns: each protocol's own, and ``split`` with the one that is laid out.

    Unlabelled videos stand on no side. Does not depend on the order of the rows.
    """
    chosen = f"split_{laid_out(videos, config)}"
    with_family = videos.drop("split_family").join(
        family_sides(videos, config.fractions, seed), on="family_id", how="left", maintain_order="left"
    )
    labelled = pl.col("label").is_not_null()
    return (
        with_family.with_columns(split_family=pl.when(labelled).then("split_family"))
        .with_columns(
            split=pl.col(chosen).fill_null("unassigned"),
            split_note=pl.when(~labelled).then(pl.lit("unlabelled: no usable metadata")),
        )
        .select(videos.columns)
    )


def family_sides(videos: pl.DataFrame, fractions: Sequence[float], seed: int) -> pl.DataFrame:
    """``family_id`` -> ``split_family``: no family on two sides, shares counted in videos.

    Only labelled videos that are there count; a family of none goes to the first side with a share.
    """
    counted = pl.col("label").is_not_null() & pl.col("fault").is_null()
    sizes = videos.group_by("family_id").agg(size=counted.sum()).rows()
    ordered = sorted(sizes, key=lambda row: digest(seed, row[0]))
    sides = divide([size for _, size in ordered], fractions)
    return pl.DataFrame(
        {"family_id": [name for name, _ in ordered], "split_family": sides},
        schema={"family_id": pl.String, "split_family": pl.String},
    )

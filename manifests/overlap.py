"""Ids that appear in more than one of train, val and test: families, people, recordings; pure, table to table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import polars as pl

from semblance.manifests.records import SPLIT_COLUMNS, TRAIN_VAL_TEST
from semblance.manifests.splits import COLUMNS

COLUMNS_AUDITED: Final = tuple(name for name in SPLIT_COLUMNS if name != "split_note")  # the active split first
ESTIMATED: Final = "person_estimated"
KINDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "family": ("family_id",),
        "target": ("target_id",),
        "donor": ("donor_id",),
        "person": ("target_id", "donor_id"),
        "recording": ("recording_id", "donor_recording_id"),
        ESTIMATED: ("persons_estimated",),
    }
)
_OF_FAKES: Final = ("donor", "method")
_THERE: Final = {"side": "other_side", "videos": "other_videos"}
KEYS: Final = ["kind", "dataset", "id"]
_FIGURES: Final = (
    "kind",
    "known",
    "shared",
    "train_val",
    "train_test",
    "val_test",
    "with_test",
    "tests",
    "tests_shared",
    "unknown",
)


def assigned(plan: pl.DataFrame, column: str) -> pl.DataFrame:
    """The videos in train, val or test of ``column``, with ids and ``side`` (the split); without missing files."""
    ids = sorted({name for names in KINDS.values() for name in names})
    return plan.filter(
        pl.col(column).is_in(TRAIN_VAL_TEST) & pl.col("label").is_not_null() & pl.col("fault").is_null()
    ).select("dataset", "video_id", "label", "method", *ids, side=pl.col(column))


def holders(rows: pl.DataFrame, kinds: Sequence[str] = tuple(KINDS)) -> pl.DataFrame:
    """One row per kind, id and video with that id: kind, dataset, id, video_id, side.

    Kind ``method`` covers only the methods of fakes.
    """
    parts = []
    for kind in kinds:
        given = rows.filter(pl.col("label") == 1) if kind == "method" else rows
        held = [
            given.select(pl.lit(kind).alias("kind"), "dataset", _each(column).alias("id"), "video_id", "side")
            .explode("id", empty_as_null=True)
            .drop_nulls("id")
            for column in KINDS.get(kind, (kind,))
        ]
        parts.append(pl.concat(held).unique() if len(held) > 1 else held[0])
    return pl.concat(parts)


def _each(column: str) -> pl.Expr:
    """A column of ids, of which a video may have several, as lists."""
    return pl.col(column) if column == "persons_estimated" else pl.concat_list(column)


def shared(plan: pl.DataFrame, column: str, kinds: Sequence[str] = tuple(KINDS)) -> pl.DataFrame:
    """The ids in more than one split of ``column``: kind, dataset, id, and videos in train, val and test."""
    counted = (
        holders(assigned(plan, column), kinds)
        .group_by(KEYS)
        .agg((pl.col("side") == split).sum().cast(pl.Int64).alias(split) for split in TRAIN_VAL_TEST)
    )
    several = pl.sum_horizontal(pl.col(split) > 0 for split in TRAIN_VAL_TEST) > 1
    return counted.filter(several).sort(KEYS)


def figures(plan: pl.DataFrame, column: str, kinds: Sequence[str] = tuple(KINDS)) -> pl.DataFrame:
    """One row per kind with known ids: how many are in several splits of ``column``.

    ``known`` ids, ``shared`` of them in two or three splits, and between which: ``train_val``, ``train_test``,
    ``val_test``; ``with_test`` in test and in train or val. ``tests`` videos of test have such an id,
    ``tests_shared`` of them one that is in train or val too. ``unknown`` videos, in any split, have none (for
    kinds that only fakes have: fakes). Families are left out if they are unknown (``split_family`` is all null).
    """
    rows = assigned(plan, column)
    if plan["split_family"].null_count() == plan.height:
        kinds = [kind for kind in kinds if kind != "family"]
    held = holders(rows, kinds)
    where = held.group_by(KEYS).agg((pl.col("side") == split).any().alias(split) for split in TRAIN_VAL_TEST)
    train, val, test = (pl.col(split) for split in TRAIN_VAL_TEST)
    ids = where.group_by("kind").agg(
        pl.len().alias("known"),
        ((train & val) | (train & test) | (val & test)).sum().alias("shared"),
        (train & val).sum().alias("train_val"),
        (train & test).sum().alias("train_test"),
        (val & test).sum().alias("val_test"),
        (test & (train | val)).sum().alias("with_test"),
    )
    tests = (
        held.filter(pl.col("side") == "test")
        .join(where, on=KEYS)
        .group_by("kind", "dataset", "video_id")
        .agg((train | val).any().alias("also"))
        .group_by("kind")
        .agg(pl.len().alias("tests"), pl.col("also").sum().alias("tests_shared"))
    )
    videos = held.group_by("kind").agg(pl.struct("dataset", "video_id").n_unique().cast(pl.Int64).alias("named"))
    counts = [name for name in _FIGURES if name != "kind"]
    return (
        pl.DataFrame({"kind": list(kinds)}, schema={"kind": pl.String})
        .join(ids, on="kind", maintain_order="left")
        .join(tests, on="kind", how="left", maintain_order="left")
        .join(videos, on="kind", maintain_order="left")
        .with_columns(
            unknown=pl.when(pl.col("kind").is_in(_OF_FAKES)).then(int(rows["label"].sum())).otherwise(rows.height)
            - pl.col("named")
        )
        .with_columns(pl.col(counts).fill_null(0).cast(pl.Int64))
        .select(_FIGURES)
    )


def parted(plan: pl.DataFrame, column: str) -> pl.DataFrame:
    """Fakes in test whose recording has no real video in test, and the reverse: kind, dataset, id, side.

    ``kind``: ``target_recording`` or ``donor_recording``; ``id`` and ``side``: those of the fake. For side test all
    real videos of the recording are outside test; for the others at least one is in test.
    """
    rows = assigned(plan, column)
    reals = (
        rows.filter((pl.col("label") == 0) & pl.col("recording_id").is_not_null())
        .group_by("dataset", recording="recording_id")
        .agg((pl.col("side") == "test").any().alias("tested"))
    )
    lies_apart = (pl.col("side") == "test") != pl.col("tested")
    parts = [
        rows.filter(pl.col("label") == 1)
        .join(reals, left_on=["dataset", own], right_on=["dataset", "recording"])
        .filter(lies_apart)
        .select(pl.lit(kind).alias("kind"), "dataset", pl.col("video_id").alias("id"), "side")
        for kind, own in (("target_recording", "recording_id"), ("donor_recording", "donor_recording_id"))
    ]
    return pl.concat(parts).sort(KEYS)


def between(plan: pl.DataFrame, other: pl.DataFrame, *, one_run: bool = False) -> pl.DataFrame:
    """The ids of one dataset that two plans share: kind, dataset, id, side, other_side, videos and other_videos.

    One row per pair of active splits (side, other_side). Kind ``video`` is the same video in both plans.
    ``one_run``: whether one run estimated the people of both; otherwise the same name means other people.
    """
    kinds = ("video", *(kind for kind in KINDS if kind != ESTIMATED))
    counted = [
        holders(assigned(one, "split").with_columns(video=pl.col("video_id")), kinds)
        .group_by(*KEYS, "side")
        .agg(pl.len().cast(pl.Int64).alias("videos"))
        for one in (plan, other)
    ]
    others = [counted[0].join(counted[1].rename(_THERE), on=KEYS)]
    if one_run:  # whatever the dataset: that is what the estimate adds
        here, there = (
            holders(assigned(one, "split"), (ESTIMATED,)).group_by(*KEYS, "side").agg(videos=pl.len().cast(pl.Int64))
            for one in (plan, other)
        )
        others.append(here.join(there.drop("dataset").rename(_THERE), on=["kind", "id"]))
    found = pl.concat([one.select(*KEYS, "side", "other_side", "videos", "other_videos") for one in others])
    return (
        found.group_by(*KEYS, "side", "other_side")
        .agg(pl.col("videos", "other_videos").max())
        .sort(*KEYS, "side", "other_side")
    )


def crossing(found: pl.DataFrame) -> pl.DataFrame:
    """The rows of ``between`` where one plan tests what the other trains or validates on."""
    return found.filter((pl.col("side") == "test") != (pl.col("other_side") == "test"))


def of_recordings(plan: pl.DataFrame) -> bool:
    """Whether every id of a person is the name of a recording, so that people in several are not recognised."""
    people, recordings = (
        pl.concat([plan[name].rename(kind) for name in KINDS[kind]]).drop_nulls().unique()
        for kind in ("person", "recording")
    )
    return bool(len(people)) and bool(people.is_in(recordings.implode()).all())


assert set(COLUMNS) == {name.removeprefix("split_") for name in COLUMNS_AUDITED if name != "split"}

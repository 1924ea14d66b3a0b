"""Pairs of videos that show the same frames or one recording in two splits, as rows of the table of leaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from semblance.manifests import overlap
from semblance.manifests.records import TRAIN_VAL_TEST
from semblance.manifests.text import format_columns
from semblance.quality.audit.leak_table import NO_CROP, conformed, tested
from semblance.quality.builds import Audited

_CONFIRMED: Final = ("near_duplicate", "same_recording")  # kinds that were seen on pixels
_SURE: Final = pl.col("confirmed").fill_null(value=False)


def near_duplicates(builds: Sequence[Audited], numbered: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Pairs of videos of two families in two splits: by each column within a build, by the active one between two.

    Kind ``near_duplicate`` was confirmed on pixels, and breaks every protocol. ``shared_recording`` matches by hash
    alone, frame after frame, so it shows other moments or faces of one recording. It breaks the protocols that
    separate recordings, if both videos have crops; pairs known to show different people are excluded.
    """
    matched = format_columns("{} of {} frames match", "matched", "sampled")
    seen = format_columns(
        "{} of {} frames match, {} agree on pixels (correlation {})",
        "matched",
        "sampled",
        "agreed",
        pl.col("likeness").round(3),
    )
    unseen = matched + pl.when("stored").then(pl.lit(", not compared on pixels")).otherwise(pl.lit(NO_CROP))
    other = matched + ", but not on pixels: another moment or another face"
    note = pl.when(_SURE).then(seen).when(pl.col("confirmed").is_null()).then(unseen).otherwise(other)
    return _in_two_splits(builds, _named(numbered, pairs, "near_duplicate", note))


def recordings(builds: Sequence[Audited], numbered: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Pairs of videos of two families that show one recording by their aligned faces, likewise.

    Kind ``same_recording`` was confirmed on pixels and local features, and breaks every protocol. The others match by
    hash alone, and break none: ``shared_recording``, unless known to show different people.
    """
    faces = format_columns("{} of {} faces match by hash", "matched", "sampled")
    seen = format_columns(
        "{} of {} faces match, pixels agree (correlation {}, {} features): {}",
        "matched",
        "sampled",
        pl.col("likeness").round(2),
        "features",
        pl.col("how").replace("", "the same picture, encoded or coloured anew"),
    )
    lacking = pl.when("stored").then(pl.lit(", not compared")).otherwise(pl.lit(NO_CROP))
    note = pl.when(_SURE).then(seen).otherwise(faces + lacking)
    both = _named(numbered, pairs, "same_recording", note).with_columns(stored=pl.lit(value=False))
    return _in_two_splits(builds, both)


def _in_two_splits(builds: Sequence[Audited], both: pl.DataFrame) -> pl.DataFrame:
    """The pairs (of ``_named``) in two splits of a build, and in test of one and train or val of another."""
    parts = []
    for place, build in enumerate(builds):
        own = both.filter((pl.col("build") == place) & (pl.col("build_b") == place))
        for column in overlap.COLUMNS_AUDITED:
            splits = pl.col(column), pl.col(f"{column}_b")
            across = own.filter(
                splits[0].is_in(TRAIN_VAL_TEST) & splits[1].is_in(TRAIN_VAL_TEST) & (splits[0] != splits[1])
            )
            counts = {name: sum((split == name).cast(pl.Int64) for split in splits) for name in TRAIN_VAL_TEST}
            breaks = _breaks(build.promise.get("recording"), pl.any_horizontal(split == "test" for split in splits))
            judged = across.with_columns(**counts, breaks=breaks & pl.lit(value=column == "split"))
            parts.append(conformed(judged, build, column))
    for one in range(len(builds)):
        for other in range(one + 1, len(builds)):
            rows = both.filter((pl.col("build") == one) & (pl.col("build_b") == other)).with_columns(
                side=pl.col("split"), other_side=pl.col("split_b"), other=pl.lit(builds[other].name)
            )
            promised = all("recording" in builds[place].promise for place in (one, other)) or None
            judged = tested(rows).with_columns(breaks=_breaks(promised, pl.lit(value=True)))
            parts.append(conformed(judged, builds[one], "split"))
    return pl.concat(parts)


def _named(numbered: pl.DataFrame, pairs: pl.DataFrame, kind: str, note: pl.Expr) -> pl.DataFrame:
    """The pairs with kind (``kind`` if confirmed), id and note, and the columns of both videos (the second's in _b)."""
    columns = ["number", "build", "dataset", "video_id", *overlap.COLUMNS_AUDITED]
    return (
        pairs.filter(_SURE | ~pl.col("strangers"))
        .with_columns(pl.col("a", "b").cast(numbered.schema["number"]))
        .join(numbered.select(columns), left_on="a", right_on="number")
        .join(numbered.select(columns), left_on="b", right_on="number", suffix="_b")
        .with_columns(
            kind=pl.when(_SURE).then(pl.lit(kind)).otherwise(pl.lit("shared_recording")),
            id=format_columns("{}+{}", "video_id", "video_id_b"),
            note=note,
        )
    )


def _breaks(recordings: bool | None, with_test: pl.Expr) -> pl.Expr:
    """Which pairs break; ``recordings``: what is promised of them (None: nothing; False: test alone)."""
    sure = pl.col("kind").is_in(_CONFIRMED)
    return sure if recordings is None else sure | (pl.col("stored") & (pl.lit(value=recordings) | with_test))

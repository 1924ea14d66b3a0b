"""The table of offending ids: one row a leak, whether it breaks the audit, and whether it was allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from semblance.manifests import leaks, scan, storage, tables
from semblance.manifests.errors import UsageError
from semblance.manifests.records import TRAIN_VAL_TEST
from semblance.manifests.storage.retry import reason
from semblance.manifests.text import format_columns
from semblance.manifests.user_tables import SUFFIXES, read_user_table
from semblance.quality.builds import Audited

LEAKS: Final[dict[str, type[pl.DataType]]] = {
    "build": pl.String,  # as it was named
    "other": pl.String,  # the second build of a leak between two
    "column": pl.String,  # of which protocol: split is the one that was laid out
    "kind": pl.String,
    "dataset": pl.String,
    "id": pl.String,  # of a pair of videos both, with a "+" between; of equal pictures their SHA-256
    "train": pl.Int64,  # videos (of kind bytes pictures) on each side; null between builds
    "val": pl.Int64,
    "test": pl.Int64,
    "side": pl.String,  # between builds: the side in the first; of a fake apart from its recording: its own
    "other_side": pl.String,
    "note": pl.String,
    "breaks": pl.Boolean,  # whether the audit fails for it
    "allowed": pl.Boolean,
}
ALWAYS: Final = ("video", "family", "bytes", "near_duplicate")  # what may never cross from one build's test to another
_TABLES: Final = (*SUFFIXES, ".txt")
_ACCEPTED: Final = "The list of accepted leaks"


def inside(build: Audited) -> pl.DataFrame:
    """The ids on several sides of each protocol's column, and the fakes apart from their recordings."""
    parts = []
    told_twice = ("person",) if leaks.of_recordings(build.plan) else ()
    promise = {kind: sides for kind, sides in build.promise.items() if kind not in told_twice}
    for column in leaks.COLUMNS_AUDITED:
        found = leaks.shared(build.plan, column, build.kinds(column))
        broken = leaks.breaking(found, promise if column == "split" else {}).select("kind", "dataset", "id")
        rows = found.join(broken.with_columns(breaks=True), on=["kind", "dataset", "id"], how="left")
        parts.append(_rows(rows.with_columns(pl.col("breaks").fill_null(value=False)), build, column))
        note = pl.when(side="test").then(pl.lit("real videos of its recording lie outside test"))
        apart = leaks.parted(build.plan, column).with_columns(
            note=note.otherwise(pl.lit("real videos of its recording lie in test"))
        )
        parts.append(_rows(apart, build, column))
    return pl.concat(parts)


def equal_inside(
    build: Audited, place: int, numbered: pl.DataFrame, hashed: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, tuple[int, int]]]:
    """Pictures of equal bytes on several sides, and by column how many stand on any, how many of them on several."""
    own = numbered.filter(pl.col("build") == place)
    crops = hashed.select("number", "bytes").join(own, on="number")
    repeated = crops.filter(pl.col("bytes").is_duplicated())
    parts, counts = [], {}
    for column in leaks.COLUMNS_AUDITED:
        standing = int(crops[column].is_in(TRAIN_VAL_TEST).sum())
        found = repeated.group_by("bytes", "dataset").agg(
            (pl.col(column) == side).sum().cast(pl.Int64).alias(side) for side in TRAIN_VAL_TEST
        )
        several = found.filter(pl.sum_horizontal(pl.col(side) > 0 for side in TRAIN_VAL_TEST) > 1)
        counts[column] = standing, int(several.select(pl.sum_horizontal(TRAIN_VAL_TEST).sum()).item() or 0)
        named = several.join(_names(build, several["bytes"]), on="bytes")
        breaks = pl.lit(value=column == "split")
        parts.append(_rows(named.with_columns(kind=pl.lit("bytes"), breaks=breaks), build, column))
    return pl.concat(parts), {column: count for column, count in counts.items() if count[0]}


def equal_between(
    builds: Sequence[Audited], pair: tuple[int, int], numbered: pl.DataFrame, hashed: pl.DataFrame
) -> pl.DataFrame:
    """Equal pictures of two builds in the form of ``leaks.between``."""
    sided = hashed.select("number", "bytes").join(
        numbered.filter(pl.col("split").is_in(TRAIN_VAL_TEST)).select("number", "build", "dataset", side="split"),
        on="number",
    )
    counted = [
        sided.filter(pl.col("build") == place).group_by("bytes", "dataset", "side").agg(pl.len().alias("videos"))
        for place in pair
    ]
    both = counted[0].join(counted[1].select("bytes", other_side="side", other_videos="videos"), on="bytes")
    return both.join(_names(builds[pair[0]], both["bytes"].unique()), on="bytes").select(
        pl.lit("bytes").alias("kind"),
        "dataset",
        "id",
        "side",
        "other_side",
        pl.col("videos").cast(pl.Int64),
        pl.col("other_videos").cast(pl.Int64),
    )


def near_pairs(builds: Sequence[Audited], numbered: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Confirmed near-duplicates on two sides: of each column inside a build, of what is laid out between two."""
    columns = ["number", "build", "dataset", "video_id", *leaks.COLUMNS_AUDITED]
    both = (
        pairs.filter(pl.col("confirmed"))
        .with_columns(pl.col("a", "b").cast(numbered.schema["number"]))
        .join(numbered.select(columns), left_on="a", right_on="number")
        .join(numbered.select(columns), left_on="b", right_on="number", suffix="_b")
        .with_columns(
            kind=pl.lit("near_duplicate"),
            id=format_columns("{}+{}", "video_id", "video_id_b"),
            note=format_columns(
                "{} of {} frames match, {} agree on pixels (correlation {})",
                "matched",
                "sampled",
                "agreed",
                pl.col("likeness").round(3),
            ),
        )
    )
    parts = []
    for place, build in enumerate(builds):
        own = both.filter((pl.col("build") == place) & (pl.col("build_b") == place))
        for column in leaks.COLUMNS_AUDITED:
            sides = pl.col(column), pl.col(f"{column}_b")
            across = own.filter(
                sides[0].is_in(TRAIN_VAL_TEST) & sides[1].is_in(TRAIN_VAL_TEST) & (sides[0] != sides[1])
            )
            counts = {side: sum((one == side).cast(pl.Int64) for one in sides) for side in TRAIN_VAL_TEST}
            parts.append(_rows(across.with_columns(**counts, breaks=pl.lit(value=column == "split")), build, column))
    for one in range(len(builds)):
        for other in range(one + 1, len(builds)):
            rows = both.filter((pl.col("build") == one) & (pl.col("build_b") == other)).with_columns(
                side=pl.col("split"), other_side=pl.col("split_b"), other=pl.lit(builds[other].name)
            )
            parts.append(_rows(_crossing(rows).with_columns(breaks=True), builds[one], "split"))
    return pl.concat(parts)


def between_builds(builds: Sequence[Audited], pair: tuple[int, int], shared: pl.DataFrame) -> pl.DataFrame:
    """What one of two builds tests and the other trains or validates with."""
    one, other = (builds[place] for place in pair)
    kinds = [*ALWAYS, *(one.promise.keys() & other.promise.keys())]
    rows = _crossing(shared).with_columns(
        other=pl.lit(other.name),
        note=format_columns("{} there, {} in the other", "videos", "other_videos"),
        breaks=pl.col("kind").is_in(kinds),
    )
    return _rows(rows, one, "split")


def allowed(table: pl.DataFrame, names: Sequence[str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """``table`` with the leaks that ``names`` accept marked, and those names that are no leak.

    A name is an id, ``kind:id``, one video of a pair, or a file of such: a table with column ``id`` (and ``kind``),
    such as --to writes, or a text with one a line. Raises UsageError for a file that is not there.
    """
    wanted = [name for given in names for name in _listed(given)]
    candidates = table.select(
        "kind",
        "id",
        names=pl.concat_list("id", format_columns("{}:{}", "kind", "id"), pl.col("id").str.split("+")),
    )
    hit = candidates.select(pl.col("names").list.eval(pl.element().is_in(wanted)).list.any()).to_series()
    known = set(candidates["names"].explode(empty_as_null=True).drop_nulls())
    return table.with_columns(allowed=hit.fill_null(value=False)), tuple(
        sorted({name for name in wanted if name not in known})
    )


def write(table: pl.DataFrame, to: str) -> None:
    """The table as CSV or Parquet, whole or not at all."""
    storage.write_bytes(to, table.write_csv().encode() if to.endswith(".csv") else tables.parquet(table))


def _listed(given: str) -> list[str]:
    if not given.endswith(_TABLES):
        return [given]
    if given.endswith(".txt"):
        try:
            return [line.strip() for line in storage.read_bytes(given).decode().splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{_ACCEPTED} {given} cannot be read ({reason(error)}); give a text with one id a line, or a table "
                "with a column id, such as `quality audit --to` writes."
            ) from error
    frame = read_user_table(given, _ACCEPTED, {"id": str}, error=UsageError)
    names = frame.select(format_columns("{}:{}", "kind", "id")).to_series() if "kind" in frame.columns else frame["id"]
    return names.drop_nulls().to_list()


def _names(build: Audited, values: pl.Series) -> pl.DataFrame:
    """bytes, id (SHA-256) and note (the first and last of the samples) of pictures given by the hash of their hash."""
    if not len(values):
        return pl.DataFrame(schema={"bytes": pl.UInt64, "id": pl.String, "note": pl.String})
    wanted = values.unique().to_frame("bytes").lazy()
    rows = scan(build.name, flags=False).select("sha256", "sample_id", pl.col("sha256").hash().alias("bytes"))
    return (
        rows.join(wanted, on="bytes")
        .group_by("bytes")
        .agg(
            pl.col("sha256").min().alias("id"),
            format_columns("{} and {}", pl.col("sample_id").min(), pl.col("sample_id").max()).alias("note"),
        )
        .collect(engine="streaming")
    )


def _crossing(rows: pl.DataFrame) -> pl.DataFrame:
    """One side is test, the other train or val."""
    there = pl.col("side").is_in(TRAIN_VAL_TEST) & pl.col("other_side").is_in(TRAIN_VAL_TEST)
    return leaks.crossing(rows.filter(there))


def _rows(rows: pl.DataFrame, build: Audited, column: str) -> pl.DataFrame:
    """``rows`` with all columns of ``LEAKS``; those they lack are null, ``breaks`` false."""
    given = rows.with_columns(build=pl.lit(build.name), column=pl.lit(column), allowed=pl.lit(value=False))
    if "breaks" not in given.columns:
        given = given.with_columns(breaks=pl.lit(value=False))
    return given.select(
        (pl.col(name) if name in given.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in LEAKS.items()
    )

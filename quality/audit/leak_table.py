"""The table of leaking ids: one row per leak, with whether it breaks the audit and whether it is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from semblance.manifests import leaks, overlap, scan, storage, tables
from semblance.manifests.errors import UsageError
from semblance.manifests.records import TRAIN_VAL_TEST
from semblance.manifests.storage.retry import reason
from semblance.manifests.text import format_columns
from semblance.manifests.user_tables import SUFFIXES, read_user_table
from semblance.quality.builds import Audited

LEAKS: Final[dict[str, type[pl.DataType]]] = {
    "build": pl.String,  # as given
    "other": pl.String,  # the second build of a leak between two
    "column": pl.String,  # protocol column; split is the active one
    "kind": pl.String,
    "dataset": pl.String,
    "id": pl.String,  # for a pair, both videos joined by "+"; for equal pictures, their SHA-256
    "train": pl.Int64,  # videos (pictures for kind bytes) in each split; null between builds
    "val": pl.Int64,
    "test": pl.Int64,
    "side": pl.String,  # between builds: the split in the first; for a fake apart from its recording: its own
    "other_side": pl.String,
    "note": pl.String,
    "breaks": pl.Boolean,  # whether the audit fails for it
    "allowed": pl.Boolean,
}
ALWAYS: Final = (
    "video",
    "family",
    "bytes",
    "near_duplicate",
    "same_recording",
)  # never of one build's test and another
_TABLES: Final = (*SUFFIXES, ".txt")
_ACCEPTED: Final = "The list of accepted leaks"
NO_CROP: Final = ", not confirmed: no crop of one"  # ends the note of a pair of which a video has no stored crop
PAIRS: Final = ("near_duplicate", "same_recording", "shared_recording")  # kinds whose id is two videos
COPIES: Final = ("bytes", *PAIRS)  # kinds that pictures show, whatever the names say


def inside(build: Audited) -> pl.DataFrame:
    """The ids in several splits under each protocol, and fakes in another split than their recording."""
    parts = []
    for column in overlap.COLUMNS_AUDITED:
        if column == "split":
            rows = leaks.isolation(build.plan, build.protocol, build.against)
        else:
            rows = overlap.shared(build.plan, column, build.kinds(column))
        parts.append(conformed(rows, build, column))
        note = pl.when(side="test").then(pl.lit("real videos of its recording lie outside test"))
        apart = overlap.parted(build.plan, column).with_columns(
            note=note.otherwise(pl.lit("real videos of its recording lie in test"))
        )
        parts.append(conformed(apart, build, column))
    return pl.concat(parts)


def equal_inside(
    build: Audited, place: int, numbered: pl.DataFrame, hashed: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, tuple[int, int]]]:
    """Pictures of equal bytes in several splits; and by column, how many are in any split and in several."""
    own = numbered.filter(pl.col("build") == place)
    crops = hashed.select("number", "bytes").drop_nulls().join(own, on="number")
    repeated = crops.filter(pl.col("bytes").is_duplicated())
    parts, counts = [], {}
    for column in overlap.COLUMNS_AUDITED:
        assigned = int(crops[column].is_in(TRAIN_VAL_TEST).sum())
        found = repeated.group_by("bytes", "dataset").agg(
            (pl.col(column) == split).sum().cast(pl.Int64).alias(split) for split in TRAIN_VAL_TEST
        )
        several = found.filter(pl.sum_horizontal(pl.col(split) > 0 for split in TRAIN_VAL_TEST) > 1)
        counts[column] = assigned, int(several.select(pl.sum_horizontal(TRAIN_VAL_TEST).sum()).item() or 0)
        named = several.join(_names(build, several["bytes"]), on="bytes")
        breaks = pl.lit(value=column == "split")
        parts.append(conformed(named.with_columns(kind=pl.lit("bytes"), breaks=breaks), build, column))
    return pl.concat(parts), {column: count for column, count in counts.items() if count[0]}


def equal_between(
    builds: Sequence[Audited], pair: tuple[int, int], numbered: pl.DataFrame, hashed: pl.DataFrame
) -> pl.DataFrame:
    """Equal pictures of two builds in the form of ``overlap.between``."""
    assigned = (
        hashed.select("number", "bytes")
        .drop_nulls()
        .join(
            numbered.filter(pl.col("split").is_in(TRAIN_VAL_TEST)).select("number", "build", "dataset", side="split"),
            on="number",
        )
    )
    counted = [
        assigned.filter(pl.col("build") == place).group_by("bytes", "dataset", "side").agg(pl.len().alias("videos"))
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


def between_builds(builds: Sequence[Audited], pair: tuple[int, int], shared: pl.DataFrame) -> pl.DataFrame:
    """What one of two builds tests and the other trains or validates with."""
    one, other = (builds[place] for place in pair)
    kinds = [*ALWAYS, *(one.promise.keys() & other.promise.keys())]
    rows = tested(shared).with_columns(
        other=pl.lit(other.name),
        note=format_columns("{} there, {} in the other", "videos", "other_videos"),
        breaks=pl.col("kind").is_in(kinds),
    )
    return conformed(rows, one, "split")


def allowed(table: pl.DataFrame, names: Sequence[str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """``table`` with the leaks that ``names`` accept marked, and the names that match no leak.

    A name is an id, ``kind:id``, one video of a pair, or a file that lists them: a table with column ``id`` (and
    ``kind``), as --to writes, or a text file with one per line. Raises UsageError if the file cannot be read.
    """
    accepted = [name for given in names for name in _listed(given)]
    candidates = table.select(
        "kind",
        "id",
        names=pl.concat_list("id", format_columns("{}:{}", "kind", "id"), pl.col("id").str.split("+")),
    )
    hit = candidates.select(pl.col("names").list.eval(pl.element().is_in(accepted)).list.any()).to_series()
    known = set(candidates["names"].explode(empty_as_null=True).drop_nulls())
    return table.with_columns(allowed=hit.fill_null(value=False)), tuple(
        sorted({name for name in accepted if name not in known})
    )


def kept(table: pl.DataFrame, plan: pl.DataFrame) -> pl.DataFrame:
    """The videos (column video_id) that remain if the video further from test is dropped from each breaking pair.

    ``table`` holds the leaks of one build, ``plan`` is its plan.
    """
    broken = table.filter(pl.col("breaks") & ~pl.col("allowed") & pl.col("kind").is_in(PAIRS))
    ends = broken.select(pl.col("id").str.split("+").list.to_struct(fields=["a", "b"])).unnest("id")
    rank = dict(
        zip(
            plan["video_id"],
            plan["split"].fill_null("unassigned").replace_strict({"test": 0, "val": 1, "train": 2}, default=3),
            strict=True,
        )
    )
    dropped = {a if rank[a] > rank[b] else b for a, b in ends.iter_rows()}
    return plan.select("video_id").filter(~pl.col("video_id").is_in(list(dropped))).sort("video_id")


def write(table: pl.DataFrame, to: str) -> None:
    """Write the table as CSV or Parquet, atomically."""
    storage.write_bytes(to, table.write_csv().encode() if to.endswith(".csv") else tables.parquet(table))


def _listed(given: str) -> list[str]:
    if not given.endswith(_TABLES):
        return [given]
    if given.endswith(".txt"):
        try:
            return [line.strip() for line in storage.read_bytes(given).decode().splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{_ACCEPTED} {given} cannot be read ({reason(error)}); give a text file with one id per line, or a "
                "table with a column id, as `quality audit --to` writes."
            ) from error
    frame = read_user_table(given, _ACCEPTED, {"id": str}, error=UsageError)
    names = frame.select(format_columns("{}:{}", "kind", "id")).to_series() if "kind" in frame.columns else frame["id"]
    return names.drop_nulls().to_list()


def _names(build: Audited, values: pl.Series) -> pl.DataFrame:
    """bytes, id (SHA-256) and note (first and last sample) of pictures given by the hash of their SHA-256."""
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


def tested(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows where one split is test and the other train or val."""
    assigned = pl.col("side").is_in(TRAIN_VAL_TEST) & pl.col("other_side").is_in(TRAIN_VAL_TEST)
    return overlap.crossing(rows.filter(assigned))


def conformed(rows: pl.DataFrame, build: Audited, column: str) -> pl.DataFrame:
    """``rows`` with all columns of ``LEAKS``; missing ones are null, ``breaks`` false."""
    given = rows.with_columns(build=pl.lit(build.name), column=pl.lit(column), allowed=pl.lit(value=False))
    if "breaks" not in given.columns:
        given = given.with_columns(breaks=pl.lit(value=False))
    return given.select(
        (pl.col(name) if name in given.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in LEAKS.items()
    )

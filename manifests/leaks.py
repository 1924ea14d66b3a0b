"""Who stands on two of train, val and test: families, people, recordings; pure, table to table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import polars as pl

from semblance.manifests.records import SPLIT_COLUMNS, TRAIN_VAL_TEST
from semblance.manifests.splits import COLUMNS

COLUMNS_AUDITED: Final = tuple(name for name in SPLIT_COLUMNS if name != "split_note")  # the laid-out split first
KINDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "family": ("family_id",),
        "target": ("target_id",),
        "donor": ("donor_id",),
        "person": ("target_id", "donor_id"),
        "recording": ("recording_id", "donor_recording_id"),
    }
)
WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "family": "families",
        "target": "targets",
        "donor": "donors",
        "person": "people",
        "recording": "recordings",
        "method": "held-out methods",
    }
)
# What each protocol promises to keep apart, and whether from each other on all three sides (or test from the rest).
PROMISES: Final[Mapping[str, Mapping[str, bool]]] = MappingProxyType(
    {
        "family": {"family": True},
        "identity": {"family": True, "person": True, "recording": True},
        "method": {"family": True, "method": False},
        "temporal": {"family": True},
        "official": {"family": True, "person": True, "recording": True},
    }
)
_OF_FAKES: Final = ("donor", "method")
_KEYS: Final = ["kind", "dataset", "id"]


def promise(protocol: str, against: str = "recording") -> Mapping[str, bool]:
    """Kind -> whether train and val must not share it either; test shares it with neither.

    ``official`` promises nothing of its own: what it shares is told as leaks of the published split, so that
    whoever lays it out knows. ``official_clean`` keeps test apart in what ``against`` names.
    """
    return {against: False} if protocol == "official_clean" else PROMISES[protocol]


def protocol_of(plan: pl.DataFrame) -> str:
    """The protocol that column ``split`` lays out, told from the columns themselves; the strictest where several do.

    Part of the official sides is ``official_clean``. ``family`` where none fits: an original with its fakes is the
    least that any split should keep together.
    """
    for name in ("identity", "family", "method", "temporal", "official"):
        own = pl.col(f"split_{name}").fill_null("unassigned")
        if plan.select((pl.col("split") == own).all() & pl.col(f"split_{name}").is_not_null().any()).item():
            return name
    sided = plan.filter(pl.col("split") != "unassigned")
    same = sided.select((pl.col("split") == pl.col("split_official")).fill_null(value=False).all()).item()
    return "official_clean" if sided.height and same else "family"


def standing(plan: pl.DataFrame, column: str) -> pl.DataFrame:
    """The videos that stand on a side of ``column``, with their ids and ``side``; what is not there counts nowhere."""
    ids = sorted({name for names in KINDS.values() for name in names})
    return plan.filter(
        pl.col(column).is_in(TRAIN_VAL_TEST) & pl.col("label").is_not_null() & pl.col("fault").is_null()
    ).select("dataset", "video_id", "label", "method", *ids, side=pl.col(column))


def holders(rows: pl.DataFrame, kinds: Sequence[str] = tuple(KINDS)) -> pl.DataFrame:
    """A row for each kind, id and video that has it: kind, dataset, id, video_id, side.

    Of kind ``method`` are the methods of the fakes alone.
    """
    parts = []
    for kind in kinds:
        given = rows.filter(pl.col("label") == 1) if kind == "method" else rows
        held = [
            given.select(
                pl.lit(kind).alias("kind"), "dataset", pl.col(column).alias("id"), "video_id", "side"
            ).drop_nulls("id")
            for column in KINDS.get(kind, (kind,))
        ]
        parts.append(pl.concat(held).unique() if len(held) > 1 else held[0])
    return pl.concat(parts)


def shared(plan: pl.DataFrame, column: str, kinds: Sequence[str] = tuple(KINDS)) -> pl.DataFrame:
    """The ids that stand on more than one side of ``column``: kind, dataset, id, and videos in train, val and test."""
    counted = (
        holders(standing(plan, column), kinds)
        .group_by(_KEYS)
        .agg((pl.col("side") == side).sum().cast(pl.Int64).alias(side) for side in TRAIN_VAL_TEST)
    )
    several = pl.sum_horizontal(pl.col(side) > 0 for side in TRAIN_VAL_TEST) > 1
    return counted.filter(several).sort(_KEYS)


def breaking(found: pl.DataFrame, promised: Mapping[str, bool]) -> pl.DataFrame:
    """The rows of ``shared`` that break a promise."""
    everywhere = [kind for kind, all_sides in promised.items() if all_sides]
    from_test = (pl.col("test") > 0) & pl.col("kind").is_in(list(promised))
    return found.filter(pl.col("kind").is_in(everywhere) | from_test)


def figures(plan: pl.DataFrame, column: str, kinds: Sequence[str] = tuple(KINDS)) -> pl.DataFrame:
    """One row a kind of which any id is known: how much of it stands on several sides of ``column``.

    ``known`` ids, ``shared`` of them on two sides or three, and between which: ``train_val``, ``train_test``,
    ``val_test``; ``with_test`` in test and in train or val. ``tests`` videos of test have such an id,
    ``tests_shared`` of them one that stands in train or val too. ``unknown`` videos, on any side, have none (of
    kinds that only fakes have, fakes). Families that nothing tells (``split_family`` is null throughout) are left
    out.
    """
    rows = standing(plan, column)
    if plan["split_family"].null_count() == plan.height:
        kinds = [kind for kind in kinds if kind != "family"]
    held = holders(rows, kinds)
    where = held.group_by(_KEYS).agg((pl.col("side") == side).any().alias(side) for side in TRAIN_VAL_TEST)
    train, val, test = (pl.col(side) for side in TRAIN_VAL_TEST)
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
        .join(where, on=_KEYS)
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


_TOLD: Final = ("family", "person", "recording")
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


def parted(plan: pl.DataFrame, column: str) -> pl.DataFrame:
    """Fakes that test has and their recording's real videos not, and the reverse: kind, dataset, id, side.

    ``kind``: ``target_recording`` or ``donor_recording``; ``id``: the fake's; ``side``: the fake's. On side test no
    real video of the recording stands in test, and one elsewhere; on the others one stands in test.
    """
    rows = standing(plan, column)
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
    return pl.concat(parts).sort(_KEYS)


def between(plan: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """The ids of one dataset that two plans share: kind, dataset, id, side, other_side, videos and other_videos.

    A row for each pair of sides. Kind ``video`` is the same video in both. Sides are those laid out.
    """
    kinds = ("video", *KINDS)
    counted = [
        holders(standing(one, "split").with_columns(video=pl.col("video_id")), kinds)
        .group_by(*_KEYS, "side")
        .agg(pl.len().cast(pl.Int64).alias("videos"))
        for one in (plan, other)
    ]
    return (
        counted[0]
        .join(counted[1].rename({"side": "other_side", "videos": "other_videos"}), on=_KEYS)
        .select(*_KEYS, "side", "other_side", "videos", "other_videos")
        .sort(*_KEYS, "side", "other_side")
    )


def crossing(found: pl.DataFrame) -> pl.DataFrame:
    """The rows of ``between`` where one plan tests what the other trains or validates with."""
    return found.filter((pl.col("side") == "test") != (pl.col("other_side") == "test"))


def of_recordings(plan: pl.DataFrame) -> bool:
    """Whether every id of a person is the name of a recording: then nothing tells who stands in several."""
    people, recordings = ({one for name in KINDS[kind] for one in plan[name].drop_nulls()} for kind in _TOLD[1:])
    return bool(people) and people <= recordings


def sentences(plan: pl.DataFrame, protocol: str) -> list[str]:
    """For the datasheet: who stands on two sides, a sentence for each protocol, that which is laid out first."""
    said = []
    for column in COLUMNS_AUDITED:
        if column == f"split_{protocol}" or not standing(plan, column).height:
            continue
        found = figures(plan, column, ("family", "recording") if of_recordings(plan) else _TOLD)
        parts = [
            f"{row['shared']} of {row['known']} {WORDS[row['kind']]}"
            + (
                f" ({row['with_test']} of them in test and elsewhere, seen in {row['tests_shared']} of {row['tests']} "
                "test videos that name one)"
                if row["shared"]
                else ""
            )
            for row in found.iter_rows(named=True)
        ]
        name = f"the split laid out ({protocol})" if column == "split" else column
        if parts:
            said.append(f"{name}: on two of train, val and test stand {', '.join(parts)}")
    return said


assert set(COLUMNS) == {name.removeprefix("split_") for name in COLUMNS_AUDITED if name != "split"}

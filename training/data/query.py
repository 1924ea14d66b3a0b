"""Queries over the manifests of builds: which pictures are used, and how many are excluded for which reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import polars as pl

from semblance.manifests import scan
from semblance.manifests.config import Config
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import SPLIT_COLUMNS, SPLITS
from semblance.training.data import units
from semblance.training.data.shards import Shard, locate
from semblance.training.data.units import UnitConfig

_COLUMNS: Final = (
    "sample_id",
    "video_id",
    "dataset",
    "label",
    "face_label",
    "method",
    "compression",
    "family_id",
    "shard",
    "tar_offset",
    "tar_bytes",
    "frame_index",
    "track",
    "person",
    "crop_x0",
    "crop_y0",
    "crop_side",
    "guide",
)
_ONLY_FOR_PAIRS: Final = ("tar_bytes", "crop_x0", "crop_y0", "crop_side", "guide")
# The only place that knows what a missing person means: the track stands for it, as a number that no person has.
_PERSON: Final = pl.coalesce("person", -1 - pl.col("track").fill_null(0)).alias("person")
_PROTOCOLS: Final = tuple(name for name in SPLIT_COLUMNS if name != "split_note")


class QueryConfig(Config):
    """Which rows of a build are used.

    ``split_column`` is the split protocol (``split``: the active one). ``query`` is any condition in Polars' SQL over
    a row's columns, e.g. ``compression = 'c23' AND blur > 80``. ``exclude_flags`` names flags of manifests/flags
    (label noise, duplicates) whose samples are excluded. ``verdicts: all`` also takes crops that failed a gate but
    were stored, as builds in gate mode ``mark`` do.
    """

    split_column: str = "split"
    query: str | None = None
    exclude_flags: tuple[str, ...] = ()
    verdicts: Literal["keep", "all"] = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many rows a query selected, and how many it excluded for which reason.

    The numbers add up to ``listed``; ``+`` sums builds.
    """

    listed: int = 0  # rows in this split
    gated: int = 0  # stored, but with a failed gate
    flagged: int = 0
    outside: int = 0  # the condition is false
    unlabelled: int = 0  # face_label is null: nobody knows whether this face of a fake was altered
    incomplete: int = 0  # no partner for a pair, or a track shorter than a clip
    selected: int = 0  # rows that are in some unit

    def __add__(self, other: Counts) -> Counts:
        names = self.__dataclass_fields__
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def __str__(self) -> str:
        reasons = {
            "failed a gate": self.gated,
            "are flagged": self.flagged,
            "do not meet the condition": self.outside,
            "have no face label": self.unlabelled,
            "have no partner or too short a track": self.incomplete,
        }
        excluded = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
        return f"{self.selected} of {self.listed} pictures" + (f" ({excluded})" if excluded else "")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Selection:
    """The result of a query: units, their pictures, and the shards that hold these.

    ``pictures``: one row per picture of a unit, sorted by ``unit`` and the position in it, ``member``. ``person`` is
    never null: where the build does not know the person, it is -1 - track. ``units``: one
    row per unit, with dataset, method, target, weight, shard (an index of ``shards``) and place (the tar offset at
    which its last picture starts). The order of both depends on ids only.
    """

    pictures: pl.DataFrame
    units: pl.DataFrame
    shards: tuple[Shard, ...]
    counts: Counts
    split: str
    outs: tuple[str, ...]

    @property
    def members(self) -> int:
        """Pictures per unit."""
        return self.pictures.height // max(self.units.height, 1)

    @property
    def note(self) -> str | None:
        """That tracks are scored instead of persons, and for how many pictures; None if every person is known."""
        unknown = int((self.pictures["person"] < 0).sum())
        if not unknown:
            return None
        return (
            f"{self.split} of {', '.join(self.outs)}: {unknown} of {self.pictures.height} pictures have no person (cut "
            "before schema 5.1, or perhaps no face); each of their tracks counts as a person."
        )


def select(
    outs: Sequence[str],
    split: str,
    query: QueryConfig | None = None,
    unit: UnitConfig | None = None,
    *,
    condition: pl.Expr | None = None,
    weight: str | pl.Expr | None = None,
    unlabelled: bool = False,
) -> Selection:
    """Select the pictures of one split of several builds.

    ``condition`` is a Polars expression that must hold in addition to the ``query``'s own. ``weight``, an expression
    or SQL, says how often a picture is drawn relative to others. It is evaluated over the remaining rows, so
    ``1.0 / count(*) OVER (PARTITION BY video_id)`` gives all videos the same weight. ``unlabelled`` keeps rows whose
    ``face_label`` is null, which the score of a video needs; their target is null.

    Raises UsageError for an unknown split, column or expression, SemblanceError if no picture remains.
    """
    query, unit = query or QueryConfig(), unit or UnitConfig()
    if split not in SPLITS:
        raise UsageError(f"Unknown split {split!r}; choose one of {', '.join(SPLITS)}.")
    if query.split_column not in _PROTOCOLS:
        raise UsageError(f"Unknown split column {query.split_column!r}; choose one of {', '.join(_PROTOCOLS)}.")
    outs = tuple(out.rstrip("/") for out in outs)
    if len(set(outs)) < len(outs):
        raise UsageError(f"The same build is named twice: {', '.join(outs)}.")
    counts, tables = Counts(), []
    for source, out in enumerate(outs):
        rows, excluded = _rows(out, split, query, condition, weight, unlabelled)
        counts += excluded
        tables.append(rows.with_columns(source=pl.lit(source, pl.Int32)))
    rows = pl.concat(tables).sort("dataset", "sample_id", "source") if tables else pl.DataFrame()
    if rows.is_empty():
        raise SemblanceError(
            f"Split {split} of {', '.join(outs)} is empty under column {query.split_column}: {counts}; "
            "choose another split, or loosen the condition."
        )
    pictures = units.unite(rows, unit)
    selected = pictures.select("source", "sample_id").n_unique() if pictures.height else 0
    counts += Counts(incomplete=rows.height - selected, selected=selected)
    if pictures.is_empty():
        raise SemblanceError(
            f"Split {split} of {', '.join(outs)} has no {unit.mode}: {counts}; "
            "use single frames, or sample more frames per video."
        )
    shards, pictures = locate(outs, pictures.drop(_ONLY_FOR_PAIRS))
    return Selection(
        pictures=pictures, units=units.summarise(pictures), shards=shards, counts=counts, split=split, outs=outs
    )


def cover(selection: Selection, frames: int) -> Selection:
    """The same pictures as clips of ``frames``, which ``units.cover`` makes: all of them, and some in two clips."""
    pictures = units.cover(selection.pictures, frames)
    return replace(selection, pictures=pictures, units=units.summarise(pictures))


def together(selections: Sequence[Selection]) -> Selection:
    """Selections of frames of one split as one; raises ValueError for clips or pairs, or if there is none."""
    if any(one.members != 1 for one in selections) or len({one.split for one in selections}) != 1:
        raise ValueError("selections can be joined if they are frames of one split")
    outs = tuple(dict.fromkeys(out for one in selections for out in one.outs))
    shards = tuple(dict.fromkeys(shard for one in selections for shard in one.shards))
    tables = []
    for one in selections:
        source = {place: outs.index(out) for place, out in enumerate(one.outs)}
        shard = {place: shards.index(found) for place, found in enumerate(one.shards)}
        tables.append(
            one.pictures.with_columns(
                pl.col("source").replace_strict(source, return_dtype=pl.Int32),
                pl.col("shard").replace_strict(shard, return_dtype=pl.Int32),
            )
        )
    rows = pl.concat(tables).sort("dataset", "sample_id", "source")
    pictures = rows.with_columns(unit=pl.int_range(pl.len(), dtype=pl.Int32))
    return Selection(
        pictures=pictures,
        units=units.summarise(pictures),
        shards=shards,
        counts=sum((one.counts for one in selections), Counts()),
        split=selections[0].split,
        outs=outs,
    )


def check_classes(selection: Selection) -> None:
    """Raise SemblanceError if all targets are of one class: nothing can be learned or measured on them."""
    targets = selection.pictures["target"]
    real, fake = int((targets == 0).sum()), int((targets == 1).sum())
    if not real or not fake:
        present, missing = ("fake", "real") if fake else ("real", "fake")
        raise SemblanceError(
            f"Split {selection.split} of {', '.join(selection.outs)} has {max(real, fake)} {present} pictures and no "
            f"{missing} ones ({selection.counts}); choose another split or condition, or add a build that has them."
        )


def _rows(
    out: str,
    split: str,
    query: QueryConfig,
    condition: pl.Expr | None,
    weight: str | pl.Expr | None,
    unlabelled: bool,
) -> tuple[pl.DataFrame, Counts]:
    predicate = _expression(query.query, "condition") if query.query is not None else pl.lit(True)
    if condition is not None:
        predicate = predicate & condition
    weights = _expression(weight, "weight") if isinstance(weight, str) else weight
    try:
        listed = scan(out).filter(pl.col(query.split_column) == split).collect()
        passed = listed if query.verdicts == "all" else listed.filter(pl.col("verdict") == "keep")
        flags = pl.col("flags").list.eval(pl.element().is_in(list(query.exclude_flags))).list.any()
        clean = passed.filter(~flags)
        inside = clean.filter(predicate)
        rows = inside if unlabelled else inside.filter(pl.col("face_label").is_not_null())
        rows = rows.with_columns(weight=pl.lit(1.0) if weights is None else weights.cast(pl.Float64))
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"The condition or weight cannot be used on {out}: {reason}. `manifests schema samples` lists the columns."
        ) from error
    if rows.height and not (rows["weight"].is_finite() & (rows["weight"] >= 0)).fill_null(False).all():
        raise UsageError(
            f"The weight gives null, negative or infinite values on {out}; make it a number of at least 0."
        )
    counts = Counts(
        listed=listed.height,
        gated=listed.height - passed.height,
        flagged=passed.height - clean.height,
        outside=clean.height - inside.height,
        unlabelled=inside.height - rows.height,
    )
    rows = rows.select(*_COLUMNS, "weight").with_columns(_PERSON, target=pl.col("face_label").cast(pl.Float32))
    return rows, counts


def _expression(text: str, purpose: str) -> pl.Expr:
    try:
        return pl.sql_expr(text)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"The {purpose} {text!r} is not a valid SQL expression ({reason}).") from error

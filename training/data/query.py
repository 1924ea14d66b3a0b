"""Which pictures: a query over the manifests of one or several builds, counted where it leaves something out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from semblance.manifests import scan
from semblance.manifests.config import Config
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import SPLIT_COLUMNS, SPLITS
from semblance.training.data import shards as shardlist
from semblance.training.data import units
from semblance.training.data.shards import Shard
from semblance.training.data.units import UnitConfig

_NEEDED: Final = (
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
    "crop_x0",
    "crop_y0",
    "crop_side",
    "guide",
)
_ONLY_TO_PAIR: Final = ("tar_bytes", "crop_x0", "crop_y0", "crop_side", "guide")
_PROTOCOLS: Final = tuple(name for name in SPLIT_COLUMNS if name != "split_note")


class QueryConfig(Config):
    """Which rows of a build are used.

    ``split_column`` is the protocol that divides (``split`` is the one that was laid out). ``query`` is any condition
    in Polars' SQL over a row's columns, e.g. ``compression = 'c23' AND blur > 80``. ``exclude_flags`` names judgements
    of manifests/flags (label noise, duplicates) whose samples are left out. ``verdicts: all`` also takes crops that
    a build in gate mode ``mark`` stored though they failed.
    """

    split_column: str = "split"
    query: str | None = None
    exclude_flags: tuple[str, ...] = ()
    verdicts: Literal["keep", "all"] = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a query found and what it left out, and why; the numbers add up. ``+`` sums builds."""

    listed: int = 0  # rows on this side of the split
    gated: int = 0  # stored, but with a failed gate
    flagged: int = 0
    outside: int = 0  # of the condition
    unlabelled: int = 0  # face_label is null: which face of the fake was altered is unknown
    alone: int = 0  # without a partner, or in a track shorter than a clip
    chosen: int = 0  # rows that are in some unit

    def __add__(self, other: Counts) -> Counts:
        names = self.__dataclass_fields__
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def __str__(self) -> str:
        reasons = {
            "failed a gate": self.gated,
            "are flagged": self.flagged,
            "are outside the condition": self.outside,
            "have no face label": self.unlabelled,
            "have no partner or too short a track": self.alone,
        }
        left = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
        return f"{self.chosen} of {self.listed} pictures" + (f" ({left})" if left else "")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Selection:
    """The answer to a query: units, the pictures in them, and the shards that hold these.

    ``pictures``: a row a picture in a unit, sorted by ``unit`` and its place in it. ``units``: a row a unit, with
    dataset, method, target, weight, shard (an index of ``shards``) and place (where in the tar it is complete).
    The order of both depends on ids alone.
    """

    pictures: pl.DataFrame
    units: pl.DataFrame
    shards: tuple[Shard, ...]
    counts: Counts
    side: str
    outs: tuple[str, ...]

    @property
    def members(self) -> int:
        """Pictures in a unit."""
        return self.pictures.height // max(self.units.height, 1)


def select(
    outs: Sequence[str],
    side: str,
    query: QueryConfig | None = None,
    unit: UnitConfig | None = None,
    *,
    condition: pl.Expr | None = None,
    weight: str | pl.Expr | None = None,
    unlabelled: bool = False,
) -> Selection:
    """The pictures of one side of several builds.

    ``condition`` is a Polars expression beside the ``query``'s own; ``weight`` one (or SQL) for how often a picture
    is drawn relative to others, evaluated over the rows that are left, so that e.g. ``1.0 / count(*) OVER
    (PARTITION BY video_id)`` weighs videos alike. ``unlabelled`` keeps rows whose ``face_label`` is null, as the
    scores of whole videos need them; their target is null.

    Raises UsageError for a side, column or expression that does not exist, SemblanceError where nothing is left.
    """
    query, unit = query or QueryConfig(), unit or UnitConfig()
    if side not in SPLITS:
        raise UsageError(f"There is no split {side!r}; choose one of {', '.join(SPLITS)}.")
    if query.split_column not in _PROTOCOLS:
        raise UsageError(f"There is no split column {query.split_column!r}; choose one of {', '.join(_PROTOCOLS)}.")
    outs = tuple(out.rstrip("/") for out in outs)
    if len(set(outs)) < len(outs):
        raise UsageError(f"The same build is named twice: {', '.join(outs)}.")
    counts, frames = Counts(), []
    for source, out in enumerate(outs):
        rows, found = _rows(out, side, query, condition, weight, unlabelled)
        counts += found
        frames.append(rows.with_columns(source=pl.lit(source, pl.Int32)))
    rows = pl.concat(frames).sort("dataset", "sample_id", "source") if frames else pl.DataFrame()
    if rows.is_empty():
        raise SemblanceError(
            f"The {side} side of {', '.join(outs)} is empty under column {query.split_column}: {counts}; "
            "choose another split, or loosen the condition."
        )
    pictures = units.unite(rows, unit)
    chosen = pictures.select("source", "sample_id").n_unique() if pictures.height else 0
    counts += Counts(alone=rows.height - chosen, chosen=chosen)
    if pictures.is_empty():
        raise SemblanceError(
            f"The {side} side of {', '.join(outs)} has no {unit.mode}: {counts}; "
            "take single frames, or another sampling."
        )
    shards, pictures = shardlist.find(outs, pictures.drop(_ONLY_TO_PAIR))
    return Selection(
        pictures=pictures, units=units.summarise(pictures), shards=shards, counts=counts, side=side, outs=outs
    )


def check_classes(chosen: Selection) -> None:
    """Raise SemblanceError where all targets are of one class: nothing can be learned or measured there."""
    targets = chosen.pictures["target"]
    real, fake = int((targets == 0).sum()), int((targets == 1).sum())
    if not real or not fake:
        has, lacks = ("fake", "real") if fake else ("real", "fake")
        raise SemblanceError(
            f"The {chosen.side} side of {', '.join(chosen.outs)} has {max(real, fake)} {has} pictures and no {lacks} "
            f"one ({chosen.counts}); choose another split or condition, or add a build that has them."
        )


def _rows(
    out: str,
    side: str,
    query: QueryConfig,
    condition: pl.Expr | None,
    weight: str | pl.Expr | None,
    unlabelled: bool,
) -> tuple[pl.DataFrame, Counts]:
    asked = _expression(query.query, "condition") if query.query is not None else pl.lit(True)
    if condition is not None:
        asked = asked & condition
    weighing = _expression(weight, "weight") if isinstance(weight, str) else weight
    try:
        rows = scan(out).filter(pl.col(query.split_column) == side).collect()
        listed = rows.height
        kept = rows if query.verdicts == "all" else rows.filter(pl.col("verdict") == "keep")
        flags = pl.col("flags").list.eval(pl.element().is_in(list(query.exclude_flags))).list.any()
        clean = kept.filter(~flags)
        wanted = clean.filter(asked)
        known = wanted if unlabelled else wanted.filter(pl.col("face_label").is_not_null())
        known = known.with_columns(weight=pl.lit(1.0) if weighing is None else weighing.cast(pl.Float64))
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"The condition or weight cannot be used on {out}: {reason}. `manifests schema samples` lists the columns."
        ) from error
    if known.height and not (known["weight"].is_finite() & (known["weight"] >= 0)).fill_null(False).all():
        raise UsageError(
            f"The weight gives null, negative or infinite values on {out}; make it a number of at least 0."
        )
    counts = Counts(
        listed=listed,
        gated=listed - kept.height,
        flagged=kept.height - clean.height,
        outside=clean.height - wanted.height,
        unlabelled=wanted.height - known.height,
    )
    return known.select(*_NEEDED, "weight").with_columns(target=pl.col("face_label").cast(pl.Float32)), counts


def _expression(text: str, what: str) -> pl.Expr:
    try:
        return pl.sql_expr(text)
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"The {what} {text!r} is no SQL expression ({str(error).splitlines()[0]}).") from error

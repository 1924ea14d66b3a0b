"""The faces of a build as its gates judged them, and what other limits would keep of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from semblance.manifests import scan
from semblance.quality.measures import registry
from semblance.quality.measures.measure import Gate, Measure
from semblance.shards.repack.subset import REASON as NOT_KEPT

Side = Literal["low", "high"]
Limits = Mapping["End", float | None]  # None: no limit on that end
_PLACE: Final = ("frame_index", "track")
_ROW: Final = ("video_id", "family_id", "label", "method", "compression", *_PLACE, "guide", "ita")
_CLOSE: Final = 2.0**-23  # relative: tables hold 32 bits, the gates judged 64
_CLOSE_PX: Final = 1e-3  # of a box side, the difference of two such numbers


@dataclass(frozen=True, slots=True)
class End:
    """One limit of a gate: the lowest or the highest value that passes."""

    key: str  # in the recipe: gates.<key>
    side: Side
    reason: str
    column: str  # of the values
    two_sided: bool

    @property
    def name(self) -> str:
        """``blur``, or ``brightness low`` where the gate has two limits."""
        return f"{self.key} {self.side}" if self.two_sided else self.key

    def looser(self, one: float, other: float) -> bool:
        """Whether the limit ``one`` keeps more than ``other``."""
        return one < other if self.side == "low" else one > other

    def fails(self, values: NDArray[np.float64], limit: float) -> NDArray[np.bool_]:
        """Which values miss the limit; an unknown one (NaN) never does."""
        return values < limit if self.side == "low" else values > limit

    def close(self, limit: float) -> float:
        """The distance from ``limit`` within which a table cannot say whether a value passes."""
        return _CLOSE_PX if self.column == "side" else _CLOSE * abs(limit)


def _ends(measure: Measure[Any], gate: Gate) -> tuple[End, ...]:
    both = len(gate.reasons) == 2
    sides: tuple[tuple[Side, str | None], ...] = (("low", gate.below), ("high", gate.above))
    return tuple(End(gate.key, side, reason, measure.name, both) for side, reason in sides if reason is not None)


ENDS: Final = tuple(end for measure, gate in registry.GATED for end in _ends(measure, gate))
KEYS: Final = tuple(dict.fromkeys(end.key for end in ENDS))


def present(gates: Mapping[str, Any]) -> dict[End, float | None]:
    """The limits of a recipe's ``gates``; a gate that an older recipe does not have is off."""
    bounds = {gate.key: gate.bounds(gates.get(gate.key)) for _, gate in registry.GATED}
    return {end: bounds[end.key][0 if end.side == "low" else 1] for end in ENDS}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Faces:
    """The N faces of a build that its gates decide, and the values they are judged by.

    ``table``: video_id, family_id, label, method, ita, side, the measures, and kept (by the build). ``values``: by
    column, NaN where unknown; ``failed``: by reason, as the build recorded it; of a guided face under ``pairs:
    together`` both are its original's. ``fixed``: guided faces whose original's is not in the build: their verdict
    stays. ``guided``: faces that take their original's verdict. ``aside``: faces that no limit decides, because a
    larger face or a list took precedence; they are not among the N.
    """

    table: pl.DataFrame
    values: Mapping[str, NDArray[np.float64]]
    failed: Mapping[str, NDArray[np.bool_]]
    fixed: NDArray[np.bool_]
    now: Limits
    guided: int
    aside: int

    @property
    def labels(self) -> tuple[int, ...]:
        """The labels that the faces have."""
        return tuple(sorted(self.table["label"].unique()))

    def passing(self, limits: Limits, ends: Sequence[End] = ENDS) -> NDArray[np.bool_]:
        """Which faces (N,) pass these ends under ``limits``. At the build's own limits its verdicts count."""
        good = np.ones(self.table.height, np.bool_)
        for end in ends:
            limit = limits[end]
            if limit is not None:
                own = limit == self.now[end]
                fails = self.failed[end.reason] if own else end.fails(self.values[end.column], limit)
                good &= ~fails
        return np.where(self.fixed, self.table["kept"].to_numpy(), good)


def read(out: str, gates: Mapping[str, Any]) -> Faces:
    """The faces of the build ``out``, whose recipe has these ``gates``; the order is that of video, frame and track."""
    everything = _judged(out)
    own = everything.with_row_index("row")
    judge = own["row"].to_numpy().astype(np.int64)
    guided = (own["guide"] == "original").fill_null(value=False) & (own["label"] == 1)
    missing = np.zeros(own.height, np.bool_)
    if gates.get("pairs", "together") == "together" and guided.any():
        partner = _partners(out, own)
        judge = np.where(guided.to_numpy() & (partner >= 0), partner, judge)
        missing = guided.to_numpy() & (partner < 0)
    inside = ~own["aside"].to_numpy()
    values = {end.column: own[end.column].cast(pl.Float64).fill_null(np.nan).to_numpy()[judge][inside] for end in ENDS}
    failed = {end.reason: own["reasons"].list.contains(end.reason).to_numpy()[judge][inside] for end in ENDS}
    return Faces(
        table=everything.filter(~pl.col("aside")),
        values=values,
        failed=failed,
        fixed=missing[inside],
        now=present(gates),
        guided=int((judge != own["row"].to_numpy())[inside].sum()),
        aside=int((~inside).sum()),
    )


def rejected(out: str) -> frozenset[tuple[str, int]]:
    """The splits and labels of the build ``out`` of which a gate rejected a face."""
    reasons = [end.reason for end in ENDS]
    gone = scan(out, "rejects").filter((pl.col("unit") == "face") & pl.col("reason").is_in(reasons))
    return frozenset(gone.select("split", "label").drop_nulls().unique().collect().iter_rows())


def _judged(out: str) -> pl.DataFrame:
    """Every face seen, once: kept ones from samples, all others from rejects."""
    measures = dict.fromkeys((*(end.column for end in ENDS), "brightness"))
    columns = {measure.name: pl.sql_expr(measure.expression).alias(measure.name) for measure in registry.ALL}
    own = [*map(pl.col, _ROW), *(columns[name].cast(pl.Float64) for name in measures)]
    kept = scan(out, flags=False).filter(pl.col("verdict") == "keep")
    gone = scan(out, "rejects").filter(pl.col("unit") == "face")
    none = pl.lit([], pl.List(pl.String))
    parts = [
        kept.select(*own, reasons=none, kept=pl.lit(value=True), aside=pl.lit(value=False)),
        gone.select(
            *own,
            pl.col("reasons"),
            kept=pl.lit(value=False),
            aside=(pl.col("stage") == "limit") | pl.col("reasons").list.contains(NOT_KEPT),
        ),
    ]
    return pl.concat(parts).filter(pl.col("label").is_not_null()).sort("video_id", *_PLACE).collect()


def _partners(out: str, rows: pl.DataFrame) -> NDArray[np.int64]:
    """For each row that of the same frame and track of its video's original, as ``ingest`` chooses it; -1: none."""
    family = ["family_id", "compression"]
    originals = (
        scan(out, "plan")
        .filter((pl.col("label") == 0) & pl.col("fault").is_null())
        .sort("order")
        .unique(family, keep="last", maintain_order=True)
        .select(*family, original="video_id")
        .collect()
    )
    reals = rows.filter(pl.col("label") == 0).select("video_id", *_PLACE, partner=pl.col("row").cast(pl.Int64))
    found = rows.join(originals, on=family, how="left", nulls_equal=True, maintain_order="left").join(
        reals, left_on=["original", *_PLACE], right_on=["video_id", *_PLACE], how="left", maintain_order="left"
    )
    return found["partner"].fill_null(-1).to_numpy()

"""Reject rates by group, with intervals that account for the similarity of faces within a family."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from semblance.manifests import scan
from semblance.manifests.errors import SemblanceError
from semblance.manifests.user_tables import read_user_table
from semblance.quality.measures import faces as face_measures
from semblance.quality.measures import registry

# Individual typology angle in degrees: Chardon et al. 1991, six bands as in Del Bino and Bernerd 2013.
ITA_BANDS: Final = (
    ("dark", -180.0, -30.0),
    ("brown", -30.0, 10.0),
    ("tan", 10.0, 28.0),
    ("intermediate", 28.0, 41.0),
    ("light", 41.0, 55.0),
    ("very light", 55.0, 180.0),
)
ITA_NOTE: Final = (
    "Skin brightness is an estimate (individual typology angle of two cheek patches, Chardon et al. 1991; bands of "
    "Del Bino and Bernerd 2013). It depends on the light as much as on skin. It is shown for real videos only, in "
    "aggregate, and never as an attribute of a person."
)
SIZES: Final = (0, 80, 120, 180, 260, 400, 100_000)  # px, the longer side of the box
SIZE_BANDS: Final = [
    (f"under {high} px" if low == 0 else f"from {low} px" if high == SIZES[-1] else f"{low}-{high - 1} px", low, high)
    for low, high in itertools.pairwise(SIZES)
]
GAP: Final = 0.1  # by how much a group's reject rate must exceed that of the others
LEAST_FAMILIES: Final = 10  # in a group and outside it, for a warning
Z: Final = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Faces of one group and how many were rejected; ``low`` and ``high`` are 95 % bounds of the rate."""

    by: str
    group: str
    faces: int
    rejected: int
    families: int
    rate: float
    low: float
    high: float
    reason: str | None  # the most frequent
    judged: bool  # whether it and the others have families enough for a warning, and size is not the grouping
    warning: bool


def wilson(rate: float, count: float) -> tuple[float, float]:
    """The 95 % score interval (Wilson 1927) of a rate seen in ``count`` independent trials."""
    if count <= 0:
        return 0.0, 1.0
    middle = (rate + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count) * math.sqrt(rate * (1 - rate) / count + Z * Z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def faces(out: str) -> pl.LazyFrame:
    """Every face seen once, kept or rejected: ids, label, method, ita, longer box side, reason (null where kept)."""
    side = pl.sql_expr(face_measures.SIDE).alias("side")
    columns = [*map(pl.col, ("video_id", "family_id", "dataset", "label", "method", "ita")), side]
    kept = scan(out).filter(pl.col("verdict") == "keep").select(*columns, reason=pl.lit(None, pl.String))
    gone = scan(out, "rejects").filter((pl.col("unit") == "face") & (pl.col("stage") == "gate"))
    return pl.concat([kept, gone.select(*columns, pl.col("reason"))])


def measure(out: str, attributes: str | None = None) -> list[Group]:
    """The groups of the build ``out``; ``attributes`` is a table with video_id and one column per attribute."""
    if attributes is None:
        return groups(faces(out))
    given = read_attributes(attributes)
    known = scan(out, "videos").select(pl.col("video_id").is_in(given["video_id"].implode()).any()).collect().item()
    if not known:
        raise SemblanceError(f"The attribute table {attributes} has no video of {out}; use the video_id of its tables.")
    return groups(faces(out), given)


def groups(seen: pl.LazyFrame, attributes: pl.DataFrame | None = None) -> list[Group]:
    """Reject rates of ``faces``: by band of skin brightness (reals only), face size, method, dataset, attributes."""
    real = pl.col("label") == 0
    band, size = banded("ita", ITA_BANDS), banded("side", SIZE_BANDS)
    method = pl.when(pl.col("label") == 1).then(pl.col("method").fill_null("not published")).otherwise("method")
    groupings: list[tuple[str, pl.LazyFrame, bool]] = [
        ("skin brightness (estimate, reals)", seen.filter(real).with_columns(group=band), True),
        ("face size", seen.with_columns(group=size), False),  # the size gate itself judges by size
        ("method", seen.with_columns(group=method), True),
        ("dataset", seen.with_columns(group=pl.col("dataset")), True),
    ]
    for column in [] if attributes is None else attributes.columns:
        if attributes is not None and column != "video_id":
            given = attributes.select("video_id", group=pl.col(column).cast(pl.String)).lazy()
            groupings.append((column, seen.join(given, on="video_id"), True))
    found: list[Group] = []
    for by, frame, judged in groupings:
        found += _rates(by, frame.drop_nulls("group"), judged)
    return found


def banded(column: str, bands: Sequence[tuple[str, float, float]]) -> pl.Expr:
    """The name of the half-open band (name, low, high) that holds a column's value; null if none does."""
    found = pl.lit(None, pl.String)
    for name, low, high in bands:
        found = pl.when((pl.col(column) >= low) & (pl.col(column) < high)).then(pl.lit(name)).otherwise(found)
    return found


def _rates(by: str, frame: pl.LazyFrame, judged: bool) -> list[Group]:
    """One group per value; families are the independent units, so the interval uses faces / design effect trials."""
    counted = (
        frame.group_by("group", "family_id")
        .agg(faces=pl.len(), rejected=pl.col("reason").is_not_null().sum())
        .collect()
    )
    reasons = (
        frame.drop_nulls("reason")
        .group_by("group", "reason")
        .len()
        .sort("len", "reason", descending=[True, False])
        .unique("group", keep="first", maintain_order=True)
        .collect()
    )
    why = dict(reasons.select("group", "reason").iter_rows())
    order = [name for name, _, _ in (*ITA_BANDS, *SIZE_BANDS)]
    names = sorted(counted["group"].unique(), key=lambda one: (order.index(one) if one in order else 99, one))
    found = []
    for name in names:
        members, others = counted.filter(group=name), counted.filter(pl.col("group") != name)
        rate, low, high = interval(members)
        others_rate, _, others_high = interval(others)
        enough = min(members["family_id"].n_unique(), others["family_id"].n_unique()) >= LEAST_FAMILIES
        found.append(
            Group(
                by=by,
                group=str(name),
                faces=int(members["faces"].sum()),
                rejected=int(members["rejected"].sum()),
                families=members["family_id"].n_unique(),
                rate=rate,
                low=low,
                high=high,
                reason=why.get(name),
                judged=judged and enough,
                warning=judged and enough and rate - others_rate > GAP and low > others_high,
            )
        )
    return found


def interval(counted: pl.DataFrame) -> tuple[float, float, float]:
    """Rate of ``rejected`` among ``faces`` (a row per family) and its Wilson bounds, the faces divided by the design
    effect of families (Kish 1965; ratio estimator).
    """
    total, clusters = int(counted["faces"].sum()), counted.height
    if not total:
        return 0.0, 0.0, 1.0
    rate = float(counted["rejected"].sum()) / total
    effect = 1.0
    if 0 < rate < 1 and clusters > 1:
        spread = float(((counted["rejected"] - rate * counted["faces"]) ** 2).sum())
        variance = spread * clusters / (clusters - 1) / total**2
        effect = max(1.0, variance / (rate * (1 - rate) / total))
    elif clusters:
        effect = total / clusters  # all alike: each family counts once
    return rate, *wilson(rate, total / effect)


def warnings(found: list[Group]) -> list[str]:
    """One sentence per group that is rejected more often than the others, with the gate responsible."""
    sentences = []
    for one in found:
        if one.warning:
            gate = registry.recipe_key(one.reason) or "gates"
            sentences.append(
                f"Unequal filter, {one.by}: {one.rate:.0%} of the faces in group {one.group!r} are rejected (95 % "
                f"{one.low:.0%}-{one.high:.0%}), mostly as {one.reason}; loosen {gate} in the recipe, or set "
                "gates.mode=mark and filter later."
            )
    return sentences


def read_attributes(source: str) -> pl.DataFrame:
    """A user's table with video_id; raises SemblanceError if it cannot be read or has no such column."""
    frame = read_user_table(source, "The attributes")
    if "video_id" not in frame.columns or frame.width < 2:
        raise SemblanceError(f"The attribute table {source} needs a column video_id and at least one attribute column.")
    frame = frame.unique(maintain_order=True)
    if (twice := frame.filter(pl.col("video_id").is_duplicated())).height:
        raise SemblanceError(f"The attribute table {source} has conflicting rows for {twice['video_id'][0]}; keep one.")
    return frame


def to_json(found: list[Group]) -> list[dict[str, Any]]:
    return [asdict(one) for one in found]

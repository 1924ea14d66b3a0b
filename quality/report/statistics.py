"""The counts of the report: tables of a build, lazily aggregated to a few hundred numbers each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from semblance.manifests import scan
from semblance.manifests.ids import digest
from semblance.manifests.records import FAILURES, SPLITS
from semblance.quality.measures import registry
from semblance.quality.measures.measure import Measure

_STEPS: Final = 120  # bins of one distribution, about
_SHOWN: Final = 240  # families drawn on one side
_LINES: Final = 240  # lines between them


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Faces by value: ``edges`` (B + 1), counts of the half-open bins between them (B), and of unknown values.

    ``low`` and ``high`` are the recipe's limits, always on an edge; a face is kept if low <= value < high, or unknown.
    """

    name: str
    title: str
    unit: str
    edges: tuple[float, ...]
    real: tuple[int, ...]
    fake: tuple[int, ...]
    unknown_real: int
    unknown_fake: int
    low: float | None
    high: float | None


def counts(out: str) -> dict[str, Any]:
    """Videos and kept crops: one row per label, method and compression, one cell per split and a total (or None)."""
    keys = ["split", "label", "method", "compression"]
    amount = [pl.len().alias("videos"), pl.col("crops_kept").sum().alias("crops")]
    found = scan(out, "videos").group_by(keys).agg(amount).collect().to_dicts()
    splits = [name for name in SPLITS if any(row["split"] == name for row in found)]
    groups: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for row in found:
        groups.setdefault((row["label"], row["method"], row["compression"]), {})[row["split"]] = row
    rows = []
    for label, method, compression in sorted(groups, key=_place):
        cells = groups[label, method, compression]
        everything = {name: sum(cell[name] or 0 for cell in cells.values()) for name in ("videos", "crops")}
        rows.append(
            {
                "label": {0: "real", 1: "fake"}.get(label, "unlabelled"),
                "method": method or "not published",
                "compression": compression,
                "cells": [*(cells.get(split) for split in splits), everything],
            }
        )
    return {"splits": splits, "rows": rows, "compressed": any(row["compression"] for row in rows)}


def _place(key: tuple[Any, ...]) -> tuple[int, str, str]:
    label, method, compression = key
    return (9 if label is None else label, method or "~", compression or "")


def totals(out: str) -> dict[str, int]:
    """The headline: videos, families, frames, faces, crops of reals and of fakes."""
    row = (
        scan(out, "videos")
        .select(
            videos=pl.len(),
            families=pl.col("family_id").n_unique(),
            frames=pl.col("frames_sampled").sum(),
            faces=pl.col("faces_seen").sum(),
            kept=pl.col("crops_kept").sum(),
            rejected=pl.col("crops_rejected").sum(),
            real=pl.col("crops_kept").filter(pl.col("label") == 0).sum(),
            fake=pl.col("crops_kept").filter(pl.col("label") == 1).sum(),
            failed=pl.col("status").is_in(list(FAILURES)).sum(),
        )
        .collect()
        .row(0, named=True)
    )
    return {name: int(value or 0) for name, value in row.items()}


def funnel(out: str) -> list[dict[str, Any]]:
    """One row per method: videos, frames sampled, faces seen, kept, and rejected faces and frames by reason."""
    keys = ["label", "method"]
    steps = (
        scan(out, "videos")
        .group_by(keys)
        .agg(
            videos=pl.len(),
            used=(pl.col("crops_kept") > 0).sum(),
            frames=pl.col("frames_sampled").sum(),
            faces=pl.col("faces_seen").sum(),
            kept=pl.col("crops_kept").sum(),
        )
        .collect()
    )
    reasons = scan(out, "rejects").group_by([*keys, "unit", "reason"]).len().collect().to_dicts()
    rows = steps.to_dicts()
    rows.sort(key=lambda row: (row["label"] if row["label"] is not None else 9, row["method"] or "~"))
    for row in rows:
        own = [one for one in reasons if (one["label"], one["method"]) == (row["label"], row["method"])]
        own.sort(key=lambda one: (-one["len"], one["reason"] or ""))
        row["reasons"] = [(one["unit"], one["reason"], one["len"]) for one in own]
    return rows


def failures(out: str) -> list[dict[str, Any]]:
    """Statuses other than ok, with how many videos, and one of their errors and paths."""
    found = (
        scan(out, "videos")
        .filter(pl.col("status") != "ok")
        .sort("video_id")
        .group_by("status", maintain_order=True)
        .agg(videos=pl.len(), error=pl.col("error").first(), path=pl.col("path").first())
        .collect()
    )
    rows = found.sort("videos", "status", descending=[True, False]).to_dicts()
    return [row | {"failure": row["status"] in FAILURES} for row in rows]


def findings(out: str) -> list[dict[str, Any]]:
    """Files found but not planned, by kind and reason."""
    found = scan(out, "findings").group_by("kind", "reason").len().collect()
    return found.sort("len", "kind", "reason", descending=[True, False, False]).head(20).to_dicts()


def stages(out: str) -> list[dict[str, Any]]:
    """Seconds by stage, summed over videos, and rates; unknown values are left out."""
    row = (
        scan(out, "videos")
        .select(
            pl.col("seconds_decode", "seconds_detect", "seconds_total").sum(),
            pl.col("frames_sampled").sum(),
            slowest=pl.col("seconds_total").max(),
            videos=pl.col("seconds_total").count(),
        )
        .collect()
        .row(0, named=True)
    )
    total, frames = row["seconds_total"] or 0.0, row["frames_sampled"] or 0
    parts = {"decode": row["seconds_decode"] or 0.0, "detect and follow": row["seconds_detect"] or 0.0}
    parts["crop, measure, judge, encode"] = max(total - sum(parts.values()), 0.0)
    parts["all"] = total
    return [
        {
            "stage": name,
            "seconds": value,
            "share": value / total if total else None,
            "rate": frames / value if value else None,
        }
        for name, value in parts.items()
    ]


def distributions(out: str, gates: Mapping[str, Any]) -> list[Distribution]:
    """The distribution of every measure over the faces that no other gate rejects, real and fake."""
    both = [pl.col("label"), *(pl.sql_expr(measure.expression).alias(measure.name) for measure in registry.DRAWN)]
    kept = scan(out).filter(pl.col("verdict") == "keep").select(*both, reasons=pl.lit([], pl.List(pl.String)))
    gone = scan(out, "rejects").filter((pl.col("unit") == "face") & (pl.col("stage") == "gate"))
    faces = pl.concat([kept, gone.select(*both, pl.col("reasons"))]).filter(pl.col("label").is_not_null())
    return [_distribution(faces, measure, gates) for measure in registry.DRAWN]


def _distribution(faces: pl.LazyFrame, measure: Measure[Any], gates: Mapping[str, Any]) -> Distribution:
    """Guided fakes whose only other reason is their original's verdict (``pair``) count: by their own value."""
    others = pl.col("reasons").list.set_difference([*measure.reasons, registry.PAIR]).list.len() == 0
    frame = faces.filter(others).select("label", pl.col(measure.name).cast(pl.Float64)).collect()
    low, high = measure.limits(gates)
    known = frame[measure.name].drop_nulls().to_numpy()
    edges = _edges(known, measure, [one for one in (low, high) if one is not None])
    tallies = []
    for label in (0, 1):
        values = frame.filter(label=label)[measure.name]
        place = np.searchsorted(edges, values.drop_nulls().to_numpy(), side="right") - 1
        binned = np.bincount(np.clip(place, 0, len(edges) - 2), minlength=len(edges) - 1)
        tallies.append((tuple(int(count) for count in binned), values.null_count()))
    return Distribution(
        name=measure.name,
        title=measure.title or measure.name,
        unit=measure.unit,
        edges=tuple(float(edge) for edge in edges),
        real=tallies[0][0],
        fake=tallies[1][0],
        unknown_real=tallies[0][1],
        unknown_fake=tallies[1][1],
        low=low,
        high=high,
    )


def _edges(values: NDArray[np.float64], measure: Measure[Any], limits: list[float]) -> NDArray[np.float64]:
    """Ascending edges that enclose every value and every limit; limits are edges, so that recounting is exact."""
    if not len(values):
        return np.array(sorted({0.0, *limits, max([1.0, *limits]) + 1}))
    low, high = float(values.min()), float(values.max())
    if measure.logarithmic:
        positive = [limit for limit in limits if limit > 0]  # a limit of 0 or less rejects nothing: it has no logarithm
        base = positive[0] if positive else 1.0
        floor = max(low, 0.01)
        first = math.floor(math.log10(min([floor, *positive]) / base) * 24) - 1
        last = math.ceil(math.log10(max([high, floor, *positive]) / base) * 24) + 1
        steps = max(1, -(-(last - first) // _STEPS))
        numbers = [number for number in range(first, last + steps + 1) if number % steps == 0]
        edges = [0.0, *(float(f"{base * 10 ** (number / 24):.4g}") for number in numbers)]
    else:
        base = limits[0] if limits else 0.0
        step = measure.step
        first = math.floor((min([low, *limits]) - base) / step) - 1
        last = math.ceil((max([high, *limits]) - base) / step) + 1
        if last - first > _STEPS:
            steps = -(-(last - first) // _STEPS)
            step, first, last = step * steps, first // steps - 1, last // steps + 1
        edges = [round(base + number * step, 9) for number in range(first, last + 1)]
    return np.array(sorted({*edges, *limits}))


def families(out: str) -> dict[str, Any]:
    """The families of each split and the people that join them, for the drawing of the split.

    ``splits``: a list of (split, families in all, drawn families as (id, videos, fakes)); ``lines``: pairs of drawn
    families that share a person or recording, and whether that joins two splits.
    """
    plan = scan(out, "plan").filter(pl.col("split").is_not_null())
    size = (
        plan.group_by("split", "family_id")
        .agg(videos=pl.len(), fakes=(pl.col("label") == 1).sum())
        .sort("split", "family_id")
        .collect()
    )
    splits, drawn = [], set()
    for split in SPLITS:
        rows = size.filter(split=split).select("family_id", "videos", "fakes").rows()
        shown_rows = sorted(sorted(rows, key=lambda row: digest("family", row[0]))[:_SHOWN])
        drawn |= {(split, row[0]) for row in shown_rows}
        if rows:
            splits.append((split, len(rows), shown_rows))
    people = pl.concat(
        [
            plan.select("split", "family_id", person=pl.lit(f"{kind} ") + pl.col(column))
            for kind, column in (("person", "target_id"), ("person", "donor_id"), ("recording", "recording_id"))
        ]
    )
    held = people.drop_nulls("person").unique().sort("person", "split", "family_id").collect()
    lines: list[tuple[tuple[str, str], tuple[str, str], bool]] = []
    shown = [row for row in held.iter_rows() if (row[0], row[1]) in drawn]
    for before, after in itertools.pairwise(shown):
        if before[2] == after[2] and before[:2] != after[:2]:
            lines.append(((before[0], before[1]), (after[0], after[1]), before[0] != after[0]))
    lines.sort(key=lambda line: (not line[2], line[:2]))
    return {
        "splits": splits,
        "lines": lines[:_LINES],
    }


def to_json(distribution: Distribution) -> dict[str, Any]:
    return asdict(distribution)

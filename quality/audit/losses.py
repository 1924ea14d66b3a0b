"""What a plan or a build lost on the way to train, val and test, and why."""

from __future__ import annotations

from typing import Final

import polars as pl

from semblance.manifests import scan
from semblance.manifests.records import FAILURES
from semblance.quality.audit.evidence import Losses, Lost, Share, Unassigned
from semblance.quality.audit.result import BuildAudit
from semblance.shards.repack.subset import REASON as NOT_KEPT

_NO_NOTE: Final = "no reason was recorded"


def losses(one: BuildAudit) -> Losses:
    """The losses of one audited build or plan."""
    plan, out, shares = one.build.plan, one.build.name, one.shares
    absent = plan.filter(pl.col("fault").is_not_null()).group_by("fault").agg(pl.col("video_id").sort()).sort("fault")
    return Losses(
        planned=plan.height,
        absent=dict(absent.iter_rows()),
        unassigned=_unassigned(plan),
        by_method=None if shares is None else [Share(**row) for row in shares.to_json()],
        lost=None if shares is None else [Lost(**row) for row in shares.lost.iter_rows(named=True)],
        unlabelled=None if shares is None else shares.unlabelled["video_id"].to_list(),
        failed=_failed(out) if one.build.shards else None,
        rejected=_rejected(out) if one.build.shards else None,
        unplanned=_unplanned(out) if one.build.shards else None,
    )


def _unassigned(plan: pl.DataFrame) -> list[Unassigned]:
    outside = plan.filter(pl.col("fault").is_null() & (pl.col("split").fill_null("unassigned") == "unassigned"))
    rows = outside.select("video_id", pl.col("split_note").fill_null(_NO_NOTE)).sort("video_id")
    return [Unassigned(video_id=name, why=why) for name, why in rows.iter_rows()]


def _failed(out: str) -> dict[str, int]:
    failed = scan(out, "videos").filter(pl.col("status").is_in(list(FAILURES)))
    return dict(failed.group_by("status").len().sort("status").collect().iter_rows())


def _rejected(out: str) -> dict[str, int]:
    faces = scan(out, "rejects").filter((pl.col("unit") == "face") & (pl.col("reason") != NOT_KEPT))
    counted = faces.group_by("reason").len().collect()
    return dict(counted.sort("len", "reason", descending=[True, False]).iter_rows())


def _unplanned(out: str) -> dict[str, int]:
    counted = scan(out, "findings").group_by("kind").len().collect()
    return dict(counted.sort("len", "kind", descending=[True, False]).iter_rows())

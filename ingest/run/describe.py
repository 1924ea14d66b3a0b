"""Description of a build: dataset.json, and the table shown at the end."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import polars as pl

from semblance.ingest.plan import Plan
from semblance.ingest.run import limits_record, replaced
from semblance.manifests import scan, schema
from semblance.manifests.records import FAILURES, SPLITS
from semblance.manifests.text import format_columns
from semblance.quality import video
from semblance.shards.card import counts, found_leaks

_PACKAGES: Final = (
    "semblance",
    "facenet-pytorch",
    "openvino",
    "torch",
    "opencv-python-headless",
    "numpy",
    "pyarrow",
    "polars",
)


def versions() -> dict[str, str]:
    """Versions of everything besides the recipe that affects the result; "absent" if not installed."""
    found = {"python": platform.python_version(), "schema": str(schema.VERSION)}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found | video.versions()


def describe(plan: Plan, out: str) -> dict[str, Any]:
    """The content of dataset.json, counted from the files on disk; CARD.md is made from it."""
    limits = limits_record.used(plan, out)
    new_files = replaced.listed(out)
    return {
        "dataset": plan.source.name,
        "fingerprint": plan.fingerprint,
        "split": plan.protocol,
        "synthetic": plan.synthetic,
        "recipe": plan.recipe.model_dump(mode="json"),
        "limits": limits,
        "replaced": new_files,
        "versions": versions(),
        "complete": True,
        "counts": counts(out, masks=plan.recipe.masks),
        "datasheet": asdict(plan.source.info.datasheet),
        "identity_note": plan.source.info.identity_note,
        "facts": [
            *(f"{sentence}: {count}" for sentence, count in plan.discovery.facts),
            *plan.dated,
            *limits_record.facts(limits),
            *replaced.facts(new_files),
        ],
        "protocols": asdict(plan.notes),
        "leaks": found_leaks(out, plan.protocol, plan.recipe.split.against),
    }


def failures(description: Mapping[str, Any]) -> int:
    """The number of videos whose status counts against the error budget."""
    statuses = description["counts"]["statuses"]
    return sum(count for status, count in statuses.items() if status in FAILURES)


def by_split_and_method(out: str) -> pl.DataFrame:
    """One row per split, label and method.

    Columns: videos, failed, faces, kept, rejected, and why (rejected faces by reason).
    """
    keys = ["split", "label", "method"]
    videos = (
        scan(out, "videos")
        .group_by(keys)
        .agg(
            pl.len().alias("videos"),
            pl.col("status").is_in(list(FAILURES)).sum().alias("failed"),
            pl.col("faces_seen").sum().alias("faces"),
            pl.col("crops_kept").sum().alias("kept"),
            pl.col("crops_rejected").sum().alias("rejected"),
        )
        .collect()
    )
    reasons = (
        scan(out, "rejects")
        .filter(pl.col("unit") == "face")
        .group_by([*keys, "reason"])
        .len()
        .sort("len", "reason", descending=[True, False])
        .with_columns(why=format_columns("{} {}", "reason", "len"))
        .group_by(keys, maintain_order=True)
        .agg(pl.col("why").str.join(", "))
        .collect()
    )
    order = {split: place for place, split in enumerate(SPLITS)}
    return (
        videos.join(reasons, on=keys, how="left", nulls_equal=True)
        .with_columns(place=pl.col("split").replace_strict(order, default=len(order)))
        .sort("place", "label", "method", nulls_last=True)
        .drop("place")
    )

"""What was built, in numbers and words: dataset.json, CARD.md, and the tables at the end."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from ingest.planning import Plan
from manifests import scan, schema
from manifests.console import plain
from manifests.records import FAILURES, SPLITS
from quality import video

_MASKS: Final = (
    "What a mask marks is the dataset's, and differs by method: in FaceForensics++ those of Deepfakes are rectangles, "
    "those of NeuralTextures come from face tracking. Masks of two methods are not comparable, and grey levels are "
    "those of the mask video, its compression included."
)
_PACKAGES: Final = (
    "semblance",
    "facenet-pytorch",
    "torch",
    "opencv-python-headless",
    "numpy",
    "pyarrow",
    "polars",
)

_SYNTHETIC: Final = (
    "`ingest demo` invented every person and video of this collection. It is no part of the dataset whose layout it "
    "has and whose source, terms and leaks are told below, and no basis for any claim about it."
)


def versions() -> dict[str, str]:
    """What the result depends on beside the recipe."""
    found = {"python": platform.python_version(), "schema": str(schema.VERSION)}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found | video.versions()


def describe(plan: Plan, out: str) -> dict[str, Any]:
    """The content of dataset.json, counted from what is on disk."""
    videos = scan(out, "videos").collect()
    return {
        "dataset": plan.source.name,
        "fingerprint": plan.fingerprint,
        "split": plan.protocol,
        "synthetic": plan.synthetic,
        "recipe": plan.recipe.model_dump(mode="json"),
        "versions": versions(),
        "complete": True,
        "counts": {
            "videos": videos.height,
            "statuses": _counts(videos, "status"),
            "guides": _counts(videos, "guide"),
            "splits": _counts(videos, "split"),
            "findings": len(plan.discovery.findings),
            "frames_sampled": int(videos["frames_sampled"].sum()),
            "faces_seen": int(videos["faces_seen"].sum()),
            "crops_kept": int(videos["crops_kept"].sum()),
            "crops_rejected": int(videos["crops_rejected"].sum()),
            "samples": scan(out).select(pl.len()).collect().item(),
            "rejects": reject_counts(out),
            "masks": mask_counts(out) if plan.recipe.masks else None,
        },
    }


def failures(description: Mapping[str, Any]) -> int:
    """Videos whose status counts against the error budget."""
    statuses = description["counts"]["statuses"]
    return sum(count for status, count in statuses.items() if status in FAILURES)


def reject_counts(out: str) -> dict[str, int]:
    """Rejected faces and frames by reason."""
    rejects = scan(out, "rejects").select("reason").collect()
    return _counts(rejects, "reason")


def mask_counts(out: str) -> dict[str, int]:
    """Crops with a mask, of how many stored ones of fakes, and the videos of which some lack it or all."""
    fakes = scan(out).filter(pl.col("label") == 1)
    return {
        "stored": scan(out).filter(pl.col("mask")).select(pl.len()).collect().item(),
        "fake_crops": fakes.select(pl.len()).collect().item(),
        "videos_lacking": mask_notes(out).height,
    }


def mask_notes(out: str) -> pl.DataFrame:
    """Videos of which masks lack, and why: columns path and mask_note."""
    lacking = scan(out, "videos").filter(pl.col("mask_note").is_not_null())
    return lacking.select("path", "mask_note").sort("path").collect()


def by_split_and_method(out: str) -> pl.DataFrame:
    """One row a split, label and method: videos, failed, faces, kept, rejected, and rejects by reason."""
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
        .with_columns(why=pl.format("{} {}", "reason", "len"))
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


def card(plan: Plan, description: Mapping[str, Any]) -> str:
    """The datasheet of a build, in Markdown."""
    sheet, counts = plan.source.datasheet, description["counts"]
    statuses = ", ".join(f"{name} {count}" for name, count in counts["statuses"].items())
    facts = "".join(f"- {sentence}: {count}\n" for sentence, count in plan.discovery.facts)
    promises = "".join(f"- {plain(sentence)}\n" for sentence in plan.split_facts)
    invented = f"**SYNTHETIC.** {_SYNTHETIC}\n" if plan.synthetic else ""
    title = f"{'SYNTHETIC collection in the layout of: ' if plan.synthetic else ''}{sheet.title}"
    return f"""# {title}, prepared by Semblance

{invented}
Fingerprint `{description["fingerprint"]}`; recipe `{plan.recipe.name}`; split laid out: `{description["split"]}`.

| what | count |
|---|---|
| videos | {counts["videos"]} ({statuses}) |
| faces seen | {counts["faces_seen"]} |
| crops kept | {counts["crops_kept"]} |
| crops rejected | {counts["crops_rejected"]} |

## Source
{sheet.homepage}

{sheet.citation}

## Terms
{sheet.terms}

## Consent
{sheet.consent}

## Known leaks
{sheet.known_leaks}

{plan.source.identity_note}

{facts}{promises}
## Label noise
{sheet.label_noise}
{_masks(counts["masks"])}
## Intended use
{sheet.intended_use}

## Unintended use
{sheet.unintended_use}
"""


def _masks(counted: Mapping[str, int] | None) -> str:
    """What was stored of the dataset's manipulation masks, and what they mean; empty where none were asked for."""
    if counted is None:
        return ""
    return f"""
## Masks
{counted["stored"]} crops carry a mask, beside {counted["fake_crops"]} stored crops of fakes; of {
        counted["videos_lacking"]
    } videos some or all lack (columns masks and mask_note of the videos table). {_MASKS}
"""


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    counted = frame.drop_nulls(column).group_by(column).len().sort(column)
    return {str(name): int(count) for name, count in counted.iter_rows()}

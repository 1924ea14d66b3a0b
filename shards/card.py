"""Describe a build: the counts of dataset.json, and CARD.md, which is made from dataset.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from semblance.manifests import leaks, scan
from semblance.manifests.console import plain
from semblance.manifests.datasets import DATASETS
from semblance.manifests.splits import ProtocolNotes

_MASKS: Final = (
    "The dataset defines what a mask marks, and this differs by method{note}. Masks of different methods are not "
    "comparable. Grey levels are those of the mask video, including its compression."
)
_SYNTHETIC: Final = (
    "`ingest demo` invented every person and video of this collection. It copies the layout of the dataset whose "
    "source, terms and leaks are given below, but is not part of it and supports no claim about it."
)

_BIOMETRIC: Final = (
    "`quality persons` compares the faces of a build, so that no person is in two splits. That is biometric "
    "processing: do it only where the terms above and your law allow it. People found so are *estimated*, and nobody "
    "is named."
)


def title(description: Mapping[str, Any]) -> str:
    """The headline: which dataset the build is made from."""
    name: str = description["datasheet"]["title"]
    return f"SYNTHETIC collection in the layout of: {name}" if description["synthetic"] else name


def counts(out: str, *, masks: bool) -> dict[str, Any]:
    """``counts`` of dataset.json, counted from what is on disk; ``masks``: whether the recipe requests them."""
    videos = scan(out, "videos").collect()
    return {
        "videos": videos.height,
        "statuses": _counts(videos, "status"),
        "guides": _counts(videos, "guide"),
        "splits": _counts(videos, "split"),
        "findings": scan(out, "findings").select(pl.len()).collect().item(),
        "frames_sampled": int(videos["frames_sampled"].sum()),
        "faces_seen": int(videos["faces_seen"].sum()),
        "crops_kept": int(videos["crops_kept"].sum()),
        "crops_rejected": int(videos["crops_rejected"].sum()),
        "samples": scan(out).select(pl.len()).collect().item(),
        "rejects": _counts(scan(out, "rejects").select("reason").collect(), "reason"),
        "masks": mask_counts(out) if masks else None,
    }


def found_leaks(out: str, protocol: str, against: str = "recording") -> list[str]:
    """``leaks`` of dataset.json: the findings on the active split, and what is shared under each protocol."""
    return leaks.sentences(scan(out, "plan").collect(), protocol, against)


def mask_counts(out: str) -> dict[str, int]:
    """Counts of crops with a mask, of stored crops of fakes, and of videos with masks missing."""
    fakes = scan(out).filter(pl.col("label") == 1)
    return {
        "stored": scan(out).filter(pl.col("mask")).select(pl.len()).collect().item(),
        "fake_crops": fakes.select(pl.len()).collect().item(),
        "videos_lacking": mask_notes(out).height,
    }


def mask_notes(out: str) -> pl.DataFrame:
    """Videos with missing masks, and why: columns path and mask_note."""
    lacking = scan(out, "videos").filter(pl.col("mask_note").is_not_null())
    return lacking.select("path", "mask_note").sort("path").collect()


def card(description: Mapping[str, Any]) -> str:
    """The datasheet of a build, in Markdown, made from its dataset.json alone."""
    sheet, counted = description["datasheet"], description["counts"]
    statuses = ", ".join(f"{name} {count}" for name, count in counted["statuses"].items())
    facts = "".join(f"- {plain(sentence)}\n" for sentence in description["facts"])
    said = ProtocolNotes(**description["protocols"])
    promises = "".join(f"- {plain(sentence)}\n" for sentence in said.lines(description["split"]))
    found = "".join(f"- {plain(sentence)}\n" for sentence in description.get("leaks", ()))
    invented = f"**SYNTHETIC.** {_SYNTHETIC}\n\n" if description["synthetic"] else ""
    return f"""# {title(description)}, prepared by Semblance

{invented}Fingerprint `{description["fingerprint"]}`; recipe `{description["recipe"]["name"]}`; active split: `{
        description["split"]
    }`.
{_history(description)}{_recompressed(description)}
| what | count |
|---|---|
| videos | {counted["videos"]} ({statuses}) |
| faces seen | {counted["faces_seen"]} |
| crops kept | {counted["crops_kept"]} |
| crops rejected | {counted["crops_rejected"]} |

## Source
{sheet["homepage"]}

{sheet["citation"]}

## Terms
{sheet["terms"]}

## Consent
{sheet["consent"]}

## Known leaks
{sheet["known_leaks"]}

{description["identity_note"]}

{facts}{promises}
What the rows show (`quality audit` lists the ids and also searches for equal pictures and near-duplicate videos):

{found}
## Label noise
{sheet["label_noise"]}
{_masks(counted.get("masks"), description["dataset"])}
## Intended use
{sheet["intended_use"]}

## Unintended use
{sheet["unintended_use"]}

{_BIOMETRIC}
"""


def _masks(counted: Mapping[str, int] | None, dataset: str) -> str:
    """The stored manipulation masks and their meaning; empty if the recipe requests none."""
    if counted is None:
        return ""
    info = DATASETS.get(dataset)
    note = f": {info.mask_note}" if info and info.mask_note else ""
    return f"""
## Masks
{counted["stored"]} crops have a mask; {counted["fake_crops"]} crops of fakes are stored. {
        counted["videos_lacking"]
    } videos lack some or all masks (columns masks and mask_note of the videos table). {_MASKS.format(note=note)}
"""


def _recompressed(description: Mapping[str, Any]) -> str:
    """A note if the videos were re-encoded before cropping, and what was measured before that."""
    crf = description["recipe"].get("recompress", {}).get("crf")
    if crf is None:
        return ""
    return (
        f"\nEvery video was re-encoded as H.264 at crf {crf} before its faces were cropped. Boxes, verdicts, "
        "labels, change and change_peak come from the original videos.\n"
    )


def _history(description: Mapping[str, Any]) -> str:
    """One line per repacking that led to this build, in order."""
    lines = []
    for step in description.get("repacked", ()):
        what = [f"split `{step['split']}`"]
        what += [f"held out {', '.join(plain(name) for name in step['held_out'])}"] if step["held_out"] else []
        what += [f"no {step['against']} shared with the test set"] if step["against"] else []
        if keep := step["keep"]:
            what.append(f"only the crops of a list of {keep['ids']} {keep['column']}s ({keep['left_out']} left out)")
        lines.append(f"Repacked from the build `{step['from']}`: {'; '.join(what)}.\n")
    return "".join(f"\n{line}" for line in lines)


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    counted = frame.drop_nulls(column).group_by(column).len().sort(column)
    return {str(name): int(count) for name, count in counted.iter_rows()}

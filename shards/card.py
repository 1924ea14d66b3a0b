"""What a build is, in numbers and words: the counts of dataset.json, and CARD.md made from dataset.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from semblance.manifests import leaks, scan
from semblance.manifests.console import plain
from semblance.manifests.datasets import DATASETS
from semblance.manifests.splits import ProtocolNotes

_MASKS: Final = (
    "What a mask marks is the dataset's, and differs by method{note}. Masks of two methods are not comparable, and "
    "grey levels are those of the mask video, its compression included."
)
_SYNTHETIC: Final = (
    "`ingest demo` invented every person and video of this collection. It is no part of the dataset whose layout it "
    "has and whose source, terms and leaks are told below, and no basis for any claim about it."
)


def title(description: Mapping[str, Any]) -> str:
    """What the build is of, in a headline."""
    name: str = description["datasheet"]["title"]
    return f"SYNTHETIC collection in the layout of: {name}" if description["synthetic"] else name


def counts(out: str, *, masks: bool) -> dict[str, Any]:
    """``counts`` of dataset.json, counted from what is on disk; ``masks``: whether the recipe asks for them."""
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


def card(description: Mapping[str, Any]) -> str:
    """The datasheet of a build, in Markdown, told from its dataset.json alone."""
    sheet, counted = description["datasheet"], description["counts"]
    statuses = ", ".join(f"{name} {count}" for name, count in counted["statuses"].items())
    facts = "".join(f"- {plain(sentence)}\n" for sentence in description["facts"])
    said = ProtocolNotes(**description["protocols"])
    promises = "".join(f"- {plain(sentence)}\n" for sentence in said.lines(description["split"]))
    found = "".join(f"- {plain(sentence)}\n" for sentence in description.get("leaks", ()))
    invented = f"**SYNTHETIC.** {_SYNTHETIC}\n\n" if description["synthetic"] else ""
    return f"""# {title(description)}, prepared by Semblance

{invented}Fingerprint `{description["fingerprint"]}`; recipe `{description["recipe"]["name"]}`; split laid out: `{
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
What the rows show (`quality audit` names the ids, and looks for equal pictures and near-duplicate videos too):

{found}
## Label noise
{sheet["label_noise"]}
{_masks(counted.get("masks"), description["dataset"])}
## Intended use
{sheet["intended_use"]}

## Unintended use
{sheet["unintended_use"]}
"""


def _masks(counted: Mapping[str, int] | None, dataset: str) -> str:
    """What was stored of the dataset's manipulation masks, and what they mean; empty where none were asked for."""
    if counted is None:
        return ""
    info = DATASETS.get(dataset)
    note = f": {info.mask_note}" if info and info.mask_note else ""
    return f"""
## Masks
{counted["stored"]} crops carry a mask, beside {counted["fake_crops"]} stored crops of fakes; of {
        counted["videos_lacking"]
    } videos some or all lack (columns masks and mask_note of the videos table). {_MASKS.format(note=note)}
"""


def _recompressed(description: Mapping[str, Any]) -> str:
    """Whether the pictures are those of videos that were encoded once more, and what is not."""
    crf = description["recipe"].get("recompress", {}).get("crf")
    if crf is None:
        return ""
    return (
        f"\nBefore its faces were cut, every video was encoded once more as H.264 at crf {crf}. Boxes, verdicts, "
        "labels, change and change_peak are those of the videos as they came.\n"
    )


def _history(description: Mapping[str, Any]) -> str:
    """A line for each repacking that led here, the first one first."""
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

"""Copies, and several clips of one recording; how many videos were not searched."""

from __future__ import annotations

from shlex import quote
from typing import Final

from semblance.manifests.records import TRAIN_VAL_TEST
from semblance.quality.audit.evidence import Copies, CopyPair
from semblance.quality.audit.record import BuildRecord, Record
from semblance.quality.report.review.answer import Answer, Block, Listing, Question, many, percent


def _answer(record: Record, build: BuildRecord) -> Answer:
    copies, search, changed = build.copies, record.near_duplicates, record.same_recordings
    if copies is None or search is None or changed is None:
        return Answer(
            sentence="Not searched: only the plan was audited.",
            checked=[],
            unchecked=["Pictures: a plan has none. Audit the build."],
            known=False,
        )
    across = [pair for pair in copies.pairs if _across(pair)]
    recordings = [leak for leak in record.leaks if leak.kind == "shared_recording" and leak.column == "split"]
    own = [leak for leak in recordings if leak.build == build.build and leak.other is None]
    equal = copies.equal_pictures.get("split")
    several = equal.in_several if equal else 0
    blind = (
        f"{len(copies.not_searched):,} of {copies.videos:,} videos ({percent(len(copies.not_searched), copies.videos)})"
    )
    found: list[Block] = [
        Listing(
            summary=f"Confirmed on pixels: {many(len(copies.pairs), 'pair')} of videos of two families",
            entries=[_pair(pair) for pair in copies.pairs],
        )
    ]
    found += [
        Listing(
            summary=f"Alike by hash, frame after frame, not on pixels, in two splits: {many(len(own), 'pair')}",
            entries=[f"{leak.id} ({leak.note})" for leak in own],
        )
    ]
    sentences = (*search.sentences, *changed.sentences)
    found += [f"{sentence[:1].upper()}{sentence[1:]}." for sentence in sentences]
    return Answer(
        sentence=f"{many(len(copies.pairs), 'copy', 'copies')} confirmed, {len(across):,} in two splits; "
        f"{many(len(own), 'more pair')} from one recording in two splits; {many(several, 'equal picture')} in several "
        f"splits; {blind} not searched.",
        checked=[
            "Stored pictures by their bytes; videos by the perceptual hashes of their frames, or of their crops where "
            f"frames are unknown: at least {record.settings.least_frames} frames within {record.settings.distance} of "
            "64 bits, in order. Pairs are then compared on pixels.",
            "Faces, rejected ones too, by hashes of the aligned face and of its mirror image, so that a mirrored, "
            "cropped, framed, re-timed or recoloured copy is found. Pairs are then compared on aligned pixels and "
            "local features.",
        ],
        found=found,
        unchecked=_unchecked(copies),
        mark="in part" if copies.not_searched or copies.not_compared else "",
        commands=[f"quality report {quote(build.build)}"],
    )


def _unchecked(copies: Copies) -> list[str]:
    lines = [f"{one.video_id}: {one.why}." for one in copies.not_searched]
    if len(lines) > 8:
        reasons = sorted({one.why for one in copies.not_searched})
        counts = [f"{why} {sum(one.why == why for one in copies.not_searched):,}" for why in reasons]
        lines = [f"{len(lines):,} videos ({', '.join(counts)}): audit.json names them."]
    if copies.not_compared:
        lines.append(
            f"{many(copies.not_compared, 'pair')} matched by hash and were not compared on pixels (--confirm)."
        )
    return lines


def _across(pair: CopyPair) -> bool:
    return pair.split != pair.other_split and {pair.split, pair.other_split} <= {*TRAIN_VAL_TEST}


def _pair(pair: CopyPair) -> str:
    return (
        f"{pair.video} = {pair.other} ({pair.split or 'unassigned'} | {pair.other_split or 'unassigned'}; "
        f"{pair.shared:,} frames, {pair.share:.0%} of the shorter{f'; {pair.how}' if pair.how else ''})"
    )


QUESTION: Final = Question(
    key="copies", heading="Are there copies, or several clips of one recording?", laws=("copies",), answer=_answer
)

"""Labels in doubt."""

from __future__ import annotations

from collections import defaultdict
from shlex import quote
from typing import Final

from semblance.quality.audit.evidence import Flag
from semblance.quality.audit.record import BuildRecord, Record
from semblance.quality.checks.remedies import REFUSED
from semblance.quality.report.review.answer import Answer, Block, Listing, Question, many

_MEANING: Final = {
    "unchanged": "fakes without an altered face",
    "equals_real": "fakes with the pictures of a real video",
    "equals_fake": "reals with the pictures of a fake of another family",
}


def _answer(_: Record, build: BuildRecord) -> Answer:
    noise = build.label_noise
    if noise is None:
        return Answer(
            sentence="Not tested: only the plan was audited.",
            checked=[],
            unchecked=["Labels: they are compared on the pictures of a build."],
            known=False,
        )
    flagged: defaultdict[str, list[Flag]] = defaultdict(list)
    for flag in noise.flags:
        flagged[flag.flag].append(flag)
    doubted = len({flag.video_id for flag in noise.flags})
    bare = sum(one.unlabelled for one in build.losses.by_method or ())
    skipped = sum(noise.not_compared.values())
    found: list[Block] = [
        Listing(
            summary=f"{_MEANING.get(name, name).capitalize()} (flag `{name}`): {len(flags):,}",
            entries=[_entry(flag) for flag in flags],
        )
        for name, flags in flagged.items()
    ]
    pairs = [f"{pair.fake} = {pair.real} ({pair.share:.0%} of the pictures)" for pair in noise.pairs]
    found += (
        [Listing(summary=f"Reals and fakes with the same pictures: {len(pairs):,}", entries=pairs)] if pairs else []
    )
    if noise.doubtful:
        summary = f"Ranked by all evidence and a model's doubts: {many(len(noise.doubtful), 'video')}"
        found.append(Listing(summary=f"{summary}, the most doubtful first", entries=noise.doubtful))
    unchecked = [f"{many(count, 'fake')}: {REFUSED.get(why, why)}." for why, count in noise.not_compared.items()]
    unchecked += [f"{many(noise.without_crops, 'fake')} without a stored crop."] if noise.without_crops else []
    unchecked += [f"Labels were not compared: {noise.unreadable}"] if noise.unreadable else []
    unchecked.append("Labels that are wrong and look right: nobody looked at the videos.")
    return Answer(
        sentence=f"{many(doubted, 'video has a label', 'videos have labels')} in doubt; {noise.compared_fakes:,} fakes "
        f"were compared with their original, {skipped + noise.without_crops:,} were not; {many(bare, 'kept crop')} of "
        "fakes without a face label.",
        checked=[
            "Fakes against their originals at the same frames (`change_peak`), and all reals against all fakes by "
            "bytes, hashes and pixels. Which face of a fake was altered is known as far as question 8 says.",
        ],
        found=found,
        unchecked=unchecked,
        commands=[f"quality flag {quote(build.build)}"],
        known=not noise.unreadable and noise.compared_fakes > 0,
        mark="in part" if skipped + noise.without_crops else "",
    )


def _entry(flag: Flag) -> str:
    value = (
        ""
        if flag.value is None
        else f" ({flag.value:.3g}, limit {'none' if flag.limit is None else f'{flag.limit:g}'})"
    )
    return f"{flag.video_id}{value}"


QUESTION: Final = Question(key="labels", heading="Are the labels right?", laws=("labels",), answer=_answer)

"""How many people there are, known and estimated, and whether they are kept apart."""

from __future__ import annotations

import json
from typing import Final

from semblance.quality.audit.evidence import EstimatedPeople, People
from semblance.quality.audit.record import BuildRecord, Leak, Record
from semblance.quality.report.review.answer import Answer, Block, Listing, Question, Table, many, percent


def _answer(record: Record, build: BuildRecord) -> Answer:
    people, estimated = build.people, build.people_estimated
    unchecked = []
    if people.videos_that_name_none:
        nobody = many(people.videos_that_name_none, "video")
        unchecked.append(f"The people of {nobody} that name nobody: whether they are in another split too is unknown.")
    if people.basis == "recording":
        unchecked.append("Ids are names of recordings: a person who is in several recordings is not recognised.")
    found: list[Block] = []
    if estimated is None:
        unchecked.append("People were not estimated from faces: the build has no manifests/persons.parquet.")
    else:
        found += _estimate(estimated)
    shared = [leak for leak in record.leaks if _is_person(leak, build)]
    if shared:
        names = [leak.id for leak in shared]
        found.insert(0, Listing(summary=f"Known people in more than one split: {len(names):,}", entries=names))
    breaks = any(leak.breaks and not leak.allowed for leak in shared)
    return Answer(
        sentence=" ".join([_known(people), *([_estimated(estimated)] if estimated else ["None were estimated."])]),
        checked=["The ids of targets and donors that the dataset or the user names. Nobody is recognised for this."],
        found=found,
        unchecked=unchecked,
        known=bool(people.known or estimated),
        mark="in part" if people.videos_that_name_none or people.basis == "recording" else "",
        least="broken" if breaks else "warning" if shared else "note",
    )


def _is_person(leak: Leak, build: BuildRecord) -> bool:
    return (leak.kind, leak.column, leak.other, leak.build) == ("person", "split", None, build.build)


def _known(people: People) -> str:
    if not people.known:
        return "No person is named, so no split of these videos can be shown to separate people."
    noun = "known recordings, taken as people" if people.basis == "recording" else "known people"
    videos = people.videos_that_name_one + people.videos_that_name_none
    test = (
        f" Of {many(people.test_videos, 'test video')} that {'names' if people.test_videos == 1 else 'name'} a person, "
        f"{people.test_videos_shared:,} {'names' if people.test_videos_shared == 1 else 'name'} one who is in train or "
        "val too."
        if people.test_videos
        else ""
    )
    return (
        f"{people.known:,} {noun}, {people.shared:,} of them in more than one split; "
        f"{people.videos_that_name_one:,} of {videos:,} videos name one.{test}"
    )


def _estimated(found: EstimatedPeople) -> str:
    share = percent(found.test_videos_shared, found.test_videos)
    return (
        f"Estimated from faces: {many(found.people, 'person', 'people')}; {found.test_videos_shared:,} of "
        f"{found.test_videos:,} test videos ({share}) show one who is in train or val too."
    )


def _estimate(found: EstimatedPeople) -> list[Block]:
    rows = [(name, f"{count:,}") for name, count in found.by.items()]
    shared = [f"{one.person} (train {one.train:,}, val {one.val:,}, test {one.test:,})" for one in found.shared]
    method = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in found.method.items()]
    return [
        f"Estimates are no proof. {many(found.videos_without, 'video')} in train, val or test have no estimate.",
        Table(caption="How the people were estimated", heads=("how", "#rows"), rows=rows),
        Listing(summary=f"Estimated people in more than one split: {len(shared):,}", entries=shared),
        Listing(summary="Embedder, thresholds and calibration", entries=method),
    ]


QUESTION: Final = Question(
    key="people", heading="How many people are there, and are they kept apart?", laws=("people",), answer=_answer
)

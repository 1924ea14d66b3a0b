"""Every id in more than one split, and what breaks the protocol."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from shlex import quote
from typing import Final

from semblance.manifests.records import TRAIN_VAL_TEST
from semblance.quality.audit.findings import MANY, ONE
from semblance.quality.audit.record import BuildRecord, Leak, Record
from semblance.quality.report.review.answer import Answer, Block, Listing, Question, Table, percent

_PEOPLE: Final = ("target", "donor")  # counted among the people, and not once more


def _answer(record: Record, build: BuildRecord) -> Answer:
    inside = [leak for leak in record.leaks if leak.build == build.build and leak.other is None]
    active = [leak for leak in inside if leak.column == "split"]
    broken = [leak for leak in active if leak.breaks and not leak.allowed]
    accepted = [leak for leak in active if leak.breaks and leak.allowed]
    other = [leak for leak in active if not leak.breaks]
    people = any(leak.kind == "person" for leak in active)
    separate = [leak for leak in other if not (people and leak.kind in _PEOPLE)]
    known = bool(active) or any(one.known for one in build.figures.get("split", []))
    parts = [f"These break the protocol: {_counted(broken)}." if broken else "No known id breaks the protocol."]
    parts = parts if known else ["No family, person or recording is named, so none can be seen in two splits."]
    parts += [f"Not promised, and in more than one split: {_counted(separate)}."] if separate else []
    parts += [f"Accepted by --allow: {_counted(accepted)}."] if accepted else []
    found: list[Block] = []
    for name, leaks in (("Breaks", broken), ("Does not break", other), ("Accepted, and would break", accepted)):
        found += [
            Listing(summary=f"{name} the protocol: {len(of_kind):,} {_noun(kind, len(of_kind))}", entries=of_kind)
            for kind, of_kind in _by_kind(leaks)
        ]
    found.append(_protocols(build))
    return Answer(
        sentence=" ".join(parts),
        checked=[
            "Families, targets, donors, people and recordings of the plan; equal pictures, copies and clips of one "
            "recording as far as question 4 says. Every protocol of the build was checked, not only the active one."
            if not record.settings.plan_only
            else "Families, targets, donors, people and recordings of the plan, under every protocol.",
        ],
        found=found,
        unchecked=["Ids that the dataset does not publish: people and recordings without a name cannot be compared."],
        known=known,
        least="broken" if broken else "note",
        mark="" if any(leak.kind == "person" for leak in active) or _people(build) else "in part",
        commands=[f"quality audit {quote(build.build)}{' --plan' if record.settings.plan_only else ''} --to leaks.csv"],
    )


def _people(build: BuildRecord) -> bool:
    """Whether anybody is named, so that people could be seen in two splits."""
    return any(one.kind == "person" and one.known for one in build.figures.get("split", []))


def between(record: Record, build: str, other: str) -> list[Block]:
    """What leaks between two builds: from test of one to train or val of the other."""
    leaks = [leak for leak in record.leaks if (leak.build, leak.other) == (build, other)]
    return [
        Listing(summary=f"{len(entries):,} {_noun(kind, len(entries))}", entries=entries)
        for kind, entries in _by_kind(leaks)
    ]


def _noun(kind: str, count: int) -> str:
    return (ONE if count == 1 else MANY).get(kind, kind)


def _counted(leaks: Sequence[Leak]) -> str:
    """How many of each kind."""
    counts = Counter(leak.kind for leak in leaks)
    return ", ".join(f"{counts[kind]:,} {_noun(kind, counts[kind])}" for kind in MANY if counts[kind])


def _by_kind(leaks: Sequence[Leak]) -> list[tuple[str, list[str]]]:
    entries: defaultdict[str, list[str]] = defaultdict(list)
    for leak in leaks:
        entries[leak.kind].append(_entry(leak))
    return list(entries.items())


def _entry(leak: Leak) -> str:
    """An id with the videos in each split, or the two splits, and the evidence."""
    if leak.train is not None:
        where = ", ".join(f"{split} {getattr(leak, split):,}" for split in TRAIN_VAL_TEST if getattr(leak, split))
    else:
        where = " | ".join(split for split in (leak.side, leak.other_side) if split)
    return f"{leak.id} ({where}{f'; {leak.note}' if leak.note else ''})"


def _protocols(build: BuildRecord) -> Table:
    rows = []
    same = f"split_{build.protocol.name}"
    for column, figures in build.figures.items():
        if column == same and figures == build.figures.get("split"):
            continue
        name = f"{build.protocol.name}, active" if column == "split" else column.removeprefix("split_")
        for one in figures:
            if one.known and (one.shared or column == "split"):
                shared = f"{one.shared:,} ({percent(one.shared, one.known)})"
                tests = f"{one.tests_shared:,} of {one.tests:,}" if one.tests else ""
                rows.append((name, MANY[one.kind], f"{one.known:,}", shared, f"{one.with_test:,}", tests))
    return Table(
        caption="Known ids in more than one split, under every protocol of the build that shares any",
        heads=("protocol", "kind", "#known", "#shared", "#of them in test", "#test videos affected"),
        rows=rows,
    )


QUESTION: Final = Question(
    key="leaks",
    heading="What is in more than one split?",
    laws=("isolation",),
    answer=_answer,
    detailed=("isolation",),
)

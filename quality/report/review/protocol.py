"""Which protocol divides the videos, what it promises, and whether its splits can be used."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote
from typing import Final

from semblance.manifests.leaks import WORDS
from semblance.manifests.records import TRAIN_VAL_TEST
from semblance.quality.audit.record import BuildRecord, Promise, Record
from semblance.quality.report.review.answer import Answer, Block, Listing, Question, Table

_WHERE: Final = {"all": "between all three splits", "test": "test from train and val", None: "no"}
_RULES: Final = {
    "identity": "Known people and recordings, and an original with all its fakes, are in one split each.",
    "family": "An original and all its fakes are in one split. It says nothing about people.",
    "official": "The split is as published. What it shares is reported as a leak.",
    "official_clean": "The split is as published, less what train and val share with the published test set.",
    "method": "Held-out methods are in test alone; an original and its fakes are in one split.",
    "temporal": "The oldest videos are in train, the newest in test; an original and its fakes are in one split.",
}


def _answer(record: Record, build: BuildRecord) -> Answer:
    protocol = build.protocol
    proven = [one for one in protocol.promises if one.promised and one.known]
    unproven = [one for one in protocol.promises if one.promised and not one.known]
    unpromised = [one for one in protocol.promises if not one.promised]
    verb = "is judged by whether it separates" if protocol.name == "official" else "promises to separate"
    parts = [f"`{protocol.name}` {verb} {_names([*proven, *unproven])}."]
    parts += [f"No video names any {_names(unproven)}, so nothing is shown about them."] if unproven else []
    parts += [f"It does not promise to separate {_names(unpromised)}."] if unpromised else []
    parts += [f"Not usable: {', '.join(empty)}."] if (empty := list(_empty(build))) else []
    found: list[Block] = [
        _RULES.get(protocol.name, ""),
        *([f"Clean of: {protocol.against}."] if protocol.against else []),
    ]
    found += [_promises(protocol.promises), _splits(record, build), *([protocol.note] if protocol.note else [])]
    found += [f"{fact[:1].upper()}{fact[1:]}." for fact in protocol.facts]
    if protocol.absent:
        absent = [f"{name}: {why}" for name, why in protocol.absent.items()]
        found.append(Listing(summary="Protocols that this dataset does not allow", entries=absent))
    return Answer(
        sentence=" ".join(parts),
        checked=[
            "The plan was read: for each kind of id, in how many splits it is; for each split, whether it has reals "
            "and fakes that can be used."
        ],
        found=[block for block in found if block],
        unchecked=[_why(one) for one in (*unproven, *unpromised)],
        mark="in part" if unproven or unpromised else "",
        commands=[f"shards repack {quote(build.build)} --split PROTOCOL --to OUT2"]
        if not record.settings.plan_only
        else (),
    )


def _empty(build: BuildRecord) -> Iterator[str]:
    """``test (no fakes)`` for each split without usable reals or fakes."""
    rows = {one.split: one for one in build.coverage}
    for split in TRAIN_VAL_TEST:
        row = rows.get(split)
        lacks = [name for name in ("real", "fake") if row is None or not getattr(row, f"used_{name}")]
        if lacks:
            yield f"{split} (no {' and no '.join(f'{name}s' for name in lacks)})"


def _names(promises: list[Promise]) -> str:
    words = [WORDS[one.kind] for one in promises]
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def _why(one: Promise) -> str:
    word = WORDS[one.kind]
    if not one.promised:
        return f"{word.capitalize()}: the protocol does not separate them; what is known to be shared is listed below."
    return f"{word.capitalize()}: no video names one, so nothing can be said about them."


def _promises(promises: list[Promise]) -> Table:
    return Table(
        caption="What the protocol promises, and what is known",
        heads=("kind", "separated", "#known ids", "#in more than one split"),
        rows=[
            (WORDS[one.kind], _WHERE[one.splits], f"{one.known:,}", f"{one.shared:,}" if one.known else "")
            for one in promises
        ],
    )


def _splits(record: Record, build: BuildRecord) -> Table:
    heads = ["split", "#real", "#fake", "#families", "#known people"]
    rows = [
        [one.split, f"{one.real:,}", f"{one.fake:,}", f"{one.families:,}", f"{one.named:,}"] for one in build.coverage
    ]
    if not record.settings.plan_only:
        heads += ["#real with crops", "#fake with crops", "#crops"]
        for row, one in zip(rows, build.coverage, strict=True):
            row += [f"{one.used_real:,}", f"{one.used_fake:,}", f"{one.crops:,}"]
    return Table(caption="Videos in each split", heads=tuple(heads), rows=rows)


QUESTION: Final = Question(
    key="protocol", heading="Which protocol, and what does it promise?", laws=("coverage",), answer=_answer
)

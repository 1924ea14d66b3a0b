"""Whether the files are what they should be, and what identifies the build."""

from __future__ import annotations

from shlex import quote
from typing import Final

from semblance.quality.audit.record import BuildRecord, Record
from semblance.quality.report.review.answer import Answer, Block, Listing, Question, many


def _answer(record: Record, build: BuildRecord) -> Answer:
    dataset = build.dataset
    versions = [f"{name} {version}" for name, version in dataset.versions.items()]
    found: list[Block] = [f"Fingerprint `{dataset.fingerprint}`." if dataset.fingerprint else "It has no fingerprint."]
    found += [Listing(summary="Versions that built it", entries=versions)] if versions else []
    found += [Listing(summary=f"Problems: {len(build.problems):,}", entries=build.problems)] if build.problems else []
    if record.settings.plan_only:
        return Answer(
            sentence="Not tested: only the plan was audited.",
            checked=["The plan can be read."],
            found=found,
            unchecked=["Shards, rows and receipts."],
            known=False,
        )
    return Answer(
        sentence=f"{many(len(build.problems), 'problem')} in shards, rows and receipts."
        if build.problems
        else "Receipts, sizes and rows of all shards fit the plan.",
        checked=[
            "Every receipt against its shard and its rows, and the rows against the plan; counts against each other."
        ],
        found=found,
        unchecked=["Every byte of the shards: `shards verify --deep` hashes them."],
        commands=[f"shards verify {quote(build.build)} --deep"],
    )


QUESTION: Final = Question(key="files", heading="Are the files intact?", laws=("files",), answer=_answer)

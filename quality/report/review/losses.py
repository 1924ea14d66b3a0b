"""What did not reach train, val and test, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from shlex import quote
from typing import Final

from semblance.quality.audit.evidence import Losses, Share
from semblance.quality.audit.record import BuildRecord, Record
from semblance.quality.checks.shares import NAMES
from semblance.quality.report.review.answer import Answer, Block, Listing, Question, Table, many, percent


def _answer(record: Record, build: BuildRecord) -> Answer:
    losses = build.losses
    absent = sum(map(len, losses.absent.values()))
    parts = [f"{many(losses.planned, 'video')} planned"]
    parts += [f"{absent:,} without a file or label"] if absent else []
    parts += [f"{len(losses.unassigned):,} left out by the split"]
    found: list[Block] = [
        Listing(summary=f"Planned, but {fault}: {len(ids):,}", entries=ids) for fault, ids in losses.absent.items()
    ]
    if losses.unassigned:
        entries = [f"{one.video_id}: {one.why}" for one in losses.unassigned]
        found.append(Listing(summary=f"Left out by the split: {many(len(entries), 'video')}", entries=entries))
    if losses.lost is not None and losses.by_method is not None:
        parts.append(f"{len(losses.lost):,} ({percent(len(losses.lost), losses.planned)}) without a kept crop")
        parts.append(f"{sum(one.unlabelled for one in losses.by_method):,} kept crops of fakes without a face label")
        found += [_by_method(losses.by_method), *_of_build(losses)]
    return Answer(
        sentence=f"{', '.join(parts)}.",
        checked=[
            "Every planned video and every face seen is counted: faces seen are crops kept plus faces rejected."
            if not record.settings.plan_only
            else "The planned videos.",
        ],
        found=found,
        unchecked=["Frames between the sampled ones: faces in them were not looked for."]
        if not record.settings.plan_only
        else ["Crops: no pixel was read for a plan."],
        commands=[f"quality thresholds {quote(build.build)}"] if not record.settings.plan_only else (),
    )


def _of_build(losses: Losses) -> list[Block]:
    found: list[Block] = []
    by_cause: defaultdict[str, list[str]] = defaultdict(list)
    for one in losses.lost or ():
        by_cause[one.cause].append(f"{one.video_id} ({NAMES[one.label]}, {one.method})")
    found += [
        Listing(summary=f"No kept crop, {cause}: {many(len(ids), 'video')}", entries=ids)
        for cause, ids in by_cause.items()
    ]
    if losses.unlabelled:
        summary = f"Fakes with kept crops without a face label: {len(losses.unlabelled):,}"
        found.append(Listing(summary=summary, entries=losses.unlabelled))
    for caption, counts in (
        ("Faces rejected, by reason", losses.rejected),
        ("Videos that failed, by status", losses.failed),
        ("Files found and not planned, by kind", losses.unplanned),
    ):
        if counts:
            found.append(_counts(caption, counts))
    return found


def _counts(caption: str, counts: Mapping[str, int]) -> Table:
    return Table(caption=caption, heads=("reason", "#count"), rows=[(name, f"{n:,}") for name, n in counts.items()])


def _by_method(rows: list[Share]) -> Table:
    return Table(
        caption="Lost before training, by label and method",
        heads=("method", "label", "#videos", "#no kept crop", "why", "#kept crops", "#no face label", "why not"),
        rows=[
            (
                row.method,
                NAMES[row.label],
                f"{row.videos:,}",
                f"{row.lost:,} ({percent(row.lost, row.videos)})" if row.videos else "",
                _listed(row.causes),
                f"{row.crops:,}",
                f"{row.unlabelled:,} ({percent(row.unlabelled, row.crops)})" if row.label == 1 and row.crops else "",
                _listed(row.reasons),
            )
            for row in rows
        ],
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


QUESTION: Final = Question(
    key="losses",
    heading="What was lost, and why?",
    laws=("lost", "failures"),
    answer=_answer,
    detailed=("lost",),
)

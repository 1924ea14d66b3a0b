"""Whether the label can be told without the face: from metadata, from what surrounds the face, from an order."""

from __future__ import annotations

from shlex import quote
from typing import Final

from semblance.quality.audit.evidence import Background, Order, Separability, Shortcut, Told
from semblance.quality.audit.record import BuildRecord, Record
from semblance.quality.checks.shortcuts import comparison_name
from semblance.quality.report.review.answer import Answer, Question, Table

_SHOWN: Final = 3  # columns of a comparison


def _answer(record: Record, build: BuildRecord) -> Answer:
    least = record.settings.shortcut_families
    if build.shortcuts is None:
        return Answer(
            sentence="Not tested: only the plan was audited.",
            checked=[],
            unchecked=["Acquisition metadata: they are read when a build decodes its videos."],
            known=False,
        )
    tested = [one for one in build.shortcuts if one.acquisition.auc is not None]
    whole = build.shortcuts[0].acquisition if build.shortcuts else None
    bad = [one for one in build.shortcuts if one.acquisition.verdict == "shortcut"]
    if whole is None:
        sentence = "Not tested: there are no reals and fakes with crops to compare."
    elif not tested:
        why = (
            f"{whole.families} families have crops, and {least} are needed"
            if whole.families < least
            else "nothing is known about how the videos were acquired"
        )
        sentence = f"Not tested: {why}."
    elif bad:
        sentence = f"Yes: {'; '.join(f'{_name(one)} {_interval(one.acquisition)}' for one in bad)}."
    else:
        sentence = f"No shortcut was found: {_name(tested[0])} {_interval(tested[0].acquisition)}, 0.5 is chance."
    seen = [one for one in build.background or () if one.verdict == "shortcut"]
    if seen:
        told = "; ".join(f"{_name(one)} {_interval(one.without_face)}" for one in seen)
        sentence += f" From the picture without the face: {told}."
    unused = sorted({name for one in build.shortcuts for name in one.acquisition.unused})
    constant = sorted({text for one in build.shortcuts for text in one.acquisition.constant})
    return Answer(
        sentence=sentence,
        checked=[
            "Decision trees, cross-validated by family, predict the label from how the videos were recorded, stored "
            f"and framed. A lower 95 % bound of the AUC above {record.settings.shortcut_alarm:g} is a shortcut. "
            "Statistics of the face crops are a baseline and raise no alarm.",
            "A linear model predicts it from frequencies, noise and colours of blocks of the crops that do not touch "
            "the face. The order of pictures in the tars and that of file names are tried too.",
        ],
        found=[
            _table(build.shortcuts),
            *([_without(build.background)] if build.background else []),
            *([_orders(build.order)] if build.order is not None else []),
            *([f"One value in all reals, another in all fakes: {'; '.join(constant)}."] if constant else []),
        ],
        unchecked=[f"Columns that are unknown for many videos: {', '.join(unused)}."] if unused else [],
        commands=[f"quality shortcuts {quote(build.build)} --json shortcuts.json"],
        known=bool(tested),
    )


def _name(one: Shortcut | Background) -> str:
    return comparison_name(one.method, one.compression)


def _interval(one: Separability | Told) -> str:
    return "" if one.auc is None else f"AUC {one.auc:.2f} [{one.low:.2f}, {one.high:.2f}]"


def _table(found: list[Shortcut]) -> Table:
    return Table(
        caption="Reals against fakes: AUC with its 95 % interval over families",
        heads=("fakes", "#families", "acquisition", "best single columns", "face statistics (baseline)"),
        rows=[
            (
                _name(one),
                f"{one.acquisition.families:,}",
                _interval(one.acquisition) or one.acquisition.verdict,
                "; ".join(
                    f"{way.column} {way.auc:.2f}: real {way.real}, fake {way.fake}"
                    for way in one.acquisition.giveaways[:_SHOWN]
                ),
                _interval(one.face) or one.face.verdict,
            )
            for one in found
        ],
    )


def _without(found: list[Background]) -> Table:
    return Table(
        caption="The picture without the face: AUC with its 95 % interval over families",
        heads=("fakes", "#families", "without the face", "whole crop", "verdict"),
        rows=[
            (
                _name(one),
                f"{one.without_face.families:,}",
                _interval(one.without_face),
                _interval(one.whole_crop),
                one.verdict + (", fakes share their originals' background" if one.paired else ""),
            )
            for one in found
        ],
    )


def _orders(order: Order) -> str:
    parts = [
        f"{what} {_interval(told) or 'not tested'}"
        for what, told in (("the order of pictures in the tars", order.tar), ("the order of file names", order.name))
    ]
    return f"By {' and by '.join(parts)}."


QUESTION: Final = Question(
    key="shortcuts",
    heading="Can the label be predicted without looking at the face?",
    laws=("shortcuts",),
    answer=_answer,
)

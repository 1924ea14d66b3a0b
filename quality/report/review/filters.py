"""Whether the gates reject some groups more often than others."""

from __future__ import annotations

from shlex import quote
from typing import Final

from semblance.quality.audit.evidence import FilterGroup
from semblance.quality.audit.record import BuildRecord, Record
from semblance.quality.checks.filter_fairness import ITA_NOTE, LEAST_FAMILIES
from semblance.quality.report.review.answer import Answer, Question, Table, many


def _answer(record: Record, build: BuildRecord) -> Answer:
    if build.filters is None:
        return Answer(
            sentence="Not tested: only the plan was audited.",
            checked=[],
            unchecked=["Filters: they judge the faces of a build."],
            known=False,
        )
    unequal = [group for group in build.filters if group.warning]
    judged = [group for group in build.filters if group.judged]
    if unequal:
        named = "; ".join(f"{one.by}, {one.group}: {one.rate:.0%} rejected" for one in unequal)
        sentence = f"No: {named}."
    elif judged:
        left = len(build.filters) - len(judged)
        sentence = (
            f"Of {many(len(judged), 'group')} that could be judged, none is rejected clearly more often than the others"
            f"; {many(left, 'group')} could not."
        )
    else:
        sentence = f"Too few families to tell: a group and the others need {LEAST_FAMILIES} each."
    given = record.settings.attributes
    return Answer(
        sentence=sentence,
        checked=[
            "The share of faces that the gates rejected, by estimated skin brightness (reals), face size, method and "
            f"dataset{f', and by the attributes in {given}' if given else ''}. A group that is rejected more often "
            f"than the others by more than {record.settings.filter_gap:.0%}, with intervals apart, is a warning; "
            f"face size is not judged. {ITA_NOTE}",
        ],
        found=[_table(build.filters)] if build.filters else [],
        unchecked=[] if given else ["Age, gender and other attributes: no table of attributes was given."],
        commands=[f"quality audit {quote(build.build)} --attributes TABLE"],
        known=bool(judged),
    )


def _table(groups: list[FilterGroup]) -> Table:
    return Table(
        caption="Rejected faces by group, with 95 % intervals",
        heads=("group", "by", "#families", "#faces", "#rejected", "#rate", "#interval", "mostly as", "judged"),
        rows=[
            (
                one.group,
                one.by,
                f"{one.families:,}",
                f"{one.faces:,}",
                f"{one.rejected:,}",
                f"{one.rate:.0%}",
                f"{one.low:.0%} to {one.high:.0%}",
                one.reason or "",
                "yes" if one.judged else "no",
            )
            for one in groups
        ],
    )


QUESTION: Final = Question(
    key="filters", heading="Do the filters treat groups alike?", laws=("filters",), answer=_answer
)

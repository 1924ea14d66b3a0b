"""What was asked, what was measured, and whether that shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.benchmark.robust import Hardened
from semblance.training.benchmark.suite import Suite
from semblance.training.benchmark.summaries import Consistency, Gain, Over
from semblance.training.benchmark.systems import System
from semblance.training.evaluation.cost import Cost

NEAR_CHANCE: Final = 0.6  # a model that has learned nothing is perfectly consistent
Verdict = Literal["met", "not met", "not shown", "too few groups to tell", "not measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A line: what is ``asked`` of a ``row`` (None: of all), in words and as ``mark``; ``data``: what it rests on."""

    asked: str
    mark: float
    row: str | None
    measured: Estimate
    verdict: Verdict
    data: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds that the network of a row needs for the crops of a video; finding faces is not in it."""

    row: str
    cost: Cost
    crops: float  # of a video, on average

    @property
    def seconds(self) -> float:
        return self.cost.batch_ms * self.crops / 1000


def share(value: float) -> str:
    """A share in percent."""
    return f"{100 * value:g} %"


def above(found: Estimate, mark: float) -> Verdict:
    """``met`` only if the whole interval lies above the mark."""
    if found.value is None:
        return "not measured"
    if found.low is None or found.high is None:
        return "too few groups to tell"
    return "met" if found.low > mark else "not met" if found.high <= mark else "not shown"


def gained(found: Estimate, mark: float) -> Verdict:
    """``met`` if the figure lies above the mark, and its whole interval above zero; the plan's reading of a gain."""
    if found.value is None:
        return "not measured"
    if found.low is None or found.high is None:
        return "too few groups to tell"
    if found.value > mark and found.low > 0:
        return "met"
    return "not met" if found.high <= mark else "not shown"


def answers(
    suite: Suite,
    systems: Sequence[System],
    consistencies: Sequence[Consistency],
    gains: Sequence[Gain],
    members: Sequence[Over],
    latencies: Mapping[str, Latency],
    hardened: Sequence[Hardened] = (),
) -> tuple[Answer, ...]:
    """Every line that the suite asks for, in the plan's order."""
    return (
        *_consistent(suite, systems, consistencies),
        *_over_baseline(suite, gains),
        *_over_members(suite, members),
        *_robust(suite, hardened),
        *_fast(suite, systems, latencies),
    )


def _consistent(suite: Suite, systems: Sequence[System], found: Sequence[Consistency]) -> Iterator[Answer]:
    mark = suite.asked.consistency
    if mark is None:
        return
    asked = f"cross-dataset consistency > {share(mark)}"
    across = {one.row: one for one in found if one.role == "unseen dataset"}
    for system in systems:
        one = across.get(system.name)
        if one is None:
            why = "it needs a column that the row has seen and one of an unseen dataset"
            yield _unmeasured(asked, mark, system.name, why)
            continue
        data = f"{', '.join(one.unseen)} / {', '.join(one.seen)}"
        verdict, note = above(one.ratio, mark), ""
        if (one.seen_auc.value or 0.0) < NEAR_CHANCE:
            verdict = "not shown" if verdict == "met" else verdict
            note = "the seen AUC is near chance, where the ratio says nothing"
        yield Answer(
            asked=asked,
            mark=mark,
            row=one.row,
            measured=one.ratio,
            verdict=verdict,
            data=data,
            note=note,
        )


def _over_baseline(suite: Suite, found: Sequence[Gain]) -> Iterator[Answer]:
    mark = suite.asked.gain
    if mark is None:
        return
    asked = f"gain over the baseline > {share(mark)}"
    if suite.baseline is None:
        yield _unmeasured(asked, mark, None, "the suite names no baseline")
        return
    parts = [one for one in found if one.part is not None]
    for one in parts:
        yield _gain(asked, mark, one, f"over {one.other}")
    for row in suite.rows:
        if row.name not in (suite.baseline, *(one.row for one in parts)):
            yield _unmeasured(asked, mark, row.name, "no column is alike to both rows")


def _over_members(suite: Suite, found: Sequence[Over]) -> Iterator[Answer]:
    mark = suite.asked.ensemble_gain
    if mark is None:
        return
    asked = f"gain of an ensemble over its best member > {share(mark)}"
    for one in found:
        if one.gain is None:
            yield _unmeasured(asked, mark, one.row, one.reason or "")
        else:
            yield _gain(asked, mark, one.gain, f"over {one.gain.other}, the best of {len(one.members)} on these data")
    if not found:
        yield _unmeasured(asked, mark, None, "no row is an ensemble whose members were evaluated")


def _gain(asked: str, mark: float, one: Gain, note: str) -> Answer:
    data = f"{one.part}: {', '.join(one.columns)}"
    verdict = gained(one.relative, mark)
    return Answer(asked=asked, mark=mark, row=one.row, measured=one.relative, verdict=verdict, data=data, note=note)


def _robust(suite: Suite, hardened: Sequence[Hardened]) -> Iterator[Answer]:
    mark = suite.asked.robustness
    if mark is None:
        return
    asked = f"balanced accuracy under attack > {share(mark)}"
    if not hardened:
        yield _unmeasured(asked, mark, None, "no column has attack or certify")
    for one in hardened:
        for row in dict.fromkeys(cell.row for cell in one.cells):
            cells = [cell for cell in one.cells if cell.row == row]
            known = [cell for cell in cells if cell.figure.value is not None]
            if not known:
                yield _unmeasured(asked, mark, row, cells[0].reason or "a class is missing")
                continue
            worst = min(known, key=lambda cell: (cell.figure.value or 0.0, cell.level))
            clean = "-" if worst.clean.value is None else f"{100 * worst.clean.value:.1f} %"
            yield Answer(
                asked=asked,
                mark=mark,
                row=row,
                measured=worst.figure,
                verdict=above(worst.figure, mark),
                data=f"{one.column.name}: {one.said}, by {worst.level}",
                note=f"{clean} without",
            )


def _fast(suite: Suite, systems: Sequence[System], found: Mapping[str, Latency]) -> Iterator[Answer]:
    mark = suite.asked.latency
    if mark is None:
        return
    asked = f"latency < {mark:g} s per video"
    if not found:
        yield _unmeasured(asked, mark, None, "the suite does not say cost: true")
    for system in systems:
        if (one := found.get(system.name)) is None:
            continue
        slow = one.seconds >= mark
        yield Answer(
            asked=asked,
            mark=mark,
            row=system.name,
            measured=Estimate(value=one.seconds),
            verdict="not met" if slow else "not shown",
            data=f"{one.crops:.1f} crops a video on {one.cost.device}",
            note="the network alone" + ("" if slow else "; decoding and finding faces take time too"),
        )


def _unmeasured(asked: str, mark: float, row: str | None, why: str) -> Answer:
    nothing = Estimate(value=None)
    return Answer(asked=asked, mark=mark, row=row, measured=nothing, verdict="not measured", data="-", note=why)

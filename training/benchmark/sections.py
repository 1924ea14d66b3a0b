"""The sections of a benchmark's page: figures of rows on columns, and what was asked. ``apart``: the others."""

from __future__ import annotations

from collections.abc import Sequence

from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.benchmark import apart, hard, summaries
from semblance.training.benchmark.cells import Cell as Measured
from semblance.training.benchmark.result import Benchmark
from semblance.training.benchmark.summaries import Gain
from semblance.training.evaluation.report.blocks import Cell, Section, Table, Value
from semblance.training.evaluation.report.figures import LEVELS, interval, shown
from semblance.training.evaluation.report.matrices import is_best
from semblance.training.evaluation.results import LEAST_GROUPS, Level


def make(result: Benchmark) -> list[Section]:
    """All sections, in order; none is empty."""
    found = [
        _main(result),
        _asked(result),
        _consistency(result),
        _gains(result),
        _members(result),
        hard.section(result),
        _levels(result),
        apart.published_figures(result),
        apart.sources(result),
        apart.legend(result),
    ]
    return [one for one in found if one is not None]


def _main(result: Benchmark) -> Section:
    text = (
        "Each row on each column. Below a figure stand its 95 % interval, or its standard deviation over seeds, and "
        "whether the data are new to the row by its own record; nothing is said where it has seen them. The best of a "
        "column is bold where its rows can be compared. A figure links to the evaluation of the split that its column "
        "is a part of; crops are not degraded there."
    )
    return Section(title="AUC by video", blocks=[text, _table(result, "video")])


def _levels(result: Benchmark) -> Section:
    text = (
        "The same by the mean over the persons of a video, which is nearest to DeepfakeBench's score, the mean "
        "probability of its pictures, and by frame. Only figures of one kind may be compared."
    )
    return Section(
        title="By mean and by frame", blocks=[text, *(_table(result, level) for level in LEVELS if level != "video")]
    )


def _table(result: Benchmark, level: Level) -> Table:
    columns = [one.column.name for one in result.measured]
    best = []
    for column in columns:
        alike = [one for one in result.cells if one.column == column and one.counted and one.mark != "unknown"]
        known = [value for one in alike if (value := one.figures[level].value) is not None]
        same = len({one.mark for one in alike}) == 1  # a run that has seen the data is not better than one that has not
        best.append(max(known) if same and len(known) > 1 else None)
    links = {one.column.name: f"{one.folder}/evaluation.html" for one in result.measured}
    lines: list[list[Value]] = []
    for system in result.systems:
        row = [one for one in result.cells if one.row == system.name]
        name = Cell(text=system.name, small=f"{len(system.runs)} seeds") if system.several else system.name
        lines.append([name, *(figure(one, level, top, links[one.column]) for one, top in zip(row, best, strict=True))])
    first = [next(one for one in result.cells if one.column == column) for column in columns]
    lines.append(["kind", *(one.column.kind or "-" for one in result.measured)])
    lines.append(["videos with a kept face", *(f"{one.scored:,}/{one.listed:,}" for one in first)])
    lines.append(["real + fake", *(f"{one.reals:,} + {one.fakes:,}" for one in first)])
    lines.append(["people or families", *(f"{one.least:,}" for one in first)])
    return Table(
        heading=["row", *(f"#{column}" for column in columns)],
        lines=lines,
        caption=f"AUC. {LEVELS[level]}. *people or families*: of the class that has fewer.",
        label=f"AUC, {level}",
    )


def figure(cell: Measured, level: Level, best: float | None = None, link: str = "") -> Cell:
    """A cell with what stands below it."""
    found, over = cell.figures[level], cell.spreads.get(level)
    small = [f"± {over.sd:.3f}" if over is not None else interval(found)]
    if cell.least < LEAST_GROUPS:
        small.append(f"{cell.least} groups: no interval")
    small.append(cell.fault or ("" if cell.mark == "seen" else cell.mark))
    small.append(cell.note or "")
    is_top = cell.counted and cell.mark != "unknown" and is_best(found.value, best)
    return Cell(text=shown(found), small="\n".join(filter(None, small)), best=is_top, link=link)


def _asked(result: Benchmark) -> Section | None:
    if not result.answers:
        return None
    lines: list[list[Value]] = []
    for one in result.answers:
        relative = not one.asked.startswith("latency")
        measured = percent(one.measured) if relative else Cell(text=seconds(one.measured))
        verdict = Cell(text=one.verdict, best=one.verdict in ("met", "not met"))
        lines.append([one.asked, one.row or "all", verdict, measured, one.data, one.note])
    text = (
        "*met*: the interval is wholly on the right side of the mark; for a gain, the figure is beyond the mark and "
        "its interval wholly above zero. *not met*: the interval is wholly on the wrong side. *not shown*: it lies on "
        f"both sides. *too few groups to tell*: fewer than {LEAST_GROUPS} people or families of a class, so there is "
        "no interval. Gains are relative to the AUC of the other. By video, the maximum over its persons."
    )
    heading = ["asked", "row", "verdict", "#measured", "on which data", "note"]
    table = Table(heading=heading, lines=lines, caption="What was asked, and what is shown.", label="Asked")
    return Section(title="Asked and measured", blocks=[text, table])


def percent(found: Estimate, sign: bool = False) -> Cell:
    """A share in percent with its interval."""
    if found.value is None:
        return Cell(text="-")

    def told(value: float) -> str:
        return f"{100 * value:{'+' if sign else ''}.1f}"

    low, high = found.low, found.high
    small = "" if low is None or high is None else f"{told(low)} to {told(high)} %"
    return Cell(text=f"{told(found.value)} %", small=small)


def seconds(found: Estimate) -> str:
    """Seconds, or a dash."""
    return "-" if found.value is None else f"{found.value:.3g} s"


def _consistency(result: Benchmark) -> Section | None:
    if not result.consistencies:
        return None
    text = (
        "The mean AUC by video on unseen columns divided by that on seen ones. Over seeds it is the mean of each run's "
        "ratio. Columns that are compressed or of low quality count as neither. A row that has learned little is "
        "consistent too, so read it beside its seen AUC."
    )
    heading = ["row", "across", "#seen AUC", "#unseen AUC", "#gap", "#consistency", "seen", "unseen"]
    lines: list[list[Value]] = []
    for one in result.consistencies:
        across = "datasets" if one.role == "unseen dataset" else "methods"
        small = [_sure(one.ratio).small, f"± {one.over.sd:.3f} over seeds" if one.over is not None else ""]
        ratio = Cell(text=shown(one.ratio), small="\n".join(filter(None, small)))
        auc = (_sure(one.seen_auc), _sure(one.unseen_auc))
        gap = _gap(one.seen_auc.value, one.unseen_auc.value)
        lines.append([one.row, across, *auc, gap, ratio, ", ".join(one.seen), ", ".join(one.unseen)])
    methods = [one for one in result.consistencies if one.role == "unseen method"]
    if len(methods) > 1:
        seen, unseen = summaries.left_out(methods)
        told = ["-" if value is None else f"{value:.3f}" for value in (seen, unseen)]
        lines.append(["mean", "methods", *told, _gap(seen, unseen), "-", "", ""])
    table = Table(heading=heading, lines=lines, caption="Unseen divided by seen.", label="Consistency")
    return Section(title="Consistency", blocks=[text, table])


def _gap(seen: float | None, unseen: float | None) -> str:
    """Seen minus unseen."""
    return "-" if seen is None or unseen is None else f"{seen - unseen:+.3f}"


def _sure(found: Estimate) -> Cell:
    """A figure with its interval, or that it has none."""
    return Cell(text=shown(found), small=interval(found) or "no interval")


def _gains(result: Benchmark) -> Section | None:
    if not result.gains:
        return None
    paired = [one.row for one in result.gains if one.paired]
    seeds = (
        f" Runs of {', '.join(dict.fromkeys(paired))} and of the baseline have the same seeds and are paired by them."
        if paired
        else ""
    )
    text = (
        "AUC by video minus that of the baseline, in points of AUC, over the same draws of groups for both; below it "
        "the interval, and the gain relative to the baseline's AUC. A cell is empty where one of the two is not what "
        f"its column is called, or has no figure.{seeds}"
    )
    columns = [one.column.name for one in result.measured]
    parts = list(dict.fromkeys(one.part for one in result.gains if one.part is not None))
    single: list[list[Value]] = []
    mean: list[list[Value]] = []
    for row in dict.fromkeys(one.row for one in result.gains):
        of_row = [one for one in result.gains if one.row == row]
        each = {one.columns[0]: one for one in of_row if one.part is None}
        over = {one.part: one for one in of_row if one.part is not None}
        single.append([row, *(_gain(each.get(name)) for name in columns)])
        if over:
            mean.append([row, *(_gain(over.get(part)) for part in parts)])
    name = result.suite.baseline
    each_column = Table(
        heading=["row", *(f"#{column}" for column in columns)],
        lines=single,
        caption=f"Gain over {name} on each column.",
        label="Gain, columns",
    )
    means = Table(
        heading=["row", *(f"#{part}" for part in parts)],
        lines=mean,
        caption=f"Gain over {name}, of the mean AUC over all columns that are the same to both.",
        label="Gain, means",
    )
    return Section(title="Gain over the baseline", blocks=[text, *([means] if mean else []), each_column])


def _gain(one: Gain | None) -> Cell:
    if one is None or one.points.value is None:
        return Cell(text="-")
    points = _points(one)
    small = filter(None, (points.small, percent(one.relative, True).text))
    return Cell(text=points.text, small="\n".join(small))


def _points(one: Gain) -> Cell:
    low, high = one.points.low, one.points.high
    wide = "" if low is None or high is None else f"{low:+.3f} to {high:+.3f}"
    return Cell(text=f"{one.points.value:+.3f}", small=wide)


def _members(result: Benchmark) -> Section | None:
    if not result.members:
        return None
    lines: list[list[Value]] = []
    for one in result.members:
        if one.gain is None:
            lines.append([one.row, "-", "-", "-", one.reason or ""])
            continue
        data: Sequence[str] = one.gain.columns
        lines.append([one.row, one.gain.other, _points(one.gain), percent(one.gain.relative, True), ", ".join(data)])
    text = (
        "An ensemble against the member with the highest AUC on the same data. That member is chosen by these figures, "
        "which favours it: the gain over a member that was chosen beforehand is larger or equal."
    )
    heading = ["ensemble", "best member", "#gain", "#relative", "on which data"]
    table = Table(heading=heading, lines=lines, caption="Gain over the best member.", label="Members")
    return Section(title="Ensembles", blocks=[text, table])

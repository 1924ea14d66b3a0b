"""The page of a benchmark, in Markdown and HTML, and as lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from semblance.quality.report.environment import environment
from semblance.training.benchmark import sections, summaries
from semblance.training.benchmark.cells import Cell
from semblance.training.benchmark.result import Benchmark
from semblance.training.benchmark.summaries import Consistency
from semblance.training.evaluation.report import blocks
from semblance.training.evaluation.report.about import Alarm
from semblance.training.evaluation.report.figures import interval, shown

MOST: Final = 3  # alarms of a kind on the page
_PACKAGES: Final = ("semblance.training.benchmark", "semblance.training.evaluation.report")


def summary(result: Benchmark) -> list[list[str]]:
    """AUC by video for a terminal, and robust accuracy by its worse level: a heading, then one line per row."""
    names = [one.column.name for one in result.columns]
    lines = [["row", *names, "consistency"]]
    across = {one.row: one for one in result.consistencies if one.role == "unseen dataset"}
    for system in result.systems:
        cells = [_told(cell) for cell in result.cells if cell.row == system.name]
        for hard in result.hardened:
            worst = [cell.figure for cell in hard.cells if cell.row == system.name]
            cells.append(shown(min(worst, key=lambda found: 2.0 if found.value is None else found.value)))
        one = across.get(system.name)
        lines.append([system.name, *cells, "-" if one is None else _ratio(one)])
    return lines


def _told(cell: Cell) -> str:
    found, over = cell.figures["video"], cell.spreads.get("video")
    wide = f" ± {over.sd:.3f}" if over is not None else f" ({interval(found)})" if interval(found) else ""
    return f"{shown(found)}{wide}" + ("" if cell.counted else f" ({cell.fault})")


def _ratio(one: Consistency) -> str:
    wide = interval(one.ratio)
    return f"{one.ratio.value:.3f}" + (f" ({wide})" if wide else "")


def subtitle(result: Benchmark) -> str:
    """When, and how much."""
    return f"{result.date}: {_counted(len(result.systems), 'row')}, {_counted(len(result.columns), 'column')}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def headline(result: Benchmark) -> str:
    """The row that is best on unseen datasets; else what leaving methods out costs; else the best of the first column.

    Only rows are compared whose training is known, and to which a column is the same.
    """
    across = [one for one in result.consistencies if one.role == "unseen dataset"]
    if across:
        best = max(across, key=lambda one: one.unseen_auc.value or 0.0)
        wide = interval(best.unseen_auc)
        sure = f" (95 %: {wide})" if wide else " (no interval)"
        figures = f"{shown(best.unseen_auc)}{sure} on unseen datasets, {shown(best.seen_auc)} on seen ones"
        return f"{best.row}{_best_of(len(across))}: AUC by video {figures}"
    methods = [one for one in result.consistencies if one.role == "unseen method"]
    if methods:
        seen, unseen = summaries.left_out(methods)
        rows = f"mean over {len(methods)} rows: " if len(methods) > 1 else f"{methods[0].row}: "
        if seen is not None and unseen is not None:
            return f"{rows}AUC by video {unseen:.3f} on methods that were left out, {seen:.3f} on the others"
    column = result.measured[0].column.name
    inside = [one for one in result.cells if one.column == column and one.counted]
    inside = [one for one in inside if one.mark == inside[0].mark]
    if not inside:
        return f"No row counts on {column}"
    top = max(inside, key=lambda one: one.figures["video"].value or 0.0)
    wide = interval(top.figures["video"])
    sure = f" (95 %: {wide})" if wide else " (no interval)"
    return f"{top.row}{_best_of(len(inside))}: AUC by video {shown(top.figures['video'])}{sure} on {column}"


def _best_of(rows: int) -> str:
    return f", the best of {rows} rows that can be compared" if rows > 1 else ""


def alarms(result: Benchmark) -> list[Alarm]:
    """Contradicted kinds, leaks, what could not be checked, and notes of the evaluations."""
    kinds = {one.column.name: one.column.kind for one in result.measured}
    found = [
        Alarm(
            level="broken",
            kind="Not what it is called",
            text=f"{cell.column} is called {kinds[cell.column]}, but {cell.row} was {cell.fault}; its cell counts for "
            "nothing.",
        )
        for cell in result.cells
        if cell.fault is not None
    ]
    for hard in result.hardened:
        name = hard.column.name
        found += [Alarm(level="warning", kind="Masked gradients", text=f"{name}: {said}") for said in hard.masked]
        found += [Alarm(level="note", kind="Note", text=f"{name}: {said}") for said in hard.notes]
    for one in result.columns:
        found += [Alarm(level="broken", kind="Leak", text=f"{leak}.") for leak in one.result.leaks.leaks]
        found += [
            Alarm(level="warning", kind="Not checked for leaks into training", text=f"{reason}.")
            for reason in one.result.leaks.unknown
        ]
        if one.column.split != "test":
            said = (
                f"{one.column.name} is split {one.column.split}: models were trained or selected on it, or close to it."
            )
            found.append(Alarm(level="warning", kind="Warning", text=said))
        found += [Alarm(level="note", kind="Note", text=note) for note in one.result.notes]
    found += [
        Alarm(level="note", kind="Note", text=f"{cell.row} was {cell.note}: {cell.column}.")
        for cell in result.cells
        if cell.note is not None
    ]
    return list(dict.fromkeys(found))


def shortened(alarms: Sequence[Alarm]) -> list[Alarm]:
    """At most ``MOST`` alarms of a kind, and how many more there are."""
    found = []
    for kind in dict.fromkeys(one.kind for one in alarms):
        same = [one for one in alarms if one.kind == kind]
        found += same[:MOST]
        if (more := len(same) - MOST) > 0:
            found.append(replace(same[0], text=f"{more} more of this kind; benchmark.json lists all under alarms."))
    return found


def totals(result: Benchmark) -> list[tuple[str, str]]:
    """The sizes that the first screen shows."""
    verdicts = [one.verdict for one in result.answers]
    known = [one for one in ("met", "not met", "not shown") if one in verdicts]
    counts = [(f"asked and {one}", f"{verdicts.count(one)}") for one in known]
    videos = {video for one in result.columns for video in one.videos["video_id"]}
    sizes = [("rows", f"{len(result.systems):,}"), ("columns", f"{len(result.columns):,}")]
    return [*sizes, ("videos", f"{len(videos):,}"), *counts]


def markdown(result: Benchmark) -> str:
    """The page as Markdown."""
    points = [f"**{alarm.kind}**: {alarm.text}" for alarm in shortened(alarms(result))]
    head = [f"# {result.suite.title}", f"{subtitle(result)}.", f"{headline(result)}."]
    told = "\n".join(f"- {point}" for point in points)
    return "\n\n".join(part for part in (*head, told, blocks.markdown(sections.make(result))) if part)


def html(result: Benchmark) -> str:
    """The page as one self-contained HTML file without scripts."""
    templates = environment(*_PACKAGES)
    templates.filters["marked"] = blocks.marked
    templates.filters["kind"] = lambda block: type(block).__name__
    return templates.get_template("benchmark.html").render(
        title=result.suite.title,
        subtitle=subtitle(result),
        headline=headline(result),
        alarms=shortened(alarms(result)),
        totals=totals(result),
        sections=sections.make(result),
        pictures=False,
    )

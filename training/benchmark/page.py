"""The page of a benchmark, in Markdown and HTML, and as lines for a terminal."""

from __future__ import annotations

from typing import Final

from semblance.quality.report.environment import environment
from semblance.training.benchmark import sections
from semblance.training.benchmark.result import Benchmark
from semblance.training.benchmark.summaries import Consistency
from semblance.training.evaluation.report import blocks
from semblance.training.evaluation.report.about import Alarm
from semblance.training.evaluation.report.figures import interval

_PACKAGES: Final = ("semblance.training.benchmark", "semblance.training.evaluation.report")


def summary(result: Benchmark) -> list[list[str]]:
    """AUC by video for a terminal: a heading, then one line per row."""
    lines = [["row", *(one.column.name for one in result.measured), "consistency"]]
    across = {one.row: one for one in result.consistencies if one.role == "unseen dataset"}
    for system in result.systems:
        cells = [sections.figure(cell, "video") for cell in result.cells if cell.row == system.name]
        one = across.get(system.name)
        lines.append([system.name, *(str(cell) for cell in cells), "-" if one is None else _ratio(one)])
    return lines


def _ratio(one: Consistency) -> str:
    wide = interval(one.ratio)
    return f"{one.ratio.value:.3f}" + (f" ({wide})" if wide else "")


def subtitle(result: Benchmark) -> str:
    """When, and how much."""
    runs = {run for one in result.systems for run in one.runs}
    return f"{result.date}: {_counted(len(result.systems), 'row')} of {_counted(len(runs), 'run')}, " + _counted(
        len(result.measured), "column"
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def headline(result: Benchmark) -> str:
    """The best consistency across datasets, else the best AUC of the first column."""
    across = [one for one in result.consistencies if one.role == "unseen dataset"]
    if across:
        best = max(across, key=lambda one: one.ratio.value or 0.0)
        several = f", the best of {len(across)} rows: {best.row}" if len(across) > 1 else ""
        few = "" if best.ratio.low is not None else ", without an interval"
        return f"Cross-dataset consistency {_ratio(best)}{few}{several}"
    column = result.measured[0].column.name
    inside = [one for one in result.cells if one.column == column]
    best_cell = max(inside, key=lambda one: one.figures["video"].value or 0.0)
    several = f", the best of {len(inside)} rows: {best_cell.row}" if len(inside) > 1 else ""
    return f"AUC by video on {column} {sections.figure(best_cell, 'video').text}{several}"


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
    for one in result.measured:
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


def totals(result: Benchmark) -> list[tuple[str, str]]:
    """The sizes that the first screen shows."""
    verdicts = [one.verdict for one in result.answers]
    known = [one for one in ("met", "not met", "not shown") if one in verdicts]
    counts = [(f"asked and {one}", f"{verdicts.count(one)}") for one in known]
    videos = {video for one in result.measured for video in one.videos["video_id"]}
    return [("videos", f"{len(videos):,}"), *counts]


def markdown(result: Benchmark) -> str:
    """The page as Markdown."""
    points = [f"**{alarm.kind}**: {alarm.text}" for alarm in alarms(result)]
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
        alarms=alarms(result),
        totals=totals(result),
        sections=sections.make(result),
        pictures=False,
    )

"""The evaluation as a page, in Markdown and HTML, and as lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from semblance.quality.report.environment import environment
from semblance.training.evaluation import predictions
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.report import about, blocks, comparisons, curves, extras, figures, matrices, pictures
from semblance.training.evaluation.report.about import Alarm
from semblance.training.evaluation.report.blocks import Block, Section
from semblance.training.evaluation.report.extras import Extras
from semblance.training.evaluation.report.figures import interval, shown
from semblance.training.evaluation.results import LEAST_GROUPS, Row
from semblance.training.evaluation.seeds import spread
from semblance.training.metrics.registry import METRICS

CURVES: Final = "Curves"
SCORES: Final = "Scores of reals and fakes"
_PACKAGE: Final = "semblance.training.evaluation.report"


def summary(result: Evaluation) -> list[list[str]]:
    """Figures by video for a terminal: a heading, then one line per run and per group of seeds."""
    metrics = [metric for name, metric in METRICS.items() if metric.summary and name != "auc"]
    lines = [["model", "AUC", "95 %", *(metric.title for metric in metrics), "by frame AUC", "videos"]]
    video = {row.model: row for row in about.whole(result)}
    frame: dict[str, Row] = {}
    for row in result.rows:
        if row.level == "frame":
            frame.setdefault(row.model, row)
    for model, row in video.items():
        values = [shown(row.figures[metric.name]) for metric in metrics]
        auc = row.figures["auc"]
        lines.append(
            [
                *(model, shown(auc), interval(auc) or "-", *values),
                *(shown(frame[model].figures["auc"]), f"{row.scored}/{row.listed}"),
            ]
        )
    for group in result.seeds:
        cells = []
        for rows, names in ((video, ["auc", *(metric.name for metric in metrics)]), (frame, ["auc"])):
            over = [spread(rows[run].figures[name].value for run in group.runs) for name in names]
            cells += ["-" if one is None else f"{one.mean:.3f} ± {one.sd:.3f}" for one in over]
        lines.append([str(group), cells[0], "-", *cells[1:], "-"])
    return lines


def caution(result: Evaluation) -> str | None:
    """What a few groups mean, for a terminal; None if there are enough for intervals."""
    known = result.videos.with_columns(predictions.groups(result.videos).alias("group"))
    least = min(known.filter(label=label)["group"].n_unique() for label in (0, 1))
    if least >= LEAST_GROUPS:
        return None
    return (
        f"Only {least} people or families of a class were judged, so there is no interval: with others each AUC could "
        f"differ by {1 / least:.1f} and more, and so could the order of the models."
    )


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, for a terminal."""
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def sections(result: Evaluation, more: Extras | None = None) -> list[Section]:
    """The sections of the page, in order; none is empty."""
    more = more or Extras()
    drawn: list[Block] = [*curves.by_level(result)]
    found = [
        figures.overall(result),
        Section(title=CURVES, blocks=drawn),
        Section(title=SCORES, blocks=[curves.WORDS, *curves.scores(result)]),
        comparisons.over_seeds(result),
        comparisons.differences(result),
        matrices.section(result),
        comparisons.left_out_methods(result),
        comparisons.transfers(result),
        figures.by_dataset(result),
        figures.detailed(result),
        *extras.sections(more),
        pictures.section(result) if more.pictures else None,
        about.sources(result),
        about.legend(result.options.draws),
    ]
    return [one for one in found if one is not None]


def alarms(result: Evaluation, more: Extras) -> list[Alarm]:
    """What a reader should know first, of the evaluation and of attacks."""
    masked = more.attacked.masked if more.attacked is not None else ()
    return [*about.alarms(result), *(Alarm(level="warning", kind="Masked gradients", text=text) for text in masked)]


def markdown(result: Evaluation, more: Extras | None = None) -> str:
    """The page as Markdown, without drawings and pictures."""
    more = replace(more or Extras(), pictures=False)
    inside = [one for one in sections(result, more) if one.title not in (CURVES, SCORES)]
    points = [f"**{alarm.kind}**: {alarm.text}" for alarm in alarms(result, more)]
    head = [f"# {about.title(result)}", f"{about.subtitle(result)}.", f"{about.headline(result)}."]
    told = "\n".join(f"- {point}" for point in points)
    return "\n\n".join(part for part in (*head, told, blocks.markdown(inside)) if part)


def html(result: Evaluation, more: Extras | None = None) -> str:
    """The page with curves and pictures as one self-contained HTML file."""
    more = more or Extras()
    templates = environment(_PACKAGE)
    templates.filters["marked"] = blocks.marked
    templates.filters["kind"] = lambda block: type(block).__name__
    return templates.get_template("evaluation.html").render(
        title=about.title(result),
        subtitle=about.subtitle(result),
        headline=about.headline(result),
        alarms=alarms(result, more),
        totals=about.totals(result),
        sections=sections(result, more),
        pictures=more.pictures,
    )

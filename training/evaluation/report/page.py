"""The evaluation page, in Markdown and HTML: data, runs, figures with intervals, and how to read them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.evaluation.cost import Cost
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.fairness import PARITY, Fairness
from semblance.training.evaluation.predictions import PLAIN
from semblance.training.evaluation.report import curves
from semblance.training.evaluation.results import LEAST_GROUPS, Row
from semblance.training.evaluation.robustness import Change
from semblance.training.evaluation.selective import Risk
from semblance.training.inference.mc_dropout import UNCERTAIN
from semblance.training.metrics.registry import METRICS


def summary(result: Evaluation) -> list[list[str]]:
    """One line per run with figures by video, for a terminal. The first line is the heading."""
    metrics = [metric for name, metric in METRICS.items() if metric.summary and name != "auc"]
    lines = [["model", "AUC", "95 %", *(metric.title for metric in metrics), "by frame AUC", "videos"]]
    for model in (name for name in result.predictors if not name.endswith(PLAIN)):
        whole = [row for row in result.rows if row.model == model and row.method is None]
        video = next(row for row in whole if row.level == "video")
        frame = next(row for row in whole if row.level == "frame")
        values = [shown(video.figures[metric.name]) for metric in metrics]
        auc = video.figures["auc"]
        lines.append(
            [model, shown(auc), interval(auc), *values, shown(frame.figures["auc"]), f"{video.scored}/{video.listed}"]
        )
    return lines


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, for a terminal."""
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """Optional parts of the page."""

    changes: Sequence[Change] = ()
    fairness: Sequence[Fairness] = ()
    costs: Sequence[Cost] = ()
    uncertainty: Mapping[str, Risk] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page: text, bullet points, a table (its first line is the heading) and drawings (HTML only)."""

    title: str
    text: str = ""
    points: Sequence[str] = ()
    table: Sequence[Sequence[str]] = ()
    drawings: Sequence[str] = ()


def sections(result: Evaluation, extras: Extras) -> list[Section]:
    """The sections of the page, in order."""
    overall = [row for row in result.rows if row.method is None and row.compression is None]
    detailed = [row for row in result.rows if row.level != "video (mean)" and (row.method or row.compression)]
    by_method = "Each method's fakes against the reals of the same dataset and compression, by video and by frame."
    cross = "AUC by video. Only *unseen dataset* is a cross-dataset figure."
    parts = [
        Section(title=f"Evaluation of {', '.join(result.predictors)}", points=_about(result)),
        Section(title="Overall", table=_lines(overall), drawings=curves.of_evaluation(result)),
        Section(title="Datasets", text=cross, table=_matrix(result)),
        Section(title="Methods and compressions", text=by_method, table=_lines(detailed)),
    ]
    if extras.uncertainty:
        parts.append(_uncertain(extras.uncertainty))
    if extras.changes:
        parts.append(_changed(extras.changes))
    if extras.fairness:
        parts += _fair(extras.fairness)
    if extras.costs:
        parts.append(_costly(extras.costs))
    return [*parts, Section(title="How to read this", text=_legend(result.options.draws))]


def markdown(result: Evaluation, extras: Extras | None = None) -> str:
    """The page as Markdown."""
    parts = []
    for number, section in enumerate(sections(result, extras or Extras())):
        points = "\n".join(f"- {point}" for point in section.points)
        parts += [f"{'##' if number else '#'} {section.title}", section.text, points]
        parts.append(table(section.table) if section.table else "")
    return "\n\n".join(part for part in parts if part) + "\n"


def html(result: Evaluation, extras: Extras | None = None) -> str:
    """The page with its curves as one self-contained HTML file."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["marked"] = _marked
    return environment.from_string(_HTML).render(sections=sections(result, extras or Extras()))


def table(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first line is its heading."""
    if len(lines) < 2:
        return "None."
    rule = ["---"] * len(lines[0])
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (lines[0], rule, *lines[1:])
    )


def shown(estimate: Estimate) -> str:
    """The value, or a dash."""
    return "-" if estimate.value is None else f"{estimate.value:.3f}"


def interval(estimate: Estimate) -> str:
    """The interval, or a dash."""
    return "-" if estimate.low is None or estimate.high is None else f"{estimate.low:.3f} to {estimate.high:.3f}"


def _lines(rows: Sequence[Row]) -> list[list[str]]:
    heading = ["model", "level", "dataset", "compression", "method", "mark", "reals", "fakes", "videos"]
    heading += [metric.title for metric in METRICS.values()] + ["AUC, faceless at 0.5"]
    lines = [heading]
    for row in rows:
        place = [row.dataset or "all", row.compression or "all", row.method or "all"]
        counts = [str(row.reals), str(row.fakes), f"{row.scored}/{row.listed}"]
        cells = [_both(row.figures[name], metric.interval) for name, metric in METRICS.items()]
        filled = _both(row.filled["auc"], False) if row.filled else "-"
        lines.append([row.model, row.level, *place, row.mark, *counts, *cells, filled])
    return lines


def _both(estimate: Estimate, with_interval: bool) -> str:
    with_interval = with_interval and estimate.low is not None
    return f"{shown(estimate)} ({interval(estimate)})" if with_interval else shown(estimate)


def _matrix(result: Evaluation) -> list[list[str]]:
    datasets = sorted(result.videos["dataset"].unique())
    lines = [["model", "trained on", *datasets]]
    for model, predictor in result.predictors.items():
        cells = []
        for dataset in datasets:
            row = next(
                row
                for row in result.rows
                if (row.model, row.level, row.dataset, row.compression, row.method)
                == (model, "video", dataset, None, None)
            )
            cells.append(f"{_both(row.figures['auc'], True)}, {row.mark}, {row.scored}/{row.listed} videos")
        names = sorted({str(record["dataset"]) for record in predictor.datasets if record["role"] == "train"})
        lines.append([model, ", ".join(names), *cells])
    return lines


def _about(result: Evaluation) -> list[str]:
    lines = [
        f"Split `{result.options.split}` of column `{result.split_column}` of {', '.join(result.outs)}: "
        f"{result.selection.counts}; {result.videos.height} videos listed.",
    ]
    for model, predictor in result.predictors.items():
        limits = ", ".join(f"{level} {value:.3f}" for level, value in result.thresholds[model].items())
        weights = ", ".join(f"{m.name} {w:.3f}" for m, w in zip(predictor.members, predictor.weights, strict=True))
        kind = (
            f"ensemble of {weights}; temperatures {predictor.frame_temperature:.3f} (frames), "
            f"{predictor.video_temperature:.3f} (videos)"
            if predictor.calibrated
            else "one model, probabilities not calibrated (temperature 1)"
        )
        lines.append(f"**{model}**: {kind}. Thresholds chosen on val (logits): {limits}.")
    lines += [f"**Leak**: {leak}." for leak in result.leaks.leaks]
    lines += [f"Not checked for leaks into training: {reason}." for reason in result.leaks.unknown]
    lines += result.notes
    if result.options.split != "test":
        split = result.options.split
        lines.append(f"Models were trained or selected on split `{split}`, or on data close to it.")
    return lines


def _changed(changes: Sequence[Change]) -> Section:
    heading = ["model", "condition", "videos", "pictures", "AUC before", "after", "change", "balanced acc.", "after"]
    lines = [heading]
    for change in changes:
        cells = [_both(value, True) for value in (change.before, change.after, change.change)]
        cells += [shown(change.balanced_before), shown(change.balanced_after)]
        lines.append([change.model, change.name, str(change.videos), str(change.pictures), *cells])
    return Section(
        title="Under other conditions",
        text="The same videos, by video, at val's threshold. JPEG and resizing are applied to the stored crops, not to "
        "the videos, so faces were detected on clean frames. A build is compared on the samples that both have.",
        table=lines,
        drawings=curves.degradation(changes),
    )


def _fair(results: Sequence[Fairness]) -> list[Section]:
    heading = ["model", "group", "videos", "fakes (base rate)", "AUC", "FPR", "FNR", "called fake"]
    lines, gaps = [heading], []
    for result in results:
        for group in result.groups:
            cells = [_both(group.figures[name], True) for name in ("base", "auc", "fpr", "fnr", "positive")]
            lines.append([result.model, group.name, str(group.videos), *cells])
        gaps.append(
            f"**{result.model}**: equal-opportunity gap {_both(result.opportunity, True)}, "
            f"demographic-parity difference {_both(result.parity, True)}; "
            f"{result.ungrouped} scored videos are in no group."
        )
    return [Section(title="Groups", text=PARITY, points=gaps, table=lines)]


def _costly(costs: Sequence[Cost]) -> Section:
    lines = [["run", "device", "ms per crop, alone", "in a batch of 32", "GFLOP per crop", "peak MiB", "J per crop"]]
    for cost in costs:
        values = [f"{cost.alone_ms:.1f}", f"{cost.batch_ms:.1f}", f"{cost.gflop:.3f}", f"{cost.memory_mib:.0f}"]
        joules = f"not measured: {cost.metered}" if cost.energy_j is None else f"{cost.energy_j:.3g} ({cost.metered})"
        lines.append([cost.model, cost.device, *values, joules])
    text = (
        "A multiplication and an addition count as two floating-point operations; torch counts those of convolutions "
        "and matrix products. Memory is the peak of the process so far, or of the GPU. Energy is measured in batches "
        "of 32 by the counter of the part named, so it includes idle power and everything else that ran on it."
    )
    return Section(title="Cost", text=text, table=lines)


def _uncertain(risks: Mapping[str, Risk]) -> Section:
    lines = [["model", "videos", f"uncertain (above {UNCERTAIN})", "wrong of all", "wrong of the certain"]]
    for model, risk in risks.items():
        certain = "-" if risk.wrong_certain is None else f"{risk.wrong_certain:.3f}"
        lines.append([model, str(risk.videos), str(risk.uncertain), f"{risk.wrong:.3f}", certain])
    text = (
        f"Monte-Carlo dropout: twice the standard deviation of the probability over {next(iter(risks.values())).passes}"
        " passes with active dropout layers. Runs without a dropout layer are not listed."
    )
    return Section(title="Uncertainty", text=text, table=lines, drawings=curves.risk(risks))


def _marked(text: str) -> Any:
    """The page's own **strong** and *emphasised* words as HTML; everything else is escaped."""
    from markupsafe import Markup, escape

    safe = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", str(escape(text)))
    return Markup(re.sub(r"\*(.+?)\*", r"<i>\1</i>", safe))  # escaped above


def _legend(draws: int) -> str:
    notes = " ".join(f"{metric.title}: {metric.note}." for metric in METRICS.values() if metric.note)
    return (
        "The score of a person in a video is the mean logit of all pictures of that person. The score of a video is "
        "the maximum over its persons, or their mean at level *video (mean)*. *mark*: whether the model was trained on"
        " the datasets and methods of the row; *mixed*: on some of them. *videos*: those with a kept face, of all that "
        "the split lists; the last column scores the others at probability 0.5. Frame figures use the label of the "
        "face, and exclude faces whose label is unknown. "
        f"{notes} Intervals: the middle 95 % of {draws} bootstrap draws of whole groups. A group is the person seen, "
        f"if the dataset names one for every video, else the family. With fewer than {LEAST_GROUPS} groups of a class "
        "there is no interval: it would look surer than the figure is."
    )


_HTML: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ sections[0].title }}</title>
<style>
body { font: 15px/1.5 sans-serif; color: #222; background: #fff; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto }
th, td { padding: .25rem .5rem; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap }
th { background: #f4f4f4 } .drawings { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: 1rem }
</style></head><body>
{% for section in sections %}
<h{{ 1 if loop.first else 2 }}>{{ section.title }}</h{{ 1 if loop.first else 2 }}>
{% if section.text %}<p>{{ section.text | marked }}</p>{% endif %}
{% if section.points %}<ul>{% for point in section.points %}<li>{{ point | marked }}</li>{% endfor %}</ul>{% endif %}
{% if section.table | length > 1 %}
<table><tr>{% for cell in section.table[0] %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for line in section.table[1:] %}<tr>{% for cell in line %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% endif %}
{% if section.drawings %}
<div class="drawings">{% for drawing in section.drawings %}{{ drawing | safe }}{% endfor %}</div>
{% endif %}
{% endfor %}
</body></html>
"""

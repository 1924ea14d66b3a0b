"""The evaluation as a page, Markdown or HTML: what was judged, by whom, how well, how surely."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.evaluation.cost import Cost
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.fairness import PARITY, Fairness
from semblance.training.evaluation.predictions import MIRROR
from semblance.training.evaluation.report import curves
from semblance.training.evaluation.results import Row
from semblance.training.evaluation.robustness import Change
from semblance.training.evaluation.selective import Risk
from semblance.training.inference.mc_dropout import UNCERTAIN
from semblance.training.metrics.registry import METRICS


def summary(result: Evaluation) -> list[list[str]]:
    """One line a run, by video: what a terminal shows. The first line is the heading."""
    shown_too = [metric for name, metric in METRICS.items() if metric.summary and name != "auc"]
    lines = [["model", "AUC", "95 %", *(metric.title for metric in shown_too), "by frame AUC", "videos"]]
    for model in (name for name in result.judges if not name.endswith(MIRROR)):
        whole = [row for row in result.rows if row.model == model and row.method is None]
        video = next(row for row in whole if row.level == "video")
        frame = next(row for row in whole if row.level == "frame")
        values = [shown(video.figures[metric.name]) for metric in shown_too]
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
    """What was asked for beside the figures."""

    changes: Sequence[Change] = ()
    fairness: Sequence[Fairness] = ()
    costs: Sequence[Cost] = ()
    uncertainty: Mapping[str, Risk] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page: sentences, points, a table (its first line the heading) and drawings, for HTML alone."""

    title: str
    text: str = ""
    points: Sequence[str] = ()
    table: Sequence[Sequence[str]] = ()
    drawings: Sequence[str] = ()


def sections(result: Evaluation, extras: Extras) -> list[Section]:
    """The page, part by part."""
    whole = [row for row in result.rows if row.method is None and row.compression is None]
    apart = [row for row in result.rows if row.level != "video (mean)" and (row.method or row.compression)]
    by_method = "Each method's fakes against the reals of the same dataset and compression, by video and by frame."
    cross = "AUC by video. Only *unseen dataset* is a cross-dataset figure."
    found = [
        Section(title=f"Evaluation of {', '.join(result.judges)}", points=_about(result)),
        Section(title="Over all", table=_lines(whole), drawings=curves.of(result)),
        Section(title="Datasets", text=cross, table=_matrix(result)),
        Section(title="Methods and compressions", text=by_method, table=_lines(apart)),
    ]
    if extras.uncertainty:
        found.append(_uncertain(extras.uncertainty))
    if extras.changes:
        found.append(_changed(extras.changes))
    if extras.fairness:
        found += _fair(extras.fairness)
    if extras.costs:
        found.append(_costly(extras.costs))
    return [*found, Section(title="How to read this", text=_legend(result.options.draws))]


def markdown(result: Evaluation, extras: Extras | None = None) -> str:
    """The whole page as Markdown."""
    parts = []
    for number, one in enumerate(sections(result, extras or Extras())):
        parts += [f"{'##' if number else '#'} {one.title}", one.text, "\n".join(f"- {point}" for point in one.points)]
        parts.append(table(one.table) if one.table else "")
    return "\n\n".join(part for part in parts if part) + "\n"


def html(result: Evaluation, extras: Extras | None = None) -> str:
    """The whole page as one HTML file with its curves, that needs nothing else."""
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


def shown(one: Estimate) -> str:
    return "-" if one.value is None else f"{one.value:.3f}"


def interval(one: Estimate) -> str:
    return "-" if one.low is None or one.high is None else f"{one.low:.3f} to {one.high:.3f}"


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


def _both(one: Estimate, with_interval: bool) -> str:
    return f"{shown(one)} ({interval(one)})" if with_interval and one.low is not None else shown(one)


def _matrix(result: Evaluation) -> list[list[str]]:
    datasets = sorted(result.videos["dataset"].unique())
    lines = [["model", "trained on", *datasets]]
    for model, one in result.judges.items():
        cells = []
        for dataset in datasets:
            row = next(
                row
                for row in result.rows
                if (row.model, row.level, row.dataset, row.compression, row.method)
                == (model, "video", dataset, None, None)
            )
            cells.append(f"{_both(row.figures['auc'], True)}, {row.mark}, {row.scored}/{row.listed} videos")
        names = sorted({str(record["dataset"]) for record in one.datasets if record["role"] == "train"})
        lines.append([model, ", ".join(names), *cells])
    return lines


def _about(result: Evaluation) -> list[str]:
    lines = [
        f"Split `{result.options.split}` of column `{result.split_column}` of {', '.join(result.outs)}: "
        f"{result.chosen.counts}; {result.videos.height} videos listed.",
    ]
    for model, one in result.judges.items():
        limits = ", ".join(f"{level} {value:.3f}" for level, value in result.thresholds[model].items())
        weights = ", ".join(f"{m.name} {w:.3f}" for m, w in zip(one.members, one.weights, strict=True))
        kind = (
            f"ensemble of {weights}; temperatures {one.frame_temperature:.3f} (frames), "
            f"{one.video_temperature:.3f} (videos)"
            if one.calibrated
            else "one model, probabilities as trained (temperature 1)"
        )
        lines.append(f"**{model}**: {kind}. Thresholds, fixed on val (logits): {limits}.")
    lines += [f"**Leak**: {leak}." for leak in result.leaks.leaks]
    lines += [f"Leaks into training were not looked for: {reason}." for reason in result.leaks.unknown]
    lines += result.notes
    if result.options.split != "test":
        lines.append(f"This is the `{result.options.split}` side: models were chosen or trained on it or beside it.")
    return lines


def _changed(changes: Sequence[Change]) -> Section:
    heading = ["model", "condition", "videos", "pictures", "AUC before", "after", "change", "balanced acc.", "after"]
    lines = [heading]
    for one in changes:
        cells = [_both(value, True) for value in (one.before, one.after, one.change)]
        rest = [shown(one.balanced_before), shown(one.balanced_after)]
        lines.append([one.model, one.name, str(one.videos), str(one.pictures), *cells, *rest])
    return Section(
        title="Under other conditions",
        text="The same videos, by video, at val's threshold. JPEG and resizing are done to the stored crops, not to "
        "the videos: faces were found on clean frames. A build compares the samples that both have.",
        table=lines,
        drawings=curves.degradation(changes),
    )


def _fair(found: Sequence[Fairness]) -> list[Section]:
    heading = ["model", "group", "videos", "fakes (base rate)", "AUC", "FPR", "FNR", "called fake"]
    lines, gaps = [heading], []
    for one in found:
        for group in one.groups:
            cells = [_both(group.figures[name], True) for name in ("base", "auc", "fpr", "fnr", "positive")]
            lines.append([one.model, group.name, str(group.videos), *cells])
        gaps.append(
            f"**{one.model}**: equal-opportunity gap {_both(one.opportunity, True)}, demographic-parity difference "
            f"{_both(one.parity, True)}; {one.ungrouped} scored videos are in no group."
        )
    return [Section(title="Groups", text=PARITY, points=gaps, table=lines)]


def _costly(costs: Sequence[Cost]) -> Section:
    lines = [["run", "device", "ms a crop, alone", "in a batch of 32", "GFLOP a crop", "peak MiB", "J a crop"]]
    for one in costs:
        values = [f"{one.alone_ms:.1f}", f"{one.batch_ms:.1f}", f"{one.gflop:.3f}", f"{one.memory_mib:.0f}"]
        joules = f"not measured: {one.metered}" if one.energy_j is None else f"{one.energy_j:.3g} ({one.metered})"
        lines.append([one.model, one.device, *values, joules])
    text = (
        "A multiplication and an addition are two floating-point operations (torch's counter: convolutions and matrix "
        "products). Memory is the whole process's so far, or the GPU's. Energy is that of the whole part named, in "
        "batches of 32, by its own counter: idle power and whatever else ran are in it."
    )
    return Section(title="Cost", text=text, table=lines)


def _uncertain(found: Mapping[str, Risk]) -> Section:
    lines = [["model", "videos", f"uncertain (above {UNCERTAIN})", "wrong of all", "wrong of the certain"]]
    for model, one in found.items():
        certain = "-" if one.wrong_certain is None else f"{one.wrong_certain:.3f}"
        lines.append([model, str(one.videos), str(one.uncertain), f"{one.wrong:.3f}", certain])
    text = (
        f"Monte-Carlo dropout: twice the standard deviation of the probability over {next(iter(found.values())).passes}"
        " passes with dropout layers alone active. Runs without a dropout layer have none and are left out."
    )
    return Section(title="Uncertainty", text=text, table=lines, drawings=curves.risk(found))


def _marked(text: str) -> Any:
    """The page's own **strong** and *emphasised* words as HTML, all else escaped."""
    from markupsafe import Markup, escape

    safe = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", str(escape(text)))
    return Markup(re.sub(r"\*(.+?)\*", r"<i>\1</i>", safe))  # escaped above


def _legend(draws: int) -> str:
    notes = " ".join(f"{metric.title}: {metric.note}." for metric in METRICS.values() if metric.note)
    return (
        "A track's score is the mean logit of its pictures, a video's the maximum over its tracks; *video (mean)* "
        "takes their mean. *videos*: with a kept face, of those that the split lists; the last column scores the "
        "others at probability 0.5. Frame figures use the face's label and leave out faces of which it is unknown. "
        f"{notes} Intervals: the middle 95 % of {draws} draws of whole groups (the person seen, where the dataset "
        "names one for every video, else families)."
    )


_HTML: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ sections[0].title }}</title>
<style>
body { font: 15px/1.5 sans-serif; color: #222; background: #fff; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto }
th, td { padding: .25rem .5rem; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap }
th { background: #f4f4f4 } .drawings { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: 1rem }
</style></head><body>
{% for one in sections %}
<h{{ 1 if loop.first else 2 }}>{{ one.title }}</h{{ 1 if loop.first else 2 }}>
{% if one.text %}<p>{{ one.text | marked }}</p>{% endif %}
{% if one.points %}<ul>{% for point in one.points %}<li>{{ point | marked }}</li>{% endfor %}</ul>{% endif %}
{% if one.table | length > 1 %}
<table><tr>{% for cell in one.table[0] %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for line in one.table[1:] %}<tr>{% for cell in line %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% endif %}
{% if one.drawings %}
<div class="drawings">{% for drawing in one.drawings %}{{ drawing | safe }}{% endfor %}</div>
{% endif %}
{% endfor %}
</body></html>
"""

"""The evaluation as a page of Markdown: what was judged, by whom, how well, how surely."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from training.evaluation import metrics
from training.evaluation.bootstrap import Estimate
from training.evaluation.evaluate import Evaluation
from training.evaluation.rows import Row

_TITLES = {
    "auc": "AUC",
    "ap": "AP",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced acc.",
    "eer": "EER",
    "log_loss": "log loss",
    "ece": "ECE",
    "prevalence": "fakes",
}


def summary(result: Evaluation) -> list[list[str]]:
    """One line a model, by video: what a terminal shows. The first line is the heading."""
    heading = ["model", "AUC", "95 %", "AP", "balanced acc.", "EER", "log loss", "ECE", "by frame AUC", "videos"]
    lines = [heading]
    for model in result.judges:
        whole = [row for row in result.rows if row.model == model and row.method is None]
        video = next(row for row in whole if row.level == "video")
        frame = next(row for row in whole if row.level == "frame")
        values = [shown(video.figures[name]) for name in ("ap", "balanced_accuracy", "eer", "log_loss", "ece")]
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


def markdown(result: Evaluation, more: Iterable[str] = ()) -> str:
    """The whole page; ``more`` are sections that follow its own."""
    options = result.options
    sections = [
        f"# Evaluation of {', '.join(result.judges)}",
        _about(result),
        "## Over all",
        table(_lines([row for row in result.rows if row.method is None and row.compression is None])),
        "## Datasets",
        "Only *unseen dataset* is a cross-dataset figure. AUC by video.",
        table(_matrix(result)),
        "## Methods and compressions",
        "Each method's fakes against the reals of the same dataset and compression, by video and by frame.",
        table(_lines([r for r in result.rows if r.level != "video (mean)" and (r.method or r.compression)])),
        *more,
        "## How to read this",
        _legend(options.draws),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


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
    heading += [_TITLES[name] for name in metrics.NAMES] + ["AUC, faceless at 0.5"]
    lines = [heading]
    for row in rows:
        place = [row.dataset or "all", row.compression or "all", row.method or "all"]
        counts = [str(row.reals), str(row.fakes), f"{row.scored}/{row.listed}"]
        cells = [_both(row.figures[name], name in ("auc", "eer", "balanced_accuracy")) for name in metrics.NAMES]
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


def _about(result: Evaluation) -> str:
    lines = [
        f"- Split `{result.options.split}` of column `{result.split_column}` of {', '.join(result.outs)}: "
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
        lines.append(f"- **{model}**: {kind}. Thresholds, fixed on val (logits): {limits}.")
    lines += [f"- **Leak**: {leak}." for leak in result.leaks.leaks]
    lines += [f"- Leaks into training were not looked for: {reason}." for reason in result.leaks.unknown]
    lines += [f"- {note}" for note in result.notes]
    if result.options.split != "test":
        lines.append(f"- This is the `{result.options.split}` side: models were chosen or trained on it or beside it.")
    return "\n".join(lines)


def _legend(draws: int) -> str:
    return (
        "A track's score is the mean logit of its pictures, a video's the maximum over its tracks; *video (mean)* "
        "takes their mean. *videos*: with a kept face, of those that the split lists; the last column scores the "
        "others at probability 0.5. Frame figures use the face's label and leave out faces of which it is unknown. "
        "EER: linear interpolation of the ROC. ECE: 15 bins of equal mass. Intervals: the middle 95 % of "
        f"{draws} draws of whole groups (the person seen, where the dataset names one for every video, else families)."
    )

"""The tables of figures: runs (or runs over seeds) by level and part of the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.report.blocks import Block, Cell, Fold, Section, Table, Value
from semblance.training.evaluation.results import Level, Row
from semblance.training.evaluation.seeds import Seeds, Spread, spread
from semblance.training.metrics.registry import METRICS, Metric

LEVELS: Final[Mapping[Level, str]] = {
    "video": "By video, the maximum over its persons",
    "video (mean)": "By video, the mean over its persons",
    "frame": "By frame",
}
KINDS: Final = {"ranking": "how well fakes rank above reals", "decision": "decisions at val's threshold, probabilities"}


def overall(result: Evaluation) -> Section:
    """Everything together: by video, then folded by the mean over persons and by frame."""
    dataset, rows = next(iter(_datasets(result).items()))
    blocks: list[Block] = [*_tables(rows, "video", result.seeds, dataset), *_aggregation(result, rows)]
    blocks += [
        Fold(title=title, blocks=_tables(rows, level, result.seeds, dataset))
        for level, title in LEVELS.items()
        if level != "video"
    ]
    return Section(title="Overall", blocks=blocks)


def by_dataset(result: Evaluation) -> Section | None:
    """Each dataset, if there are several."""
    datasets = {dataset: rows for dataset, rows in _datasets(result).items() if dataset is not None}
    folds = [
        Fold(title=dataset, blocks=[one for level in LEVELS for one in _tables(rows, level, result.seeds, dataset)])
        for dataset, rows in datasets.items()
    ]
    return Section(title="Each dataset", blocks=folds) if len(folds) > 1 else None


def detailed(result: Evaluation) -> Section | None:
    """Each compression and each method with the reals of its compression; None if the data have neither."""
    rows = [row for row in result.rows if row.method is not None or row.compression is not None]
    folds = [
        Fold(title=title, blocks=[one for level in ("video", "frame") for one in _details(part, level)])
        for title, part in _grouped(rows).items()
    ]
    text = "Each method's fakes against the reals of the same dataset and compression."
    return Section(title="Each method and compression", blocks=[text, *folds]) if folds else None


def shown(estimate: Estimate) -> str:
    """The value, or a dash."""
    return "-" if estimate.value is None else f"{estimate.value:.3f}"


def interval(estimate: Estimate) -> str:
    """The interval, or nothing."""
    return "" if estimate.low is None or estimate.high is None else f"{estimate.low:.3f} to {estimate.high:.3f}"


def both(estimate: Estimate, with_interval: bool = True) -> Cell:
    """A figure with its interval below."""
    return Cell(text=shown(estimate), small=interval(estimate) if with_interval else "")


def spread_cell(found: Spread | None) -> Cell:
    """The mean over seeds with its standard deviation."""
    return Cell(text="-") if found is None else Cell(text=f"{found.mean:.3f}", small=f"± {found.sd:.3f}")


def _datasets(result: Evaluation) -> dict[str | None, list[Row]]:
    """The rows of everything (None) and of each dataset; of one dataset alone only those of this dataset."""
    found: dict[str | None, list[Row]] = {}
    for row in result.rows:
        if row.method is None and row.compression is None:
            found.setdefault(row.dataset, []).append(row)
    return found


def _grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(", ".join(filter(None, (row.dataset, row.compression))), []).append(row)
    return found


def _tables(rows: Sequence[Row], level: Level, groups: Sequence[Seeds], dataset: str | None) -> list[Table]:
    chosen = [row for row in rows if row.level == level]
    return [_table(chosen, kind, groups, dataset or "all datasets") for kind in KINDS]


def _table(rows: Sequence[Row], kind: str, groups: Sequence[Seeds], part: str) -> Table:
    metrics = [metric for metric in METRICS.values() if metric.kind == kind]
    filled = kind == "ranking" and any(row.scored < row.listed for row in rows) and rows[0].level != "frame"
    best = [_best([row.figures[metric.name].value for row in rows], metric) for metric in metrics]
    heading = ["model", "data", *(f"#{metric.title}" for metric in metrics), *(["#AUC, faceless at 0.5"] * filled)]
    lines: list[list[Value]] = []
    for row in rows:
        cells = [figure(row, metric, top) for metric, top in zip(metrics, best, strict=True)]
        lines.append([row.model, row.mark, *cells, *([both(row.filled["auc"], False)] if filled else [])])
    lines += [[str(group), "", *cells, *([""] * filled)] for group in groups for cells in [_over(rows, group, metrics)]]
    return Table(
        heading=heading,
        lines=lines,
        caption=f"{LEVELS[rows[0].level]}, {part}: {KINDS[kind]}. {counted(rows)}",
        label=f"{rows[0].level}, {part}, {kind}",
    )


def _over(rows: Sequence[Row], group: Seeds, metrics: Sequence[Metric]) -> list[Cell]:
    inside = [row for row in rows if row.model in group.runs]
    return [spread_cell(spread(row.figures[metric.name].value for row in inside)) for metric in metrics]


def counted(rows: Sequence[Row]) -> str:
    """How much the figures of these rows, of one part and level, rest on."""
    row = rows[0]
    what = "faces" if row.level == "frame" else "videos"
    unknown = f"; {row.unlabelled:,} faces without a face label are left out" if row.unlabelled else ""
    return (
        f"{row.reals:,} real and {row.fakes:,} fake {what}; {row.scored:,}/{row.listed:,} videos have a kept "
        f"face{unknown}."
    )


def figure(row: Row, metric: Metric, best: float | None = None) -> Cell:
    """A figure of a row with its interval, or what it lacks."""
    estimate = row.figures[metric.name]
    if estimate.value is None:
        needs = [
            f"needs {least:,} {name}"
            for least, count, name in ((metric.reals, row.reals, "reals"), (metric.fakes, row.fakes, "fakes"))
            if count < least
        ]
        return Cell(text="-", small=", ".join(needs))
    small = interval(estimate) if metric.interval else ""
    return Cell(text=shown(estimate), small=small, best=best is not None and shown(estimate) == f"{best:.3f}")


def _best(values: Sequence[float | None], metric: Metric) -> float | None:
    """The best of several values, by what is shown of them; None if there is nothing to choose."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or metric.better is None:
        return None
    return max(known) if metric.better == "higher" else min(known)


def _aggregation(result: Evaluation, rows: Sequence[Row]) -> Iterator[Block]:
    """AUC by video by maximum and by mean, side by side."""
    names = ("auc", "eer", "balanced_accuracy")
    heading = ["model", *(f"#{METRICS[name].title}, {how}" for name in names for how in ("maximum", "mean"))]
    lines: list[list[Value]] = []
    for model in dict.fromkeys(row.model for row in rows):
        of_level = {row.level: row for row in rows if row.model == model}
        pair = (of_level["video"], of_level["video (mean)"])
        lines.append([model, *(both(row.figures[name], METRICS[name].interval) for name in names for row in pair)])
    pictures = next(iter(result.predictions.values()))
    persons = pictures.select("video_id", "person").unique().group_by("video_id").len()["len"]
    many = int((persons > 1).sum())
    yield Table(
        heading=heading,
        lines=lines,
        caption=f"The score of a video by maximum and by mean of its persons. {many:,} of {len(persons):,} videos show "
        + ("several persons; the others have the same score by both." if many else "several, so both are equal."),
        label="Maximum and mean",
    )


def _details(rows: Sequence[Row], level: str) -> Iterator[Table]:
    chosen = [row for row in rows if row.level == level]
    for kind, words in KINDS.items():
        metrics = [metric for metric in METRICS.values() if metric.kind == kind]
        heading = ["model", "method", "data", "#reals", "#fakes", "#videos", *(f"#{one.title}" for one in metrics)]
        lines: list[list[Value]] = [
            [
                *(row.model, row.method or "all", row.mark, f"{row.reals:,}", f"{row.fakes:,}"),
                f"{row.scored:,}/{row.listed:,}",
                *(figure(row, metric) for metric in metrics),
            ]
            for row in chosen
        ]
        title = "By video" if level == "video" else "By frame"
        part = ", ".join(filter(None, (chosen[0].dataset, chosen[0].compression)))
        yield Table(
            heading=heading, lines=lines, caption=f"{title}: {words}.", label=f"each method, {level}, {part}, {kind}"
        )

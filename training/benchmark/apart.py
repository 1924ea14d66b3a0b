"""Sections that are apart from the measured figures: what others published, what was evaluated, how to read it."""

from __future__ import annotations

from semblance.training.benchmark import published
from semblance.training.benchmark.published import Published
from semblance.training.benchmark.result import Benchmark
from semblance.training.evaluation import provenance
from semblance.training.evaluation.external import External
from semblance.training.evaluation.report.blocks import Cell, Section, Table, Value
from semblance.training.evaluation.results import LEAST_GROUPS

_HASH = 12  # characters shown of a fingerprint


def published_figures(result: Benchmark) -> Section | None:
    """The grey block; None if it is not asked for."""
    if not result.suite.published:
        return None
    text = (
        "Published figures are **not comparable** with those above: other splits and subsets of videos, other face "
        "detectors and crops, frame or video scores aggregated otherwise, often the mean over frames, and for most of "
        "them nobody says whether the checkpoint was chosen on the test data. *by its code*: the published training "
        "code keeps the checkpoint that is best on test sets. They tell only how far the field is. "
        "All were trained on FF++ c23."
    )
    lines: dict[tuple[str, str, str], dict[str, Published]] = {}
    for one in published.figures():
        lines.setdefault((one.method, one.level, one.source), {})[one.dataset] = one
    made: list[list[Value]] = []
    for (method, level, source), found in lines.items():
        first = next(iter(found.values()))
        told = {"authors": source, "logs": source, "notes": f"{source}; as others note, not checked"}[first.told]
        made.append(
            [method, level, *(_published(found.get(name)) for name in published.DATASETS), first.chosen_on_test, told]
        )
    heading = ["method", "by", *(f"#{name}" for name in published.DATASETS), "chosen on test", "source"]
    table = Table(
        heading=heading, lines=made, caption="AUC as published elsewhere.", label="Published figures", apart=True
    )
    return Section(title="Published elsewhere", blocks=[text, table])


def _published(one: Published | None) -> str:
    if one is None:
        return "-"
    return f"{one.auc:.3f}" if one.most is None else f"{one.auc:.3f}-{one.most:.3f}"


def sources(result: Benchmark) -> Section:
    """Columns and rows with their fingerprints."""
    lines: list[list[Value]] = []
    for one in result.columns:
        column, build = one.column, provenance.builds(one.result)[0]
        changed = [str(one) for one in (column.degrade, column.attack, column.certify) if one is not None]
        parts = [column.compression, ", ".join(column.method), *changed]
        dataset = f"{build.dataset} (SYNTHETIC)" if build.synthetic else build.dataset
        lines.append(
            [
                Cell(text=column.name, link=f"{one.folder}/evaluation.html"),
                column.kind or "by each record",
                *(column.data, dataset, (build.fingerprint or "unknown")[:_HASH]),
                f"{column.split} of {one.result.split_column}",
                "; ".join(filter(None, parts)) or "all",
            ]
        )
    heading = ["column", "kind", "build", "dataset", "fingerprint", "split", "part"]
    columns = Table(heading=heading, lines=lines, caption="Columns, with their evaluations.", label="Columns")
    return Section(title="Rows and columns", blocks=[_rows(result), columns])


def _rows(result: Benchmark) -> Table:
    predictors = {name: one for part in result.measured for name, one in part.result.scorers.items()}
    lines: list[list[Value]] = []
    for system in result.systems:
        for run in system.runs:
            one = predictors[run]
            if isinstance(one, External):
                told = provenance.external(one)
                known = (told.sha256 or "unknown")[:_HASH]
                lines.append([system.name, run, f"external: {told.source}", "-", "not known", known])
                continue
            for model in provenance.models(one):
                builds = (f"{part.dataset} {part.fingerprint[:_HASH]}" for part in model.trained)
                trained = "; ".join(dict.fromkeys(builds))
                names = run if model.name == run else f"{run}: {model.name}"
                lines.append([system.name, names, model.recipe, str(model.seed), trained, model.sha256[:_HASH]])
    heading = ["row", "run", "recipe", "#seed", "trained on", "SHA-256"]
    return Table(heading=heading, lines=lines, caption="Rows, with their runs.", label="Rows")


def legend(result: Benchmark) -> Section:
    """How the figures are made."""
    return Section(
        title="How to read this",
        blocks=[
            "*kind*: what the suite says that a column shows. It is checked against what each run recorded of its "
            "training, by names of datasets and methods. Where the record contradicts it, the cell says so, is never "
            "bold and counts in no summary. *mixed*: trained on a part of it, so it counts as neither seen nor unseen.",
            f"Intervals of single runs: the middle 95 % of {result.suite.draws} bootstrap draws of whole groups, which "
            "are the people seen, if the dataset names them for every video, else families. With fewer than "
            f"{LEAST_GROUPS} groups of a class there is no interval, neither for a cell nor for what it enters.",
            "Consistency and gains: groups are drawn within each dataset. Columns of one dataset share their draws, so "
            "that what they have in common cancels out; different datasets are drawn independently. Rows share all "
            "draws, so gains are paired by video. A row of several seeds is their mean, and its runs are drawn with "
            "replacement too, paired by seed where two rows have the same seeds. With two or three seeds these "
            "intervals are still somewhat too narrow, and a single run says nothing of what training leaves to chance.",
            "Coverage: videos without a kept face have no score and are not in the figures. `benchmark.json` has every "
            "figure of this page; its format is described in docs/benchmark-json.md. `tables/` has them as CSV and "
            "LaTeX.",
        ],
    )

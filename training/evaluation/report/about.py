"""The head of the page, what a reader should know before the figures, provenance, and how to read the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from semblance.training.evaluation import provenance
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.provenance import Model
from semblance.training.evaluation.report.blocks import Fold, Section, Table, Value
from semblance.training.evaluation.report.figures import interval, shown
from semblance.training.evaluation.results import LEAST_GROUPS, Row
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics.registry import METRICS
from semblance.training.recipes import NAMED
from semblance.training.runs.folder import versions

_HASH: Final = 12  # characters shown of a fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """What a reader should know first: ``level`` is broken, warning or note; ``kind`` says so in a word.

    ``text`` may name files and videos, so it is shown as it is.
    """

    level: str
    kind: str
    text: str


def title(result: Evaluation) -> str:
    """What was evaluated, in one line."""
    runs = list(result.scorers)
    named = ", ".join(runs) if len(runs) <= 4 else f"{len(runs)} {_kinds(result)}"
    builds = provenance.builds(result)
    datasets = ", ".join(
        dict.fromkeys(f"{one.dataset} (SYNTHETIC)" if one.synthetic else one.dataset for one in builds)
    )
    return f"Evaluation of {named} on {datasets}"


def _kinds(result: Evaluation) -> str:
    """What several of them are called."""
    return "detectors" if result.externals else "runs"


def subtitle(result: Evaluation) -> str:
    """When, and on what."""
    protocols = dict.fromkeys(one.protocol or "unknown" for one in provenance.builds(result))
    column = result.split_column
    protocol = f"the builds' own protocol ({', '.join(protocols)})" if column == "split" else f"column `{column}`"
    return (
        f"{result.date}, split `{result.options.split}` of {protocol}: {result.selection.counts}; "
        f"{result.videos.height:,} videos listed"
    )


def headline(result: Evaluation) -> str:
    """AUC by video, of the best one if there are several."""
    best = max(whole(result), key=lambda row: row.figures["auc"].value or 0.0)
    figure = best.figures["auc"]
    wide = interval(figure)
    few = f", without an interval, from {best.reals:,} real and {best.fakes:,} fake videos"
    sure = f" (95 %: {wide})" if wide else few
    several = f", the best of {len(result.scorers)} {_kinds(result)}: {best.model}" if len(result.scorers) > 1 else ""
    return f"AUC by video {shown(figure)}{sure}{several}"


def whole(result: Evaluation) -> list[Row]:
    """The row of each run and external detector of all data, by video."""
    first: dict[str, Row] = {}
    for row in result.rows:
        if row.level == "video" and row.model in result.scorers:
            first.setdefault(row.model, row)
    return list(first.values())


def alarms(result: Evaluation) -> list[Alarm]:
    """Leaks, what could not be checked, and how the figures were made possible."""
    split = result.options.split
    found = [Alarm(level="broken", kind="Leak", text=f"{leak}.") for leak in result.leaks.leaks]
    if split != "test":
        said = f"Models were trained or selected on split {split}, or on data close to it."
        found.append(Alarm(level="warning", kind="Warning", text=said))
    found += [
        Alarm(level="warning", kind="Not checked for leaks into training", text=f"{reason}.")
        for reason in result.leaks.unknown
    ]
    return [*found, *(Alarm(level="note", kind="Note", text=note) for note in result.notes)]


def totals(result: Evaluation) -> list[tuple[str, str]]:
    """The sizes that the first screen shows."""
    labels = result.videos["label"]
    scored = result.selection.pictures["video_id"].n_unique()
    return [
        ("videos with a kept face", f"{scored:,} of {result.videos.height:,}"),
        ("real videos", f"{int((labels == 0).sum()):,}"),
        ("fake videos", f"{int((labels == 1).sum()):,}"),
        ("face pictures", f"{result.selection.pictures.height:,}"),
    ]


def sources(result: Evaluation) -> Section:
    """Runs, builds, thresholds and versions."""
    return Section(
        title="What was evaluated",
        blocks=[
            *_runs(result),
            *_externals(result),
            _thresholds(result),
            _builds(result),
            *_recipes(result),
            _versions(),
        ],
    )


def _runs(result: Evaluation) -> list[Table]:
    if not result.runs:
        return []
    heading = ["run", "model", "#weight", "recipe", "#seed", "#epoch", "trained on", "checkpoint (SHA-256)"]
    lines: list[list[Value]] = [
        [name, *cells]
        for name, predictor in result.runs.items()
        for cells in [_model(one, predictor) for one in provenance.models(predictor)]
    ]
    caption = (
        "Runs. *epoch*: that of the checkpoint, of those planned. *trained on*: dataset, fingerprint of the build, "
        "split column."
    )
    return [Table(heading=heading, lines=lines, caption=caption, label="Runs")]


def _externals(result: Evaluation) -> list[Table]:
    lines: list[list[Value]] = []
    for one in map(provenance.external, result.externals.values()):
        file = "-" if one.file is None or one.sha256 is None else f"{one.file} {one.sha256[:_HASH]}"
        lines.append([one.name, one.kind, one.source, file])
    if not lines:
        return []
    caption = (
        "External detectors. *file*: the source file of the function and its SHA-256, which say nothing about what it "
        "imports or which weights it loads. What they were trained on is not known."
    )
    return [Table(heading=["name", "kind", "source", "file"], lines=lines, caption=caption, label="External detectors")]


def _model(one: Model, predictor: Predictor) -> list[Value]:
    alone = len(predictor.members) == 1
    recipe = f"{one.recipe}, changed" if one.changes and one.recipe in NAMED else one.recipe
    trained = "; ".join(f"{part.dataset} {part.fingerprint[:_HASH]} {part.split_column}" for part in one.trained)
    weight = "-" if alone else f"{one.weight:.3f}"
    return [one.name, weight, recipe, str(one.seed), f"{one.epoch} of {one.epochs}", trained, one.sha256[:_HASH]]


def _thresholds(result: Evaluation) -> Table:
    heading = ["model", "#by video", "#by video (mean)", "#by frame", "chosen on", "probabilities"]
    lines: list[list[Value]] = []
    for model, limits in result.thresholds.items():
        predictor = result.predictors[model]
        said = (
            f"temperatures {predictor.frame_temperature:.3f} (frames), {predictor.video_temperature:.3f} (videos)"
            if isinstance(predictor, Predictor) and predictor.calibrated
            else "not calibrated"
        )
        values = [f"{limits[level]:.3f}" for level in ("video", "video (mean)", "frame")]
        lines.append([model, *values, result.threshold_sources[model], said])
    caption = "Thresholds, as logits: the best balanced accuracy on val. At or above it, one is called fake."
    return Table(heading=heading, lines=lines, caption=caption, label="Thresholds of val")


def _builds(result: Evaluation) -> Table:
    heading = ["build", "dataset", "fingerprint", "protocol", "#pictures", "#videos"]
    lines: list[list[Value]] = [
        [
            *(one.out, f"{one.dataset} (SYNTHETIC)" if one.synthetic else one.dataset),
            *((one.fingerprint or "unknown")[:_HASH], one.protocol or "unknown"),
            *(f"{one.pictures:,}", f"{one.videos:,}"),
        ]
        for one in provenance.builds(result)
    ]
    return Table(heading=heading, lines=lines, caption="Builds whose split was evaluated.", label="Builds")


def _recipes(result: Evaluation) -> list[Fold]:
    lines: list[list[Value]] = []
    for predictor in result.runs.values():
        for one in provenance.models(predictor):
            lines += [[one.name, *change.partition(": ")[::2]] for change in one.changes]
    lines = [line for number, line in enumerate(lines) if line not in lines[:number]]
    if not lines:
        return []
    caption = "What the recipes change of the recipe of their name, or of their base."
    table = Table(heading=["model", "key", "change"], lines=lines, caption=caption, label="Changed recipes")
    return [Fold(title="Changed recipes", blocks=[table])]


def _versions() -> Fold:
    lines = [list(pair) for pair in versions().items()]
    table = Table(heading=["package", "version"], lines=lines, caption="Evaluated with these.", label="Versions")
    return Fold(title="Versions", blocks=[table])


def legend(draws: int) -> Section:
    """How the figures are made."""
    notes = " ".join(f"{metric.title}: {metric.note}." for metric in METRICS.values() if metric.note)
    return Section(
        title="How to read this",
        blocks=[
            "The score of a person in a video is the mean logit of all pictures of that person. The score of a video "
            "is the maximum over its persons, as one altered face makes it fake, or, where a table says so, their "
            "mean. Frame figures use the label of the face, and exclude faces whose label is unknown.",
            "*data*: whether the model was trained on the datasets and methods of the line. *seen*: on all of them; "
            "*mixed*: on some; *unseen method*, *unseen dataset*: on none; *unknown*: nobody knows. Videos without a "
            "kept face have no score; where there are some, a column scores them at probability 0.5.",
            f"{notes}",
            f"Intervals: the middle 95 % of {draws} bootstrap draws of whole groups. A group is the person seen, if "
            f"the dataset names one for every video, else the family. With fewer than {LEAST_GROUPS} groups of a class "
            "there is no interval: it would look surer than the figure is. A figure that the number of reals or fakes "
            "cannot resolve is not measured. The best of a column is bold; that one model is better than another is "
            "said under *Differences between runs* only.",
            "`evaluation.json` has every figure of this page and the format is described in docs/evaluation-json.md; "
            "`predictions.parquet` has the score of every picture.",
        ],
    )

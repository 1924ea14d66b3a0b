"""An evaluation, from runs and builds to figures: refuses leaks, takes thresholds from val, counts what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from semblance.manifests import build_files, storage
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.quality.statistics import bootstrap
from semblance.training.data import shards
from semblance.training.data.query import Selection
from semblance.training.evaluation import leaks, predictions, results
from semblance.training.evaluation.results import LEVELS, Level, Row
from semblance.training.inference.predictor import Predictor, load_all
from semblance.training.metrics import classification

PREDICTIONS: Final = "predictions.parquet"
UNCERTAINTY: Final = "uncertainty.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is evaluated, and how often the bootstrap draws.

    ``split_column``: the split protocol; None takes that of the first run. ``allow_leaks`` reports leaks instead of
    refusing them.
    """

    split: str = "test"
    split_column: str | None = None
    allow_leaks: bool = False
    draws: int = bootstrap.DRAWS
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """Everything that pages are made from. Mappings are by model name; a mirrored one has a second, NAME+plain."""

    outs: tuple[str, ...]
    options: Options
    split_column: str
    predictors: Mapping[str, Predictor]
    selection: Selection
    videos: pl.DataFrame
    predictions: Mapping[str, pl.DataFrame]
    thresholds: Mapping[str, Mapping[Level, float]]
    rows: tuple[Row, ...]
    leaks: leaks.Found
    notes: tuple[str, ...] = ()

    @property
    def runs(self) -> dict[str, Predictor]:
        """The evaluated runs by name, without the rows NAME+plain."""
        return {name: predictor for name, predictor in self.predictors.items() if name == predictor.name}


def evaluate(
    outs: Sequence[str],
    runs: Sequence[str],
    options: Options | None = None,
    *,
    say: Callable[[str], None] = print,
) -> Evaluation:
    """Evaluate every run on one split of the builds ``outs``.

    Raises UsageError for an unknown name. Raises SemblanceError if the split is empty or has one class only, if it
    leaks into training data, or if a shard is missing. Both are raised before the first picture is read.
    """
    options = options or Options()
    outs = tuple(out.rstrip("/") for out in outs)
    predictors = load_all(runs)
    column = options.split_column or predictors[0].split_column
    selection = predictions.select_pictures(outs, options.split, column)
    videos = predictions.listed_videos(outs, options.split, column)
    _check_classes(selection, videos)
    shards.check(selection.shards)
    found = _leaks(predictors, outs, options, column, say)
    say(f"{options.split}: {selection.counts}; {videos.height} videos")
    if selection.note:
        say(selection.note)
    by_model = predictions.by_model(predictions.predict(predictors, selection))
    thresholds, notes = _thresholds(predictors, outs, column)
    owners = {name: _owner(predictors, name) for name in by_model}
    rows = [
        row
        for name, pictures in by_model.items()
        for row in results.evaluate(
            owners[name], name, pictures, videos, thresholds[name], draws=options.draws, seed=options.seed
        )
    ]
    return Evaluation(
        outs=outs,
        options=options,
        split_column=column,
        predictors=owners,
        selection=selection,
        videos=videos,
        predictions=by_model,
        thresholds=thresholds,
        rows=tuple(rows),
        leaks=found,
        notes=tuple(dict.fromkeys([selection.note, *notes] if selection.note else notes)),
    )


def _owner(predictors: Sequence[Predictor], model: str) -> Predictor:
    """The predictor that a model belongs to, as itself or without mirror images."""
    return next(one for one in predictors if model in (one.name, one.name + predictions.PLAIN))


def _check_classes(selection: Selection, videos: pl.DataFrame) -> None:
    scored = videos.filter(pl.col("video_id").is_in(selection.pictures["video_id"].unique().implode()))
    if scored["label"].n_unique() < 2:
        present = "fake" if scored["label"].sum() else "real"
        raise SemblanceError(
            f"Split {selection.split} of {', '.join(selection.outs)} has only {present} videos, so nothing can be "
            "measured; choose another --split, or add a build with --data."
        )


def _leaks(
    predictors: Sequence[Predictor], outs: Sequence[str], options: Options, column: str, say: Callable[[str], None]
) -> leaks.Found:
    found = leaks.find(predictors, outs, options.split, column)
    if found.leaks and not options.allow_leaks:
        more = f" ({len(found.leaks) - 1} more findings)" if len(found.leaks) > 1 else ""
        raise SemblanceError(
            f"{found.leaks[0]}{more}, so results would be too good; choose another --split or --split-column, or pass "
            "--allow-leaks."
        )
    for leak in found.leaks:
        say(f"warning: {leak}")
    for reason in found.unknown:
        say(f"not checked for leaks into training: {reason}")
    return found


def _thresholds(
    predictors: Sequence[Predictor], outs: tuple[str, ...], column: str
) -> tuple[dict[str, dict[Level, float]], tuple[str, ...]]:
    """The thresholds of each model, and notes on them. Val is read once for all runs that use the same builds."""
    sources = [_val_source(predictor, outs, column) for predictor in predictors]
    thresholds: dict[str, dict[Level, float]] = {}
    notes = [note for _, _, note in sources if note]
    for source in dict.fromkeys((val_outs, val_column) for val_outs, val_column, _ in sources):
        users = [predictor for predictor, val in zip(predictors, sources, strict=True) if val[:2] == source]
        for name, limits, found in _thresholds_on(users, *source):
            thresholds[name] = limits
            notes += found
    return thresholds, tuple(dict.fromkeys(notes))


def _val_source(predictor: Predictor, outs: tuple[str, ...], column: str) -> tuple[tuple[str, ...], str, str | None]:
    """The builds and split column that a threshold is chosen on: those of training, if they still exist; and a note."""
    trained = [record for record in predictor.datasets if record["role"] == "train"]
    try:
        same = all(build_files.finished(record["out"])["fingerprint"] == record["fingerprint"] for record in trained)
    except SemblanceError:
        same = False
    if same:
        return tuple(dict.fromkeys(str(record["out"]) for record in trained)), predictor.split_column, None
    note = f"{predictor.name}: its training builds no longer exist, so its threshold is from val of the given builds."
    return outs, column, note


def _thresholds_on(
    predictors: Sequence[Predictor], outs: Sequence[str], column: str
) -> list[tuple[str, dict[Level, float], list[str]]]:
    """For each model and level, the score with the best balanced accuracy on val; and notes."""
    try:
        selection = predictions.select_pictures(outs, "val", column)
    except UsageError:
        raise
    except SemblanceError as error:
        raise SemblanceError(f"No threshold can be chosen: {error}") from error
    videos = predictions.listed_videos(outs, "val", column)
    by_model = predictions.by_model(predictions.predict(predictors, selection))
    found = []
    for name, rows in by_model.items():
        limits, note = threshold(_owner(predictors, name), rows, videos)
        found.append((name, limits, [text for text in (selection.note, note) if text]))
    return found


def threshold(
    predictor: Predictor, pictures: pl.DataFrame, videos: pl.DataFrame
) -> tuple[dict[Level, float], str | None]:
    """A model's thresholds from its predictions on val, without the families that its temperatures were fitted on.

    If a class is missing in the remaining rows, the threshold is probability 0.5, and the second value is a note.
    """
    free = ~pl.col("family_id").is_in(sorted(predictor.calibration_families))
    pictures, videos = pictures.filter(free), videos.filter(free)
    tables: dict[Level, pl.DataFrame] = {
        "frame": pictures.filter(pl.col("face_label").is_not_null()),
        "video": predictions.of_videos(videos, pictures, predictor).drop_nulls("logit"),
        "video (mean)": predictions.of_videos(videos, pictures, predictor, "mean").drop_nulls("logit"),
    }
    limits: dict[Level, float] = dict.fromkeys(LEVELS, 0.0)
    note = None
    for level, table in tables.items():
        label = "face_label" if level == "frame" else "label"
        if table[label].n_unique() == 2:
            limits[level] = classification.threshold(predictions.as_arrays(table, label))
        else:
            note = f"{predictor.name}: val has one class only by {level}, so the threshold there is probability 0.5."
    return limits, note


def write(
    result: Evaluation,
    to: Path,
    uncertainty: pl.DataFrame | None = None,
    pages: Mapping[str, str] | None = None,
) -> None:
    """Write predictions of all models as one Parquet table, uncertainties by video, and ``pages`` by suffix.

    Raises SemblanceError if the folder ``to`` cannot be written.
    """
    predictions.write(to / PREDICTIONS, pl.concat(list(result.predictions.values())))
    if uncertainty is not None and uncertainty.height:
        predictions.write(to / UNCERTAINTY, uncertainty)
    for suffix, text in (pages or {}).items():
        storage.write_bytes(str(to / f"evaluation.{suffix}"), text.encode())

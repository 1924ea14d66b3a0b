"""An evaluation from its runs and builds to its figures: leaks refused, thresholds fixed on val, all counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from semblance.manifests import build_files, storage
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.quality.statistics import bootstrap
from semblance.training.data import shards
from semblance.training.data.query import Selection
from semblance.training.evaluation import leaks, predictions
from semblance.training.evaluation import results as rows
from semblance.training.evaluation.results import LEVELS, Level, Row
from semblance.training.inference import predictor as judges_of
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics import classification

PREDICTIONS: Final = "predictions.parquet"
UNCERTAINTY: Final = "uncertainty.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``split_column``: the protocol; None takes the first run's. ``allow_leaks``: say leaks instead of refusing."""

    split: str = "test"
    split_column: str | None = None
    allow_leaks: bool = False
    draws: int = bootstrap.DRAWS
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """All that pages are made from. ``judges``: by model name, mirrored ones included."""

    outs: tuple[str, ...]
    options: Options
    split_column: str
    judges: Mapping[str, Predictor]
    chosen: Selection
    videos: pl.DataFrame
    predictions: Mapping[str, pl.DataFrame]
    thresholds: Mapping[str, Mapping[Level, float]]
    rows: tuple[Row, ...]
    leaks: leaks.Found
    notes: tuple[str, ...] = field(default=())


def evaluate(
    outs: Sequence[str],
    runs: Sequence[str],
    options: Options | None = None,
    *,
    say: Callable[[str], None] = print,
) -> Evaluation:
    """Judge one side of the builds ``outs`` by every run.

    Raises UsageError for a wrong name, SemblanceError where the side is empty or of one class, leaks into what was
    trained on, or a shard is missing; all before the first picture is read.
    """
    options = options or Options()
    outs = tuple(out.rstrip("/") for out in outs)
    judges = judges_of.load_all(runs)
    column = options.split_column or judges[0].split_column
    chosen = predictions.pick(outs, options.split, column)
    videos = predictions.listed(outs, options.split, column)
    _check_classes(chosen, videos, options.split)
    shards.check(chosen.shards)
    found = _leaks(judges, outs, options, column, say)
    val = [_val_outs(one, outs, column) for one in judges]
    say(f"{options.split}: {chosen.counts}; {videos.height} videos")
    answers = predictions.by_model(predictions.predict(judges, chosen))
    notes: list[str] = [note for _, _, note in val if note]
    thresholds: dict[str, dict[Level, float]] = {}
    by_model: dict[str, Predictor] = {}
    for sources in dict.fromkeys((where, protocol) for where, protocol, _ in val):
        users = [one for one, (where, protocol, _) in zip(judges, val, strict=True) if (where, protocol) == sources]
        for name, limits, note in _thresholds(users, *sources):
            thresholds[name] = limits
            notes += [note] if note else []
            by_model[name] = next(one for one in users if name in (one.name, one.name + predictions.MIRROR))
    lines = [
        row
        for name, pictures in answers.items()
        for row in rows.evaluate(
            by_model[name], name, pictures, videos, thresholds[name], draws=options.draws, seed=options.seed
        )
    ]
    return Evaluation(
        outs=outs,
        options=options,
        split_column=column,
        judges={name: by_model[name] for name in answers},
        chosen=chosen,
        videos=videos,
        predictions=answers,
        thresholds=thresholds,
        rows=tuple(lines),
        leaks=found,
        notes=tuple(dict.fromkeys(notes)),
    )


def _check_classes(chosen: Selection, videos: pl.DataFrame, split: str) -> None:
    scored = videos.filter(pl.col("video_id").is_in(chosen.pictures["video_id"].unique().implode()))
    if scored["label"].n_unique() < 2:
        has = "fake" if scored["label"].sum() else "real"
        raise SemblanceError(
            f"The {split} side of {', '.join(chosen.outs)} has {has} videos alone, so nothing can be told apart; "
            "choose another --split, or add a build with --data."
        )


def _leaks(
    judges: Sequence[Predictor], outs: Sequence[str], options: Options, column: str, say: Callable[[str], None]
) -> leaks.Found:
    found = leaks.find(judges, outs, options.split, column)
    if found.leaks and not options.allow_leaks:
        more = f" ({len(found.leaks) - 1} more such)" if len(found.leaks) > 1 else ""
        raise SemblanceError(
            f"{found.leaks[0]}{more}: figures would be too good; choose another --split or --split-column, or print "
            "them beside this warning with --allow-leaks."
        )
    for leak in found.leaks:
        say(f"warning: {leak}")
    for reason in found.unknown:
        say(f"leaks into training were not looked for: {reason}")
    return found


def _val_outs(one: Predictor, outs: tuple[str, ...], column: str) -> tuple[tuple[str, ...], str, str | None]:
    """The builds and protocol on whose val side a judge's threshold is fixed: those that it was trained with, where
    they are still there; with what there is to say of it."""
    trained = [record for record in one.datasets if record["role"] == "train"]
    try:
        same = all(build_files.finished(record["out"])["fingerprint"] == record["fingerprint"] for record in trained)
    except SemblanceError:
        same = False
    if same:
        return tuple(dict.fromkeys(str(record["out"]) for record in trained)), one.split_column, None
    return outs, column, f"{one.name}: its training builds are gone, so its threshold is from val of the given builds."


def _thresholds(
    judges: Sequence[Predictor], outs: Sequence[str], column: str
) -> list[tuple[str, dict[Level, float], str | None]]:
    """For each model the score of each level at which val has the best balanced accuracy."""
    try:
        chosen = predictions.pick(outs, "val", column)
    except UsageError:
        raise
    except SemblanceError as error:
        raise SemblanceError(f"No threshold can be fixed: {error}") from error
    videos = predictions.listed(outs, "val", column)
    answers = predictions.by_model(predictions.predict(judges, chosen))
    found = []
    for name, pictures in answers.items():
        one = next(one for one in judges if name in (one.name, one.name + predictions.MIRROR))
        limits, note = threshold(one, pictures, videos)
        found.append((name, limits, note))
    return found


def threshold(one: Predictor, pictures: pl.DataFrame, videos: pl.DataFrame) -> tuple[dict[Level, float], str | None]:
    """A model's thresholds from its predictions on val, without the families that its temperatures come from.

    Where what is left lacks a class the threshold is probability 0.5, and the second answer says so.
    """
    free = ~pl.col("family_id").is_in(sorted(one.apart))
    pictures, videos = pictures.filter(free), videos.filter(free)
    tables: dict[Level, pl.DataFrame] = {
        "frame": pictures.filter(pl.col("face_label").is_not_null()),
        "video": predictions.of_videos(videos, pictures, one).drop_nulls("logit"),
        "video (mean)": predictions.of_videos(videos, pictures, one, "mean").drop_nulls("logit"),
    }
    limits: dict[Level, float] = dict.fromkeys(LEVELS, 0.0)
    note = None
    for level, table in tables.items():
        label = "face_label" if level == "frame" else "label"
        if table[label].n_unique() == 2:
            limits[level] = classification.threshold(predictions.judged(table, label))
        else:
            note = f"{one.name}: val has one class alone by {level}, so the threshold there is probability 0.5."
    return limits, note


def write(
    result: Evaluation,
    to: Path,
    uncertain: pl.DataFrame | None = None,
    pages: Mapping[str, str] | None = None,
) -> None:
    """Into the folder ``to``: the predictions of all models as one Parquet table, uncertainties by video, and pages
    by their suffix. Raises SemblanceError where that cannot be written.
    """
    predictions.write(to / PREDICTIONS, pl.concat(list(result.predictions.values())))
    if uncertain is not None and uncertain.height:
        predictions.write(to / UNCERTAINTY, uncertain)
    for suffix, text in (pages or {}).items():
        storage.write_bytes(str(to / f"evaluation.{suffix}"), text.encode())

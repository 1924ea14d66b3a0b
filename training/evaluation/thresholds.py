"""Thresholds from val: the score with the best balanced accuracy, of each model at each level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from semblance.manifests import build_files
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.evaluation import predictions
from semblance.training.evaluation.results import LEVELS, Level
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics import classification


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The thresholds of a model, as logits, and where they come from, in words."""

    limits: Mapping[Level, float]
    source: str


def choose(
    predictors: Sequence[Predictor], outs: tuple[str, ...], column: str
) -> tuple[dict[str, Chosen], tuple[str, ...]]:
    """The thresholds of each model, and notes on them. Val is read once for all runs that use the same builds."""
    sources = [val_source(predictor, outs, column) for predictor in predictors]
    chosen: dict[str, Chosen] = {}
    notes = [note for _, _, note in sources if note]
    for val_outs, val_column in dict.fromkeys((val_outs, val_column) for val_outs, val_column, _ in sources):
        users = [one for one, val in zip(predictors, sources, strict=True) if val[:2] == (val_outs, val_column)]
        said = f"val (column {val_column}) of {', '.join(val_outs)}"
        for name, limits, found in _on(users, val_outs, val_column):
            chosen[name] = Chosen(limits=limits, source=said)
            notes += found
    return chosen, tuple(dict.fromkeys(notes))


def val_source(predictor: Predictor, outs: tuple[str, ...], column: str) -> tuple[tuple[str, ...], str, str | None]:
    """The builds and split column that a threshold is chosen on, and a note: those of training, where they still are.

    A build that has moved is known by its fingerprint, if it is among ``outs``.
    """
    trained = [record for record in predictor.datasets if record["role"] == "train"]
    places = [_place(record, outs) for record in trained]
    found = [place for place in places if place is not None]
    if len(found) == len(trained):
        return tuple(dict.fromkeys(found)), predictor.split_column, None
    note = f"{predictor.name}: its training builds no longer exist, so its threshold is from val of the given builds."
    return outs, column, note


def _place(record: Mapping[str, Any], outs: Sequence[str]) -> str | None:
    """Where a build of training is now: at its old place, or one of ``outs``."""
    for out in (str(record["out"]), *outs):
        try:
            if build_files.finished(out)["fingerprint"] == record["fingerprint"]:
                return out
        except SemblanceError:
            continue
    return None


def _on(
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
        limits, note = threshold(predictions.owner(predictors, name), rows, videos)
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

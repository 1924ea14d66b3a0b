"""Thresholds from val: the score with the best balanced accuracy, of each model at each level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from semblance.manifests import build_files
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.data.query import Selection
from semblance.training.evaluation import predictions, results
from semblance.training.evaluation.external import External
from semblance.training.evaluation.results import LEVELS, Level
from semblance.training.evaluation.scorer import Scorer
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics import classification

WITHOUT_VAL: Final = "no val: probability 0.5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The thresholds of a model, as logits, and where they come from, in words."""

    limits: Mapping[Level, float]
    source: str


def choose(
    scorers: Sequence[Predictor | External], outs: tuple[str, ...], column: str
) -> tuple[dict[str, Chosen], tuple[str, ...]]:
    """The thresholds of each model, and notes on them. Val is read once for all runs that use the same builds.

    That of an external detector is chosen on val of ``outs``; without a val it is probability 0.5.
    """
    sources = [(outs, column, None) if isinstance(one, External) else val_source(one, outs, column) for one in scorers]
    chosen: dict[str, Chosen] = {}
    notes = [note for _, _, note in sources if note]
    for val_outs, val_column in dict.fromkeys((val_outs, val_column) for val_outs, val_column, _ in sources):
        users = [one for one, val in zip(scorers, sources, strict=True) if val[:2] == (val_outs, val_column)]
        said = f"val (column {val_column}) of {', '.join(val_outs)}"
        if not predictions.runs_of(users) and val(val_outs, val_column) is None:
            for one in users:
                chosen[one.name] = Chosen(limits=dict.fromkeys(LEVELS, 0.0), source=WITHOUT_VAL)
                notes.append(f"{one.name}: {', '.join(val_outs)} has no val, so its threshold is probability 0.5.")
            continue
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


def val(outs: Sequence[str], column: str) -> Selection | None:
    """The pictures of val that a threshold is chosen on; None if there are none."""
    try:
        return predictions.select_pictures(outs, "val", column)
    except UsageError:
        raise
    except SemblanceError:
        return None


def _on(
    scorers: Sequence[Predictor | External], outs: Sequence[str], column: str
) -> list[tuple[str, dict[Level, float], list[str]]]:
    """For each model and level, the score with the best balanced accuracy on val; and notes."""
    try:
        selection = predictions.select_pictures(outs, "val", column)
    except UsageError:
        raise
    except SemblanceError as error:
        raise SemblanceError(f"No threshold can be chosen: {error}") from error
    videos = predictions.listed_videos(outs, "val", column)
    by_model = predictions.by_model(predictions.predict(scorers, selection))
    found = []
    for name, rows in by_model.items():
        owner = predictions.owner(scorers, name)
        limits, note = threshold(owner, rows, videos)
        found.append((name, limits, [text for text in (selection.note, _left_out(owner, videos), note) if text]))
    return found


def _left_out(scorer: Scorer, videos: pl.DataFrame) -> str | None:
    """Which fakes of val no threshold is chosen on; None if there are none."""
    unlearned = results.unlearned(scorer.datasets, videos)
    if unlearned.is_empty():
        return None
    methods = ", ".join(unlearned["method"].fill_null("nameless methods").unique().sort())
    return f"{scorer.name}: its thresholds are chosen without fakes of {methods}, which it was not trained on."


def threshold(scorer: Scorer, pictures: pl.DataFrame, videos: pl.DataFrame) -> tuple[dict[Level, float], str | None]:
    """A model's thresholds from its predictions on val, without the families that its temperatures were fitted on.

    Fakes of methods that were left out of its training are left out here too. If a class is missing in the remaining
    rows, the threshold is probability 0.5, and the second value is a note.
    """
    unlearned = results.unlearned(scorer.datasets, videos)["video_id"].implode()
    free = ~pl.col("family_id").is_in(sorted(scorer.calibration_families)) & ~pl.col("video_id").is_in(unlearned)
    pictures, videos = pictures.filter(free), videos.filter(free)
    tables: dict[Level, pl.DataFrame] = {
        "frame": pictures.filter(pl.col("face_label").is_not_null()),
        "video": predictions.of_videos(videos, pictures, scorer).drop_nulls("logit"),
        "video (mean)": predictions.of_videos(videos, pictures, scorer, "mean").drop_nulls("logit"),
    }
    limits: dict[Level, float] = dict.fromkeys(LEVELS, 0.0)
    note = None
    for level, table in tables.items():
        label = "face_label" if level == "frame" else "label"
        if table[label].n_unique() == 2:
            limits[level] = classification.threshold(predictions.as_arrays(table, label))
        else:
            note = f"{scorer.name}: val has one class only by {level}, so the threshold there is probability 0.5."
    return limits, note

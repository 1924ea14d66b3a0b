"""What precedes an evaluation: what is to be scored, leaks into training, and crops that are cut otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from semblance.manifests import build_files
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.data import isolation, shards
from semblance.training.data.query import Selection
from semblance.training.evaluation import external, leaks, predictions, thresholds
from semblance.training.evaluation.external import External
from semblance.training.evaluation.scorer import Scorer
from semblance.training.inference.predictor import Predictor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """What an evaluation knows before it reads a picture. ``cut``: builds that are cut otherwise, in sentences."""

    split_column: str
    selection: Selection
    videos: pl.DataFrame
    leaks: leaks.Found
    described: Mapping[str, Mapping[str, Any]]
    cut: tuple[str, ...]


def prepare(
    outs: Sequence[str],
    scorers: Sequence[Predictor | External],
    *,
    split: str,
    split_column: str | None = None,
    allow_leaks: bool = False,
    allow_other_crops: bool = False,
    say: Callable[[str], None] = print,
) -> Prepared:
    """What is to be scored, and what it shares with training; no picture is read or sent. Options as in ``Options``.

    Raises UsageError for an unknown name, or if there is nothing to evaluate. Raises SemblanceError if the split is
    empty or has one class only, if it leaks into training data or is cut otherwise, or if a shard is missing.
    """
    _check_names(scorers)
    predictors = predictions.runs_of(scorers)
    column = split_column or (predictors[0].split_column if predictors else "split")
    selection = predictions.select_pictures(outs, split, column)
    videos = predictions.listed_videos(outs, split, column)
    _check_classes(selection, videos)
    shards.check(selection.shards)
    found = _leaks(scorers, outs, split, column, allow_leaks, say)
    described = {out: build_files.description(out) for out in outs}
    return Prepared(
        split_column=column,
        selection=selection,
        videos=videos,
        leaks=found,
        described=described,
        cut=tuple(_cut(predictors, described, allow_other_crops, say)),
    )


def _check_classes(selection: Selection, videos: pl.DataFrame) -> None:
    scored = videos.filter(pl.col("video_id").is_in(selection.pictures["video_id"].unique().implode()))
    if scored["label"].n_unique() < 2:
        present = "fake" if scored["label"].sum() else "real"
        raise SemblanceError(
            f"Split {selection.split} of {', '.join(selection.outs)} has only {present} videos, so nothing can be "
            "measured; choose another --split, or add a build with --data."
        )


def _check_names(scorers: Sequence[Scorer]) -> None:
    names = [one.name for one in scorers]
    if not names:
        raise UsageError("There is nothing to evaluate; name a run with --run, or a detector with --external.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"Two detectors are named {twice[0]!r}; give one of them another NAME with --external.")


def _leaks(
    scorers: Sequence[Predictor | External],
    outs: Sequence[str],
    split: str,
    column: str,
    allow: bool,
    say: Callable[[str], None],
) -> leaks.Found:
    predictors = predictions.runs_of(scorers)
    found = leaks.find(predictors, outs, split, column)
    if found.refused and not allow:
        raise SemblanceError(
            f"{found.refused[0]}{isolation.more(len(found.refused))}, so results would be too good; choose another "
            "--split or --split-column, or pass --allow-leaks."
        )
    moved = [one for one in predictors if thresholds.val_source(one, tuple(outs), column)[2] is not None]
    chosen = [leak for leak in leaks.choosing(moved, outs, column) if leak.refused]
    if chosen and not allow:
        raise SemblanceError(
            f"{chosen[0]}{isolation.more(len(chosen))}, so its threshold would be chosen on what it has learned; name "
            "the builds that it was trained on with --data too, or pass --allow-leaks."
        )
    found = replace(
        found,
        leaks=tuple(dict.fromkeys([*found.leaks, *chosen])),
        unknown=(*found.unknown, *external.unchecked(scorers)),
    )
    for leak in found.leaks:
        say(f"warning: {leak}")
    for note in found.notes:
        say(f"warning: {note}")
    for reason in found.unknown:
        say(f"not checked for leaks into training: {reason}")
    return found


def _cut(
    predictors: Sequence[Predictor],
    described: Mapping[str, Mapping[str, Any]],
    allow: bool,
    say: Callable[[str], None],
) -> list[str]:
    """The builds whose crops are cut otherwise than those trained on, in sentences; refused unless allowed."""
    cut = leaks.cut_otherwise(predictors, {out: build.get("recipe") for out, build in described.items()})
    if cut and not allow:
        raise SemblanceError(
            f"{cut[0]}{isolation.more(len(cut))}, so results would mix the cut with the data; build them by the run's "
            "recipe, or pass --allow-other-crops."
        )
    for difference in cut:
        say(f"warning: {difference}")
    return [f"{difference}." for difference in cut]

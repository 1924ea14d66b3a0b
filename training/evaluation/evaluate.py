"""An evaluation, from runs and builds to figures: refuses leaks, takes thresholds from val, counts what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from semblance.manifests import build_files, storage
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.quality.statistics import bootstrap
from semblance.training.data import isolation, shards
from semblance.training.data.query import Selection
from semblance.training.evaluation import comparison, external, leaks, predictions, results, seeds, thresholds, transfer
from semblance.training.evaluation.comparison import Pair
from semblance.training.evaluation.external import External
from semblance.training.evaluation.results import Level, Row
from semblance.training.evaluation.scorer import Scorer
from semblance.training.evaluation.seeds import Seeds
from semblance.training.evaluation.transfer import Transfer
from semblance.training.inference.predictor import Predictor, load_all

PREDICTIONS: Final = "predictions.parquet"
UNCERTAINTY: Final = "uncertainty.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is evaluated, and how often the bootstrap draws.

    ``split_column``: the split protocol; None takes that of the first run, or ``split`` if there is none.
    ``allow_leaks`` reports leaks instead of refusing them, and ``allow_other_crops`` goes on with builds whose crops
    are cut otherwise than those trained on. ``date``: that of the evaluation, as the page tells it; None for now.
    """

    split: str = "test"
    split_column: str | None = None
    allow_leaks: bool = False
    allow_other_crops: bool = False
    draws: int = bootstrap.DRAWS
    seed: int = 0
    date: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """Everything that pages are made from. Mappings are by model name; a mirrored one has a second, NAME+plain.

    ``described``: dataset.json of each build. ``threshold_sources``: where thresholds were chosen, in words. ``pairs``
    and ``transfers`` are those of ``scorers``.
    """

    outs: tuple[str, ...]
    described: Mapping[str, Mapping[str, Any]]
    options: Options
    date: str
    split_column: str
    predictors: Mapping[str, Predictor | External]
    selection: Selection
    videos: pl.DataFrame
    predictions: Mapping[str, pl.DataFrame]
    thresholds: Mapping[str, Mapping[Level, float]]
    threshold_sources: Mapping[str, str]
    rows: tuple[Row, ...]
    seeds: tuple[Seeds, ...]
    pairs: tuple[Pair, ...]
    transfers: tuple[Transfer, ...]
    leaks: leaks.Found
    notes: tuple[str, ...] = ()

    @property
    def scorers(self) -> dict[str, Predictor | External]:
        """What was evaluated, by name, without the rows NAME+plain."""
        return {name: one for name, one in self.predictors.items() if name == one.name}

    @property
    def runs(self) -> dict[str, Predictor]:
        """The runs and ensembles of ``scorers``."""
        return {name: one for name, one in self.scorers.items() if isinstance(one, Predictor)}

    @property
    def externals(self) -> dict[str, External]:
        """The external detectors of ``scorers``."""
        return {name: one for name, one in self.scorers.items() if isinstance(one, External)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """What an evaluation knows before it reads a picture. ``cut``: builds that are cut otherwise, in sentences."""

    split_column: str
    selection: Selection
    videos: pl.DataFrame
    leaks: leaks.Found
    described: Mapping[str, Mapping[str, Any]]
    cut: tuple[str, ...]


def evaluate(
    outs: Sequence[str],
    runs: Sequence[str],
    options: Options | None = None,
    *,
    externals: Sequence[External] = (),
    say: Callable[[str], None] = print,
) -> Evaluation:
    """Evaluate every run and external detector on one split of the builds ``outs``.

    Raises UsageError for an unknown name, if there is nothing to evaluate, or for a service that may not be asked.
    Raises SemblanceError if the split is empty or has one class only, if it leaks into training data or is cut
    otherwise, or if a shard is missing. All before the first picture is read. Raises SemblanceError too if an external
    detector fails.
    """
    options = options or Options()
    date = options.date or now()
    outs = tuple(out.rstrip("/") for out in outs)
    predictors = load_all(runs)
    scorers: list[Predictor | External] = [*predictors, *externals]
    prepared = prepare(outs, scorers, options, say=say)
    column, selection, videos = prepared.split_column, prepared.selection, prepared.videos
    say(f"{options.split}: {selection.counts}; {videos.height} videos")
    if selection.note:
        say(selection.note)
    val = thresholds.val(outs, column) if externals else None
    external.announce(externals, [one for one in (selection, val) if one is not None], say=say)
    by_model = predictions.by_model(predictions.predict(scorers, selection))
    chosen, notes = thresholds.choose(scorers, outs, column)
    owners = {name: predictions.owner(scorers, name) for name in by_model}
    rows = [
        row
        for name, pictures in by_model.items()
        for row in results.evaluate(
            owners[name], name, pictures, videos, chosen[name].limits, draws=options.draws, seed=options.seed
        )
    ]
    groups = seeds.find(predictors)
    by_video = {one.name: predictions.of_videos(videos, by_model[one.name], one) for one in scorers}
    of_val = {name: chosen[name].limits["video"] for name in by_video if chosen[name].source != thresholds.WITHOUT_VAL}
    told = [note for one in externals for note in _told(one, by_model[one.name])]
    for note in told:
        say(note)
    return Evaluation(
        outs=outs,
        described=prepared.described,
        options=options,
        date=date,
        split_column=column,
        predictors=owners,
        selection=selection,
        videos=videos,
        predictions=by_model,
        thresholds={name: one.limits for name, one in chosen.items()},
        threshold_sources={name: one.source for name, one in chosen.items()},
        rows=tuple(rows),
        seeds=groups,
        pairs=comparison.compare(videos, by_video, groups, draws=options.draws, seed=options.seed),
        transfers=transfer.measure(by_video, of_val),
        leaks=prepared.leaks,
        notes=tuple(
            dict.fromkeys(
                note for note in (selection.note, *prepared.cut, *prepared.leaks.notes, *notes, *told) if note
            )
        ),
    )


def prepare(
    outs: Sequence[str],
    scorers: Sequence[Predictor | External],
    options: Options,
    *,
    say: Callable[[str], None] = print,
) -> Prepared:
    """What is to be scored. Raises what ``evaluate`` raises before it reads a picture; nothing is sent yet."""
    _check_names(scorers)
    predictors = predictions.runs_of(scorers)
    column = options.split_column or (predictors[0].split_column if predictors else "split")
    selection = predictions.select_pictures(outs, options.split, column)
    videos = predictions.listed_videos(outs, options.split, column)
    _check_classes(selection, videos)
    shards.check(selection.shards)
    found = _leaks(scorers, outs, options, column, say)
    described = {out: build_files.description(out) for out in outs}
    return Prepared(
        split_column=column,
        selection=selection,
        videos=videos,
        leaks=found,
        described=described,
        cut=tuple(_cut(predictors, described, options, say)),
    )


def now() -> str:
    """The date and minute in UTC; SOURCE_DATE_EPOCH, in seconds since 1970, stands for it where it is set.

    Raises UsageError if SOURCE_DATE_EPOCH is not a number.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.now(UTC) if given is None else datetime.fromtimestamp(int(given), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"SOURCE_DATE_EPOCH is {given!r}, which is no number of seconds since 1970.") from error
    return moment.strftime("%Y-%m-%d %H:%M UTC")


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


def _told(one: External, pictures: pl.DataFrame) -> list[str]:
    """What a reader should know of an external detector and its predictions."""
    given = (
        f"{one.name} is external: it is given crops as the builds hold them, which may be cut otherwise than those "
        "that it knows."
    )
    return [note for note in (given, external.ties(one.name, pictures["logit"])) if note]


def _leaks(
    scorers: Sequence[Predictor | External],
    outs: Sequence[str],
    options: Options,
    column: str,
    say: Callable[[str], None],
) -> leaks.Found:
    predictors = predictions.runs_of(scorers)
    found = leaks.find(predictors, outs, options.split, column)
    unknown = [
        f"{one.name} is external; what it was trained on is not known" for one in scorers if isinstance(one, External)
    ]
    if found.refused and not options.allow_leaks:
        raise SemblanceError(
            f"{found.refused[0]}{isolation.more(len(found.refused))}, so results would be too good; choose another "
            "--split or --split-column, or pass --allow-leaks."
        )
    moved = [one for one in predictors if thresholds.val_source(one, tuple(outs), column)[2] is not None]
    chosen = [leak for leak in leaks.choosing(moved, outs, column) if leak.refused]
    if chosen and not options.allow_leaks:
        raise SemblanceError(
            f"{chosen[0]}{isolation.more(len(chosen))}, so its threshold would be chosen on what it has learned; name "
            "the builds that it was trained on with --data too, or pass --allow-leaks."
        )
    found = replace(found, leaks=tuple(dict.fromkeys([*found.leaks, *chosen])), unknown=(*found.unknown, *unknown))
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
    options: Options,
    say: Callable[[str], None],
) -> list[str]:
    """The builds whose crops are cut otherwise than those trained on, in sentences; refused unless allowed."""
    cut = leaks.cut_otherwise(predictors, {out: build.get("recipe") for out, build in described.items()})
    if cut and not options.allow_other_crops:
        raise SemblanceError(
            f"{cut[0]}{isolation.more(len(cut))}, so results would mix the cut with the data; build them by the run's "
            "recipe, or pass --allow-other-crops."
        )
    for difference in cut:
        say(f"warning: {difference}")
    return [f"{difference}." for difference in cut]


def write(
    result: Evaluation,
    to: Path,
    uncertainty: pl.DataFrame | None = None,
    files: Mapping[str, str] | None = None,
) -> None:
    """Write predictions of all models as one Parquet table, uncertainties by video, and text ``files`` by name.

    Raises SemblanceError if the folder ``to`` cannot be written.
    """
    predictions.write(to / PREDICTIONS, pl.concat(list(result.predictions.values())))
    if uncertainty is not None and uncertainty.height:
        predictions.write(to / UNCERTAINTY, uncertainty)
    for name, text in (files or {}).items():
        storage.write_bytes(str(to / name), text.encode())

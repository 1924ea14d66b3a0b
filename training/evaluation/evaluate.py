"""An evaluation, from runs and builds to figures: refuses leaks, takes thresholds from val, counts what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from semblance.manifests import storage
from semblance.manifests.errors import UsageError
from semblance.quality.statistics import bootstrap
from semblance.training.data.query import Selection
from semblance.training.evaluation import comparison, external, leaks, predictions, results, seeds, thresholds, transfer
from semblance.training.evaluation.comparison import Pair
from semblance.training.evaluation.external import External
from semblance.training.evaluation.prepare import prepare
from semblance.training.evaluation.results import Level, Row
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


def evaluate(
    outs: Sequence[str],
    runs: Sequence[str],
    options: Options | None = None,
    *,
    externals: Sequence[External] = (),
    check: Callable[[Sequence[Predictor | External]], object] | None = None,
    say: Callable[[str], None] = print,
) -> Evaluation:
    """Evaluate every run and external detector on one split of the builds ``outs``.

    ``check``: called with all of them first; what it raises ends the evaluation.
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
    if check is not None:
        check(scorers)
    prepared = prepare(
        outs,
        scorers,
        split=options.split,
        split_column=options.split_column,
        allow_leaks=options.allow_leaks,
        allow_other_crops=options.allow_other_crops,
        say=say,
    )
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
    sources = {one.name: chosen[one.name].source for one in scorers if one.name in of_val}
    told = external.told(externals, by_model, sources)
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
                note
                for note in (selection.note, *_clips(predictors), *prepared.cut, *prepared.leaks.notes, *notes, *told)
                if note
            )
        ),
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


def _clips(predictors: Sequence[Predictor]) -> list[str]:
    """Which runs score clips, in sentences."""
    return [
        f"{one.name} scores clips of {member.clip} faces of a person ({member.name}), so its rows of frames are "
        "pictures with the mean logit of their clips."
        for one in predictors
        for member in one.members
        if member.clip > 1
    ]


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

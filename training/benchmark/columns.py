"""The columns of a suite: the videos of each, and its evaluation with the figures of every run.

Columns of the same split of one build share an evaluation, whose folder is named after the first of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import Image
from semblance.training.benchmark.suite import Column, Degrade, Suite
from semblance.training.benchmark.systems import Resolved
from semblance.training.evaluation import evaluate, predictions, results, robustness
from semblance.training.evaluation.evaluate import Evaluation, Options
from semblance.training.evaluation.external import External
from semblance.training.evaluation.prepare import prepare
from semblance.training.evaluation.report import files
from semblance.training.evaluation.report.extras import Extras
from semblance.training.evaluation.results import Level, Row
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics import aggregate

FOLDER: Final = "columns"
DEGRADED: Final = "degraded.parquet"  # the score of every degraded crop
_SAID: Final = (  # what an evaluation's options are called in a suite
    ("pass --allow-leaks", "write `allow_leaks: true` in the suite"),
    ("pass --allow-other-crops", "write `allow_other_crops: true` in the suite"),
    ("name the builds that it was trained on with --data too", "keep the builds that it was trained on"),
    (", or add a build with --data", ""),
    ("give one of them another NAME with --external", "rename the row or the folder"),
    ("--split-column", "`split_column`"),
    ("--split", "`split`"),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """A column with its ``videos``, as listed. By run: ``rows`` of each level, and ``logits`` by video (maximum).

    ``logits`` are tables of ``videos`` with a column ``logit``, null without a kept face. ``folder``: where its
    evaluation is kept, relative to the page.
    """

    column: Column
    result: Evaluation
    videos: pl.DataFrame
    rows: Mapping[str, Mapping[Level, Row]]
    logits: Mapping[str, pl.DataFrame]
    folder: str

    @property
    def scored(self) -> pl.DataFrame:
        """The videos with a kept face, which are those with a score, whatever the run."""
        table = next(iter(self.logits.values()))
        return self.videos.filter(table["logit"].is_not_null())

    @property
    def least(self) -> int:
        """People or families among the scored videos, of the class that has fewer."""
        rows = self.scored
        groups = predictions.groups(rows)
        return min(groups.filter(rows["label"] == label).n_unique() for label in (0, 1))

    @property
    def enough(self) -> bool:
        """Whether there are enough of them for an interval."""
        return self.least >= results.LEAST_GROUPS


def check(suite: Suite, resolved: Resolved) -> list[tuple[Column, pl.DataFrame]]:
    """The videos of every column, before anything is scored.

    Raises UsageError or SemblanceError for a column without real or fake videos, and for what an evaluation refuses.
    """
    found = []
    known: dict[tuple[str, str, str | None], pl.DataFrame] = {}
    for column in suite.columns:
        with named(column):
            if column.key not in known:
                scorers: list[Predictor | External] = [*resolved.predictors, *resolved.externals]
                prepared = prepare(
                    [column.data],
                    scorers,
                    split=column.split,
                    split_column=column.split_column,
                    allow_leaks=suite.allow_leaks,
                    allow_other_crops=suite.allow_other_crops,
                    say=lambda _: None,
                )
                known[column.key] = prepared.videos
            found.append((column, listed(column, known[column.key])))
    return found


def listed(column: Column, videos: pl.DataFrame) -> pl.DataFrame:
    """The videos of a column among those of its split. Raises UsageError if a name is unknown or a class is missing."""
    if column.compression is not None:
        videos = _chosen(videos, column.compression, "compression", pl.col("compression") == column.compression)
    real = pl.col("label") == 0
    for method in column.method:
        _chosen(videos.filter(~real), method, "method", pl.col("method") == method)
    if column.method:
        videos = videos.filter(real | pl.col("method").is_in(list(column.method)))
    if videos["label"].n_unique() < 2:
        there = "no" if videos.is_empty() else "only fake" if videos["label"].sum() else "only real"
        raise UsageError(
            f"split {column.split} of {column.data} has {there} videos for it, so nothing can be measured."
        )
    return videos


def _chosen(videos: pl.DataFrame, name: str, what: str, kept: pl.Expr) -> pl.DataFrame:
    found = videos.filter(kept)
    if found.is_empty():
        known = ", ".join(videos[what].drop_nulls().unique().sort()) or "none is named"
        raise UsageError(f"the build has no {what} {name!r}; known there: {known}.")
    return found


def measure(
    suite: Suite, resolved: Resolved, to: Path, *, date: str, pictures: bool, say: Callable[[str], None]
) -> list[Measured]:
    """Evaluate the columns of AUC; write the evaluation of each below ``to``, and the predictions of degraded crops."""
    made: dict[tuple[str, str, str | None], tuple[Evaluation, str]] = {}
    found = []
    folders: dict[str, str] = {}
    for column in suite.ranked:
        folder = folders[column.name] = f"{FOLDER}/{slug(column.name, list(folders.values()))}"
        with named(column):
            if column.key not in made:
                say(f"column {column.name}: {column.split} of {column.data}")
                result = evaluation(suite, column, resolved, date, say)
                evaluate.write(result, to / folder, None, files.written(result, Extras(pictures=pictures)))
                made[column.key] = (result, folder)
            result, kept = made[column.key]
            rows = result.predictions
            if column.degrade is not None:
                say(f"column {column.name}: {column.degrade}")
                change = transform(column.degrade)
                degraded = predictions.predict(list(result.scorers.values()), result.selection, change)
                predictions.write(to / folder / DEGRADED, degraded)
                rows = predictions.by_model(degraded)
            found.append(_column(suite, column, result, rows, kept))
    return found


def evaluation(suite: Suite, column: Column, resolved: Resolved, date: str, say: Callable[[str], None]) -> Evaluation:
    """The evaluation of a column's split."""
    options = Options(
        split=column.split,
        split_column=column.split_column,
        allow_leaks=suite.allow_leaks,
        allow_other_crops=suite.allow_other_crops,
        draws=suite.draws,
        seed=suite.seed,
        date=date,
    )
    return evaluate.evaluate([column.data], resolved.paths, options, externals=resolved.externals, say=say)


def _column(
    suite: Suite, column: Column, result: Evaluation, by_model: Mapping[str, pl.DataFrame], folder: str
) -> Measured:
    """The figures of a column from the predictions of each run, thresholds being those of the evaluation."""
    videos = listed(column, result.videos)
    rows, logits = {}, {}
    for name, scorer in result.scorers.items():
        pictures = by_model[name].filter(pl.col("video_id").is_in(videos["video_id"].implode()))
        rows[name] = results.whole(
            *(scorer, name, pictures, videos, result.thresholds[name]), draws=suite.draws, seed=suite.seed
        )
        logits[name] = videos.join(aggregate.videos(pictures), on="video_id", how="left", maintain_order="left")
    return Measured(column=column, result=result, videos=videos, rows=rows, logits=logits, folder=folder)


def transform(degrade: Degrade) -> partial[Image]:
    """What is done to every stored crop."""
    return partial(_degraded, degrade=degrade)


def _degraded(image_HWC: Image, points: Any, key: str, *, degrade: Degrade) -> Image:
    if degrade.resize is not None:
        image_HWC = robustness.shrink(image_HWC, points, key, scale=degrade.resize)
    if degrade.jpeg is not None:
        image_HWC = robustness.jpeg(image_HWC, points, key, quality=degrade.jpeg)
    return image_HWC


def slug(name: str, taken: Sequence[str]) -> str:
    """A name of a folder that holds everywhere, and differs from those taken whatever the case of letters."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", name.replace("+", "p")).strip("._") or "column"
    used = {one.rpartition("/")[2].lower() for one in taken}
    number, found = 2, plain
    while found.lower() in used:
        number, found = number + 1, f"{plain}-{number}"
    return found


@contextmanager
def named(column: Column) -> Iterator[None]:
    """Errors of a column say which, and call options as a suite does."""
    try:
        yield
    except SemblanceError as error:
        text = str(error)
        for option, said in _SAID:
            text = text.replace(option, said)
        kind = UsageError if isinstance(error, UsageError) else SemblanceError
        raise kind(f"Column {column.name}: {text}") from error

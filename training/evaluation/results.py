"""The rows of an evaluation: every model at every level, overall, by dataset, by compression and by method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import polars as pl

from semblance.quality.statistics import bootstrap
from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.evaluation import predictions
from semblance.training.evaluation.scorer import Scorer
from semblance.training.guard.seen import LEARNED
from semblance.training.metrics import registry

Level = Literal["frame", "video", "video (mean)"]
LEVELS: Final[tuple[Level, ...]] = ("frame", "video", "video (mean)")
Mark = Literal["seen", "mixed", "unseen method", "unseen dataset", "unknown"]

LEAST_GROUPS: Final = 10  # of a class: draws of fewer are too alike to tell how sure a figure is


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of a model for one part of the data.

    dataset, compression and method are None for all of them. ``scored`` of ``listed`` videos have a kept face;
    ``filled`` holds the figures with the others at probability 0.5. ``unlabelled``: pictures excluded from frame
    figures, since nobody knows whether their face was altered.
    """

    model: str
    level: Level
    dataset: str | None
    compression: str | None
    method: str | None
    mark: Mark
    reals: int
    fakes: int
    scored: int
    listed: int
    unlabelled: int
    threshold: float
    figures: Mapping[str, Estimate]
    filled: Mapping[str, Estimate]


Part = tuple[str | None, str | None, str | None]  # dataset, compression, method


def parts(videos: pl.DataFrame) -> Iterator[tuple[Part, pl.Expr]]:
    """Everything; each dataset; each of its compressions; each method with the reals of the same compression."""
    datasets = videos["dataset"].unique().sort().to_list()
    if len(datasets) > 1:
        yield (None, None, None), pl.lit(True)
    for dataset in datasets:
        here = pl.col("dataset") == dataset
        yield (dataset, None, None), here
        inside = videos.filter(here)
        compressions = inside["compression"].unique().sort().to_list()
        for compression in compressions:
            same = here & pl.col("compression").eq_missing(pl.lit(compression, pl.String))
            if len(compressions) > 1:
                yield (dataset, compression or "unknown", None), same
            fakes = inside.filter(same & (pl.col("label") == 1))
            for method in fakes["method"].drop_nulls().unique().sort():
                kept = same & ((pl.col("label") == 0) | pl.col("method").eq_missing(pl.lit(method)))
                yield (dataset, compression, method), kept


def evaluate(
    scorer: Scorer,
    model: str,
    pictures: pl.DataFrame,
    videos: pl.DataFrame,
    thresholds: Mapping[Level, float],
    *,
    draws: int,
    seed: int,
) -> list[Row]:
    """All rows of one model. ``pictures``: its predictions. ``videos``: those listed in the split."""
    tables = _tables(scorer, pictures, videos)
    return [
        _row(scorer, model, level, part, videos.filter(kept), kept, tables, thresholds[level], draws, seed)
        for part, kept in parts(videos)
        for level in tables
    ]


def whole(
    scorer: Scorer,
    model: str,
    pictures: pl.DataFrame,
    videos: pl.DataFrame,
    thresholds: Mapping[Level, float],
    *,
    draws: int,
    seed: int,
) -> dict[Level, Row]:
    """The row of each level over all of ``videos``, whatever their datasets; arguments as for ``evaluate``."""
    tables, part = _tables(scorer, pictures, videos), (None, None, None)
    return {
        level: _row(scorer, model, level, part, videos, pl.lit(True), tables, thresholds[level], draws, seed)
        for level in tables
    }


def _tables(scorer: Scorer, pictures: pl.DataFrame, videos: pl.DataFrame) -> dict[Level, pl.DataFrame]:
    return {
        "frame": pictures,
        "video": predictions.of_videos(videos, pictures, scorer),
        "video (mean)": predictions.of_videos(videos, pictures, scorer, "mean"),
    }


def _row(
    scorer: Scorer,
    model: str,
    level: Level,
    part: Part,
    inside: pl.DataFrame,
    kept: pl.Expr,
    tables: Mapping[Level, pl.DataFrame],
    limit: float,
    draws: int,
    seed: int,
) -> Row:
    """The figures of a part at a level; ``inside``: its listed videos, ``kept``: what filters tables."""
    rows = tables[level].filter(kept)
    label = "face_label" if level == "frame" else "label"
    known = rows.filter(pl.col(label).is_not_null() & pl.col("logit").is_not_null())
    filled = rows.with_columns(pl.col("logit").fill_null(0.0), pl.col("score").fill_null(0.5))
    return Row(
        model=model,
        level=level,
        dataset=part[0],
        compression=part[1],
        method=part[2],
        mark=mark(scorer.datasets, inside),
        reals=int((known[label] == 0).sum()),
        fakes=int((known[label] == 1).sum()),
        scored=tables["video"].filter(kept & pl.col("logit").is_not_null()).height,
        listed=inside.height,
        unlabelled=int(rows[label].null_count()),
        threshold=limit,
        figures=_figures(known, label, limit, draws, seed),
        filled={} if level == "frame" else _figures(filled, label, limit, draws, seed),
    )


def _figures(rows: pl.DataFrame, label: str, threshold: float, draws: int, seed: int) -> dict[str, Estimate]:
    if rows.is_empty():
        return {name: Estimate(value=None) for name in registry.METRICS}
    arrays, groups = predictions.as_arrays(rows, label), predictions.groups(rows)
    return bootstrap.estimate(
        lambda weight_DN: registry.figures(arrays, threshold, weight_DN),
        groups.to_numpy(),
        draws=draws if enough(rows[label], groups) else 0,
        seed=seed,
    )


def enough(labels: pl.Series, groups: pl.Series) -> bool:
    """Whether every class that is there has enough groups for an interval."""
    by_class = [groups.filter(labels == one).n_unique() for one in labels.unique()]
    return min(by_class, default=0) >= LEAST_GROUPS


def mark(trained: Sequence[Mapping[str, Any]] | None, videos: pl.DataFrame) -> Mark:
    """Whether the model, or the run that its weights are from, was trained on such data.

    ``unseen dataset``: on none of the datasets. ``unseen method``: on these datasets, but on none of the fakes'
    methods. ``mixed``: on some of the datasets or methods. Else ``seen``: on all of them. Datasets are compared by
    name, since a repacked build has another fingerprint. ``unknown``: nobody knows what it was trained on (None).
    """
    if trained is None:
        return "unknown"
    datasets = set(videos["dataset"])
    known = [record for record in trained if record["role"] in LEARNED and record["dataset"] in datasets]
    if not known:
        return "unseen dataset"
    methods = {name for record in known for name in record["methods"]}
    fakes = videos.filter(pl.col("label") == 1)
    named = set(fakes["method"].drop_nulls())
    nameless = fakes["method"].null_count() > 0
    seen_nameless = nameless and any(record["unnamed_methods"] for record in known)
    if fakes.height and not named & methods and not seen_nameless:
        return "unseen method"
    whole = datasets == {record["dataset"] for record in known} and named <= methods and seen_nameless == nameless
    return "seen" if whole else "mixed"


def unlearned(trained: Sequence[Mapping[str, Any]] | None, videos: pl.DataFrame) -> pl.DataFrame:
    """The fakes among ``videos`` whose method a model lacks, though it was trained on their dataset.

    Nothing may be chosen for a model on them: they are what ``unseen method`` is about. Nameless fakes are such where
    it learned no nameless ones. None where its record does not tell.
    """
    found = pl.lit(False)
    records = [record for record in trained or () if record["role"] in LEARNED and "methods" in record]
    for dataset in {record["dataset"] for record in records}:
        same = [record for record in records if record["dataset"] == dataset]
        methods = sorted({name for record in same for name in record["methods"]})
        nameless = any(record.get("unnamed_methods", True) for record in same)
        known = pl.col("method").is_in(methods).fill_null(nameless)
        found |= (pl.col("dataset") == dataset) & (pl.col("label") == 1) & ~known
    return videos.filter(found)

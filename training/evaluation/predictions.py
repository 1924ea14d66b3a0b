"""Predictions as tables: the score of every model for every picture, and for every video listed in the split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
import polars as pl

from semblance.manifests import scan, storage
from semblance.manifests.errors import UsageError
from semblance.manifests.text import format_columns
from semblance.training.data.query import QueryConfig, Selection, select
from semblance.training.data.worker import Transform
from semblance.training.evaluation.external import External
from semblance.training.evaluation.scorer import Scorer
from semblance.training.inference.predictor import Predictor, distinct_members, selection_outputs
from semblance.training.metrics import aggregate
from semblance.training.metrics.classification import Judged

COLUMNS: Final = (
    *("sample_id", "video_id", "dataset", "method", "compression", "family_id", "target_id", "track", "person"),
    *("label", "face_label", "model", "logit", "score"),
)
_VIDEO: Final = ("video_id", "dataset", "method", "compression", "family_id", "target_id", "label")
PLAIN: Final = "+plain"  # suffix of a model name: a mirrored model's logit of the image without its mirror image

S = TypeVar("S", bound=Scorer)


def select_pictures(outs: Sequence[str], split: str, split_column: str) -> Selection:
    """All kept pictures of one split, including those without a face label.

    Raises UsageError if two builds hold the same sample.
    """
    selection = select(outs, split, QueryConfig(split_column=split_column), unlabelled=True)
    if selection.pictures["sample_id"].n_unique() < selection.pictures.height:
        raise UsageError(
            f"The builds {', '.join(outs)} hold the same pictures; evaluate one of them, and compare it with the other "
            "by --condition NAME=OUT."
        )
    return selection


def predict(
    scorers: Sequence[Predictor | External], selection: Selection, transform: Transform | None = None
) -> pl.DataFrame:
    """One row per picture and model, with ``COLUMNS``; ``score`` is the probability of fake, calibrated for ensembles.

    ``person`` is as in a selection. A run whose recipe uses test-time augmentation has its score, the mean logit of
    image and mirror image, under NAME, and for comparison the logit of the image alone under NAME+plain. External
    detectors are asked first: if one fails, no time was spent on the runs.
    """
    asked = {one.name: one.outputs(selection, transform) for one in scorers if isinstance(one, External)}
    outputs = selection_outputs(distinct_members(runs_of(scorers)), selection, transform=transform)
    pictures = selection.pictures.join(_target_ids(selection), on="sample_id", how="left", maintain_order="left")
    parts = []
    for one in scorers:
        if isinstance(one, External):
            rows = pictures.join(asked[one.name], on="sample_id", validate="1:1", maintain_order="left")
            score = pl.Series(one.probability(rows["logit"].to_numpy(), "frame"), dtype=pl.Float64)
            parts.append(rows.with_columns(model=pl.lit(one.name), score=score))
        else:
            parts += _of_run(one, outputs, pictures)
    return pl.concat(part.select(COLUMNS) for part in parts)


def runs_of(scorers: Sequence[Predictor | External]) -> list[Predictor]:
    """The runs and ensembles among them, in order."""
    return [one for one in scorers if isinstance(one, Predictor)]


def _of_run(
    predictor: Predictor, outputs: Mapping[str, pl.DataFrame], pictures: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    tables = [outputs[member.key] for member in predictor.members]
    for name, column in ((predictor.name, "logit"), (predictor.name + PLAIN, "plain")):
        if column == "plain" and (predictor.calibrated or column not in tables[0].columns):
            continue
        joined = [pictures.join(rows, on="sample_id", validate="1:1", maintain_order="left") for rows in tables]
        logit = predictor.combine([rows[column].to_numpy() for rows in joined])
        score = predictor.probability(logit, "frame")
        yield pictures.with_columns(model=pl.lit(name), logit=pl.Series(logit), score=pl.Series(score))


def _target_ids(selection: Selection) -> pl.DataFrame:
    tables = [scan(out).select("sample_id", "target_id").collect() for out in selection.outs]
    return pl.concat(tables).unique("sample_id")


def listed_videos(outs: Sequence[str], split: str, split_column: str) -> pl.DataFrame:
    """Every labelled video of the split, with or without a kept face, sorted by id."""
    parts = [
        scan(out, "videos").filter((pl.col(split_column) == split) & pl.col("label").is_not_null()).select(_VIDEO)
        for out in outs
    ]
    return pl.concat(parts).collect().sort("video_id")


def of_videos(
    videos: pl.DataFrame, pictures: pl.DataFrame, scorer: Scorer, how: Literal["max", "mean"] = "max"
) -> pl.DataFrame:
    """``videos`` with the ``logit`` and ``score`` of a scorer; both are null if no face was kept."""
    joined = videos.join(aggregate.videos(pictures, how), on="video_id", how="left", maintain_order="left")
    known = joined["logit"].is_not_null()
    score = pl.Series(scorer.probability(joined["logit"].fill_null(0.0).to_numpy(), "video"))
    return joined.with_columns(score=pl.when(known).then(score))


def as_arrays(rows: pl.DataFrame, label: str = "label") -> Judged:
    """Rows with ``label``, ``logit`` and ``score`` as arrays."""
    return Judged(
        label_N=rows[label].to_numpy().astype(np.float64),
        score_N=rows["logit"].to_numpy().astype(np.float64),
        probability_N=rows["score"].to_numpy().astype(np.float64),
    )


def groups(rows: pl.DataFrame) -> pl.Series:
    """The bootstrap group of each row: the person seen, if the dataset names one for every video, else the family."""
    named = pl.col("target_id").is_not_null().all().over("dataset")
    return rows.select(
        format_columns("{} {}", "dataset", pl.when(named).then(pl.col("target_id")).otherwise(pl.col("family_id")))
    ).to_series()


def write(file: Path, rows: pl.DataFrame) -> None:
    """Write the table as Parquet, atomically. Raises StorageError if it cannot be written."""
    with storage.writing(str(file)) as out:
        rows.write_parquet(out)


def owner(scorers: Sequence[S], model: str) -> S:
    """The scorer that a model belongs to, as itself or without mirror images."""
    return next(one for one in scorers if model in (one.name, one.name + PLAIN))


def by_model(rows: pl.DataFrame) -> Mapping[str, pl.DataFrame]:
    """The predictions of each model, in order of appearance."""
    return {str(key[0]): part for key, part in rows.partition_by("model", as_dict=True, maintain_order=True).items()}

"""Aggregation: from the logits of pictures to scores of persons and videos, and their AUC."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import polars as pl

from semblance.manifests.text import format_columns
from semblance.quality.statistics import roc


def persons(pictures: pl.DataFrame) -> pl.DataFrame:
    """The score of each person of a video: the mean logit of all pictures of that person, whatever their tracks.

    ``pictures`` has video_id, person and logit. So has the result, one row per person, with ``pictures``, their number.
    """
    return (
        pictures.group_by("video_id", "person")
        .agg(pl.col("logit").mean(), pl.len().alias("pictures"))
        .sort("video_id", "person")
    )


def videos(pictures: pl.DataFrame, how: Literal["max", "mean"] = "max") -> pl.DataFrame:
    """The score of each video: the maximum over its persons, as one altered face makes a video fake, or their mean.

    Columns video_id, logit and ``persons``, their number. A video without a picture has no row.
    """
    logit = pl.col("logit").max() if how == "max" else pl.col("logit").mean()
    return persons(pictures).group_by("video_id").agg(logit, pl.len().alias("persons")).sort("video_id")


def auc(labels: pl.Series, scores: pl.Series) -> float | None:
    """The area under the ROC curve over the labelled rows; None if they have one class only.

    Raises ValueError if a score is not a finite number.
    """
    known = labels.is_not_null()
    label_N, score_N = labels.filter(known).to_numpy(), scores.filter(known).to_numpy()
    if not np.isfinite(score_N).all():
        raise ValueError("a score is not a finite number")
    area = float(roc.auc(label_N, score_N)[0])
    return None if math.isnan(area) else area


def figures(selections: Mapping[str, pl.DataFrame]) -> dict[str, float | None]:
    """AUC by frame and by video of each selection, named kind/dataset, and of all of kind ``val`` together.

    Pictures have video_id, person, target (the face's label, null if unknown), label (the video's) and logit. Models
    are selected by ``val/auc_video``.
    """
    val = [
        rows.with_columns(format_columns("{} {}", pl.lit(name), "video_id").alias("video_id"))
        for name, rows in selections.items()
        if name.startswith("val/")
    ]
    aucs: dict[str, float | None] = {}
    for name, rows in {"val": pl.concat(val), **selections}.items():
        kind, _, dataset = name.partition("/")
        tail = f"/{dataset}" if dataset else ""
        by_video = videos(rows).join(rows.select("video_id", "label").unique(), on="video_id")
        aucs[f"{kind}/auc_frame{tail}"] = auc(rows["target"], rows["logit"])
        aucs[f"{kind}/auc_video{tail}"] = auc(by_video["label"], by_video["logit"])
    return aucs

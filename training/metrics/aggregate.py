"""From the logits of pictures to scores of tracks and videos, and how well these tell fake from real."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import polars as pl

from semblance.manifests.text import format_columns
from semblance.quality.statistics import roc


def tracks(pictures: pl.DataFrame) -> pl.DataFrame:
    """The score of each track: the mean logit of its pictures.

    ``pictures`` has video_id, track and logit; so has the answer, a row a track, with ``pictures``, their number.
    """
    return (
        pictures.group_by("video_id", "track")
        .agg(pl.col("logit").mean(), pl.len().alias("pictures"))
        .sort("video_id", "track")
    )


def videos(pictures: pl.DataFrame, how: Literal["max", "mean"] = "max") -> pl.DataFrame:
    """The score of each video: the maximum over its tracks, since one altered face makes a video fake; or their mean.

    Columns video_id, logit, and ``tracks``, their number; a video without a picture has no row.
    """
    logit = pl.col("logit").max() if how == "max" else pl.col("logit").mean()
    return tracks(pictures).group_by("video_id").agg(logit, pl.len().alias("tracks")).sort("video_id")


def auc(labels: pl.Series, scores: pl.Series) -> float | None:
    """The area under the ROC curve; rows without a label are left out. None with one class alone.

    Raises ValueError where a score is not a finite number.
    """
    known = labels.is_not_null()
    label_N, score_N = labels.filter(known).to_numpy(), scores.filter(known).to_numpy()
    if not np.isfinite(score_N).all():
        raise ValueError("a score is not a finite number")
    area = float(roc.auc(label_N, score_N)[0])
    return None if math.isnan(area) else area


def figures(sides: Mapping[str, pl.DataFrame]) -> dict[str, float | None]:
    """AUC by frame and by video of each side, named kind/dataset, and of all of kind ``val`` together.

    A side's pictures have video_id, track, target (the face's label, null where unknown), label (the video's) and
    logit. ``val/auc_video`` is the figure that models are selected by.
    """
    apart = [
        rows.with_columns(format_columns("{} {}", pl.lit(name), "video_id").alias("video_id"))
        for name, rows in sides.items()
        if name.startswith("val/")
    ]
    found: dict[str, float | None] = {}
    for name, rows in {"val": pl.concat(apart), **sides}.items():
        kind, _, dataset = name.partition("/")
        tail = f"/{dataset}" if dataset else ""
        by_video = videos(rows).join(rows.select("video_id", "label").unique(), on="video_id")
        found[f"{kind}/auc_frame{tail}"] = auc(rows["target"], rows["logit"])
        found[f"{kind}/auc_video{tail}"] = auc(by_video["label"], by_video["logit"])
    return found

"""Selective prediction: the uncertainty of each video, and the error rate among the certain ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from semblance.training.evaluation import predictions
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.inference import mc_dropout
from semblance.training.inference.mc_dropout import PASSES, UNCERTAIN
from semblance.training.inference.predictor import distinct_members, selection_outputs
from semblance.training.metrics import classification


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """The error rate of a run by video, at val's threshold.

    ``wrong``: over all videos. ``wrong_certain``: over those of uncertainty at most 0.3; None if there are none.
    ``curve``: (coverage, error rate) as the least certain videos are excluded.
    """

    passes: int
    videos: int
    uncertain: int
    wrong: float
    wrong_certain: float | None
    curve: Sequence[tuple[float, float]]


def measure(result: Evaluation, passes: int = PASSES, seed: int = 0) -> tuple[dict[str, Risk], pl.DataFrame]:
    """Run Monte-Carlo dropout over the evaluated pictures.

    Returns the risk of each run with a dropout layer, and a table of model, video_id, logit, score, uncertainty.
    """
    runs = {name: predictor for name, predictor in result.runs.items() if mc_dropout.has_dropout(predictor)}
    if not runs:
        return {}, pl.DataFrame()
    members = distinct_members(list(runs.values()))
    outputs = selection_outputs(members, result.selection, forward=mc_dropout.forward(passes, seed))
    risks, tables = {}, []
    for name, predictor in runs.items():
        pictures = result.predictions[name]
        members_rows = [
            pictures.select("sample_id").join(outputs[member.key], on="sample_id", maintain_order="left")
            for member in predictor.members
        ]
        logits_MNP = [rows.select(mc_dropout.columns(rows)).to_numpy() for rows in members_rows]
        spread = mc_dropout.of_videos(predictor, pictures, logits_MNP)
        videos = predictions.of_videos(result.videos, pictures, predictor).drop_nulls("logit")
        videos = videos.join(spread, on="video_id")
        tables.append(videos.select(pl.lit(name).alias("model"), "video_id", "logit", "score", "uncertainty"))
        risks[name] = _risk(videos, result.thresholds[name]["video"], passes)
    return risks, pl.concat(tables)


def _risk(videos: pl.DataFrame, threshold: float, passes: int) -> Risk:
    wrong_N = (videos["logit"].to_numpy() >= threshold) != (videos["label"].to_numpy() == 1)
    spread_N = videos["uncertainty"].to_numpy()
    certain_N = spread_N <= UNCERTAIN
    return Risk(
        passes=passes,
        videos=videos.height,
        uncertain=int((~certain_N).sum()),
        wrong=float(wrong_N.mean()),
        wrong_certain=float(np.mean(wrong_N[certain_N])) if certain_N.any() else None,
        curve=classification.risk_coverage(wrong_N, spread_N),
    )

"""Whether a model knows when it does not know: its uncertainty by video, and the errors among what it is sure of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from training import judge as judges_of
from training import uncertainty
from training.evaluation import metrics, predictions
from training.evaluation.evaluate import Evaluation
from training.uncertainty import PASSES, UNCERTAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """``curve``: (coverage, share of wrong decisions at val's threshold) as the least certain videos are left out.
    ``wrong_certain``: that share among videos of uncertainty at most 0.3; None where there are none.
    """

    passes: int
    videos: int
    uncertain: int
    wrong: float
    wrong_certain: float | None
    curve: Sequence[tuple[float, float]]


def measure(result: Evaluation, passes: int = PASSES, seed: int = 0) -> tuple[dict[str, Risk], pl.DataFrame]:
    """Monte-Carlo dropout over the evaluated pictures: a risk for each run that has a dropout layer, and the table
    behind them: model, video_id, logit, score, uncertainty.
    """
    judges = [one for name, one in result.judges.items() if name == one.name and uncertainty.has(one)]
    if not judges:
        return {}, pl.DataFrame()
    question = uncertainty.question(passes, seed)
    answers = judges_of.ask(judges_of.members_of(judges), result.chosen, question=question)
    found, tables = {}, []
    for one in judges:
        pictures = result.predictions[one.name]
        drawn = [
            pictures.select("sample_id").join(answers[member.key], on="sample_id", maintain_order="left")
            for member in one.members
        ]
        logits = [rows.select(uncertainty.columns(rows)).to_numpy() for rows in drawn]
        spread = uncertainty.of_videos(one, pictures, logits)
        videos = predictions.of_videos(result.videos, pictures, one).drop_nulls("logit").join(spread, on="video_id")
        tables.append(videos.select(pl.lit(one.name).alias("model"), "video_id", "logit", "score", "uncertainty"))
        found[one.name] = _risk(videos, result.thresholds[one.name]["video"], passes)
    return found, pl.concat(tables)


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
        curve=metrics.risk_coverage(wrong_N, spread_N),
    )

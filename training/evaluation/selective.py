"""Whether a model knows when it does not know: its uncertainty by video, and the errors among what it is sure of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from semblance.training.evaluation import predictions
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.inference import mc_dropout
from semblance.training.inference import predictor as judges_of
from semblance.training.inference.mc_dropout import PASSES, UNCERTAIN
from semblance.training.metrics import classification


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
    judges = [one for name, one in result.judges.items() if name == one.name and mc_dropout.has(one)]
    if not judges:
        return {}, pl.DataFrame()
    question = mc_dropout.question(passes, seed)
    answers = judges_of.ask(judges_of.members_of(judges), result.chosen, question=question)
    found, tables = {}, []
    for one in judges:
        pictures = result.predictions[one.name]
        drawn = [
            pictures.select("sample_id").join(answers[member.key], on="sample_id", maintain_order="left")
            for member in one.members
        ]
        logits = [rows.select(mc_dropout.columns(rows)).to_numpy() for rows in drawn]
        spread = mc_dropout.of_videos(one, pictures, logits)
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
        curve=classification.risk_coverage(wrong_N, spread_N),
    )

"""The curves of an evaluation: ROC, reliability, risk against coverage, degradation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from semblance.training.evaluation import predictions
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.report import svg
from semblance.training.evaluation.robustness import Change
from semblance.training.evaluation.selective import Risk
from semblance.training.metrics import classification
from semblance.training.metrics.classification import Judged


def of_evaluation(result: Evaluation) -> list[str]:
    """ROC by video and by frame, and reliability by frame; one line per model."""
    videos = {
        model: predictions.as_arrays(
            predictions.of_videos(result.videos, pictures, result.predictors[model]).drop_nulls("logit")
        )
        for model, pictures in result.predictions.items()
    }
    frames = {
        model: predictions.as_arrays(pictures.filter(pl.col("face_label").is_not_null()), "face_label")
        for model, pictures in result.predictions.items()
    }
    frames = {model: rows for model, rows in frames.items() if len(set(rows.label_N.tolist())) == 2}
    reliability = {model: [point[:2] for point in classification.reliability(rows)] for model, rows in frames.items()}
    return [
        _roc("ROC by video", videos),
        _roc("ROC by frame", frames),
        svg.plot(
            "Reliability by frame, 15 bins of equal mass",
            "mean probability of fake",
            "share of fakes",
            reliability,
            diagonal=True,
            dots=True,
        ),
    ]


def risk(risks: Mapping[str, Risk]) -> list[str]:
    """The share of wrong decisions among the remaining videos, as the least certain are excluded."""
    lines = {model: risk.curve for model, risk in risks.items()}
    return [svg.plot("Risk and coverage", "share of videos kept", "share wrong", lines)]


def degradation(changes: Sequence[Change]) -> list[str]:
    """AUC by video over the strength of each kind of degradation, from none to strong."""
    drawings = []
    for kind, start, title in (("JPEG", 100.0, "JPEG quality"), ("resize", 1.0, "scale")):
        lines: dict[str, list[tuple[float, float]]] = {}
        for change in changes:
            if change.kind != kind or change.strength is None:
                continue
            before, after = change.before.value, change.after.value
            if before is not None and after is not None:
                lines.setdefault(change.model, [(start, before)]).append((change.strength, after))
        if lines:
            drawings.append(
                svg.plot(
                    f"AUC by video under {title}",
                    f"{title} (100 and 1: as stored)",
                    "AUC",
                    lines,
                    x_range=(start, 0.0),
                    dots=True,
                )
            )
    return drawings


def _roc(title: str, scores: Mapping[str, Judged]) -> str:
    lines = {}
    for model, rows in scores.items():
        curve = classification.curve(rows)
        lines[model] = list(zip(curve.fpr_DK[0].tolist(), curve.tpr_DK[0].tolist(), strict=True))
    return svg.plot(title, "false positive rate", "true positive rate", lines, diagonal=True)

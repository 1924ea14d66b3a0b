"""The evaluation's curves: ROC, reliability, risk against coverage, degradation."""

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


def of(result: Evaluation) -> list[str]:
    """ROC by video and by frame, and reliability by frame, a line a model."""
    videos = {
        model: predictions.judged(
            predictions.of_videos(result.videos, pictures, result.judges[model]).drop_nulls("logit")
        )
        for model, pictures in result.predictions.items()
    }
    frames = {
        model: predictions.judged(pictures.filter(pl.col("face_label").is_not_null()), "face_label")
        for model, pictures in result.predictions.items()
    }
    frames = {model: rows for model, rows in frames.items() if len(set(rows.label_N.tolist())) == 2}
    reliability = {model: [one[:2] for one in classification.reliability(rows)] for model, rows in frames.items()}
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


def risk(found: Mapping[str, Risk]) -> list[str]:
    """Wrong decisions among the videos that are kept as the least certain are left out."""
    lines = {model: one.curve for model, one in found.items()}
    return [svg.plot("Risk and coverage", "share of videos kept", "share wrong", lines)]


def degradation(changes: Sequence[Change]) -> list[str]:
    """AUC by video over the strength of each kind of disturbance, from weak to strong; the clean figure comes first."""
    drawings = []
    for kind, start, title in (("JPEG", 100.0, "JPEG quality"), ("resize", 1.0, "scale")):
        mine = [one for one in changes if one.kind == kind and one.strength is not None]
        lines: dict[str, list[tuple[float, float]]] = {}
        for one in mine:
            if one.before.value is not None and one.after.value is not None and one.strength is not None:
                lines.setdefault(one.model, [(start, one.before.value)]).append((one.strength, one.after.value))
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


def _roc(title: str, judged: Mapping[str, Judged]) -> str:
    lines = {}
    for model, rows in judged.items():
        curve = classification.curve(rows)
        lines[model] = list(zip(curve.fpr_DK[0].tolist(), curve.tpr_DK[0].tolist(), strict=True))
    return svg.plot(title, "false positive rate", "true positive rate", lines, diagonal=True)

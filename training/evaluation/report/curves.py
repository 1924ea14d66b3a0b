"""The curves of an evaluation: ROC, reliability, scores by class, risk against coverage, degradation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl
from markupsafe import Markup

from semblance.quality.report import charts
from semblance.quality.report.statistics import Distribution
from semblance.training.evaluation import predictions
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.report import svg
from semblance.training.evaluation.report.blocks import Drawings, Fold
from semblance.training.evaluation.report.svg import Axis
from semblance.training.evaluation.robustness import Change
from semblance.training.evaluation.selective import Risk
from semblance.training.metrics import classification
from semblance.training.metrics.classification import Judged

_LEAST_FPR: Final = 1e-4  # of a logarithmic axis
_IN_A_BIN: Final = 10  # rows
_BINS: Final = 24
_MOST: Final = 6  # histograms that stand open
WORDS: Final = "Logits by video, reals and fakes each as a share of their own; the dashed line is val's threshold."


def by_level(result: Evaluation) -> list[Drawings | Fold]:
    """ROC on both axes and reliability by video, and the same by frame; one line per model."""
    video, frame = _videos(result), _frames(result)
    frame = {model: rows for model, rows in frame.items() if len(set(rows.label_N.tolist())) == 2}
    found: list[Drawings | Fold] = [_curves(video, "by video")]
    return [*found, Fold(title="Curves by frame", blocks=[_curves(frame, "by frame")])] if frame else found


def scores(result: Evaluation) -> list[Drawings | Fold]:
    """How the scores of reals and fakes spread, a plot for each run, with val's threshold; many are folded."""
    plots = [
        (f"{model}, by video", _histogram(model, rows, result.thresholds[model]["video"]))
        for model, rows in _videos(result).items()
        if model in result.scorers
    ]
    found: list[Drawings | Fold] = [Drawings(classes=True, plots=plots[:_MOST])]
    if len(plots) > _MOST:
        found.append(Fold(title="More runs", blocks=[Drawings(classes=True, plots=plots[_MOST:])]))
    return found


def risk(risks: Mapping[str, Risk]) -> Drawings:
    """The share of wrong decisions among the remaining videos, as the least certain are excluded."""
    lines = {model: risk.curve for model, risk in risks.items()}
    top = max((wrong for curve in lines.values() for _, wrong in curve), default=0.0)
    legend, highest = svg.keys(list(lines)), min(1.0, max(0.1, math.ceil(top * 10) / 10))
    drawing = svg.plot(
        "Risk and coverage", Axis(title="share of videos kept"), Axis(title="share wrong", high=highest), lines, legend
    )
    return Drawings(plots=[("Risk and coverage", drawing)], legend=legend)


def degradation(changes: Sequence[Change]) -> Drawings | None:
    """AUC by video over the strength of each kind of degradation, from none to strong; None without one."""
    plots = []
    legend = svg.keys(list(dict.fromkeys(change.model for change in changes)))
    for kind, start, title in (("JPEG", 100.0, "JPEG quality"), ("resize", 1.0, "scale")):
        lines: dict[str, list[tuple[float, float]]] = {}
        for change in changes:
            if change.kind != kind or change.strength is None:
                continue
            before, after = change.before.value, change.after.value
            if before is not None and after is not None:
                lines.setdefault(change.model, [(start, before)]).append((change.strength, after))
        if lines:
            head = f"AUC by video under {title}"
            across = Axis(title=f"{title} ({start:g}: as stored)", low=start, high=0.0)
            plots.append((head, svg.plot(head, across, Axis(title="AUC"), lines, legend, dots=True)))
    return Drawings(plots=plots, legend=legend) if plots else None


def _videos(result: Evaluation) -> dict[str, Judged]:
    return {
        model: predictions.as_arrays(
            predictions.of_videos(result.videos, pictures, result.predictors[model]).drop_nulls("logit")
        )
        for model, pictures in result.predictions.items()
    }


def _frames(result: Evaluation) -> dict[str, Judged]:
    return {
        model: predictions.as_arrays(pictures.filter(pl.col("face_label").is_not_null()), "face_label")
        for model, pictures in result.predictions.items()
    }


def _reliability(judged: Judged) -> list[tuple[float, float, int]]:
    """Bins of at least ``_IN_A_BIN`` rows, so that a share of fakes is more than one or two rows."""
    return classification.reliability(judged, min(classification.BINS, max(len(judged.label_N) // _IN_A_BIN, 2)))


def _curves(rows: Mapping[str, Judged], words: str) -> Drawings:
    legend = svg.keys(list(rows))
    curves = {model: classification.curve(judged) for model, judged in rows.items()}
    lines = {
        model: list(zip(curve.fpr_DK[0].tolist(), curve.tpr_DK[0].tolist(), strict=True))
        for model, curve in curves.items()
    }
    reals = max(int((judged.label_N == 0).sum()) for judged in rows.values())
    least = max(_LEAST_FPR, 10.0 ** math.floor(math.log10(1 / max(reals, 10))))
    fpr, tpr = Axis(title="false positive rate"), Axis(title="true positive rate")
    rare = Axis(title="false positive rate, logarithmic", low=least, log=True)
    said = "; ".join(f"{model}: AUC {float(curve.auc_D[0]):.3f}" for model, curve in curves.items())
    trust = {model: [point[:2] for point in _reliability(judged)] for model, judged in rows.items()}
    plots = [
        (f"ROC {words}", svg.plot(f"ROC {words}", fpr, tpr, lines, legend, diagonal=True, said=said)),
        (
            f"ROC {words} at few false alarms",
            svg.plot(f"ROC {words} at few false alarms", rare, tpr, lines, legend, diagonal=True, steps=True),
        ),
        (
            f"Reliability {words}, bins of equal mass",
            svg.plot(
                f"Reliability {words}",
                Axis(title="mean probability of fake"),
                Axis(title="share of fakes"),
                trust,
                legend,
                diagonal=True,
                dots=True,
            ),
        ),
    ]
    return Drawings(plots=plots, legend=legend)


def _histogram(model: str, rows: Judged, threshold: float) -> Markup:
    """Counts of reals and fakes by logit; the threshold is an edge of a bin."""
    low, high = min(float(rows.score_N.min()), threshold), max(float(rows.score_N.max()), threshold)
    step = max((high - low) / _BINS, 1e-6)
    before, after = math.ceil((threshold - low) / step), math.floor((high - threshold) / step) + 1
    edge_B = threshold + step * np.arange(-before, after + 1)
    edge_B[before] = threshold
    bin_N = np.clip(np.searchsorted(edge_B, rows.score_N, side="right") - 1, 0, len(edge_B) - 2)
    real, fake = (
        tuple(np.bincount(bin_N[rows.label_N == label], minlength=len(edge_B) - 1).tolist()) for label in (0, 1)
    )
    return charts.distribution(
        Distribution(
            name=model,
            title=f"Scores of {model}",
            unit="(logit)",
            edges=tuple(edge_B.tolist()),
            real=real,
            fake=fake,
            unknown_real=0,
            unknown_fake=0,
            low=threshold,
            high=None,
        ),
        "videos",
    )

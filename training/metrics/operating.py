"""Metrics of strict operating points (few false alarms, or few misses), of the left end of the ROC, and Brier's score.

D: draws (sets of weights), K: different scores.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from semblance.quality.statistics.roc import Roc
from semblance.training.metrics.classification import Floats
from semblance.training.metrics.registry import Metric, Weighted, register

PARTIAL: Final = 0.1  # the largest FPR of the partial area


def tpr_at_fpr(on: Weighted, most: float) -> Floats:
    """The largest TPR (D,) of a threshold whose FPR is at most ``most``; nothing is interpolated."""
    curve = on.curve
    return _known(curve, np.where(curve.fpr_DK <= most, curve.tpr_DK, 0.0).max(1))


def fpr_at_tpr(on: Weighted, least: float) -> Floats:
    """The smallest FPR (D,) of a threshold whose TPR is at least ``least``; nothing is interpolated."""
    curve = on.curve
    return _known(curve, np.where(curve.tpr_DK >= least, curve.fpr_DK, 1.0).min(1))


def partial_area(on: Weighted, most: float = PARTIAL) -> Floats:
    """The area (D,) under the linear ROC up to an FPR of ``most``: 0.5 for chance, 1 for perfect (McClish 1989)."""
    curve = on.curve
    needed = int((curve.fpr_DK <= most).any(0).sum()) + 1  # points; those after them are beyond it in every draw
    fpr_DK, tpr_DK = curve.fpr_DK[:, :needed], curve.tpr_DK[:, :needed]
    left_DK, right_DK = (np.minimum(part, most) for part in (fpr_DK[:, :-1], fpr_DK[:, 1:]))
    low_DK, high_DK = tpr_DK[:, :-1], tpr_DK[:, 1:]
    step_DK = fpr_DK[:, 1:] - fpr_DK[:, :-1]
    share_DK = np.divide(right_DK - left_DK, step_DK, out=np.zeros_like(step_DK), where=step_DK > 0)
    area_D = ((right_DK - left_DK) * (low_DK + share_DK * (high_DK - low_DK) / 2)).sum(1)
    chance = most * most / 2
    return _known(curve, 0.5 * (1 + (area_D - chance) / (most - chance)))


def _known(curve: Roc, value_D: Floats) -> Floats:
    """NaN where a draw lacks a class."""
    return np.asarray(np.where(np.isfinite(curve.auc_D), value_D, np.nan))


register(
    Metric(
        name="pauc",
        title="pAUC",
        compute=partial_area,
        better="higher",
        source="sklearn.metrics.roc_auc_score(max_fpr=0.1): McClish 1989",
        reals=10,
        interval=True,
        note=f"the area up to an FPR of {PARTIAL:g}, standardised so that chance is 0.5 (McClish)",
    )
)
for _most, _name, _title, _reals in (
    (0.01, "tpr_at_fpr_1", "TPR at FPR 1 %", 100),
    (0.001, "tpr_at_fpr_01", "TPR at FPR 0.1 %", 1000),
):
    register(
        Metric(
            name=_name,
            title=_title,
            compute=partial(tpr_at_fpr, most=_most),
            better="higher",
            source=f"sklearn.metrics.roc_curve: the largest TPR with FPR <= {_most:g}",
            reals=_reals,
            interval=True,
            note=f"the largest TPR of a threshold with that FPR or less; it needs {_reals:,} reals",
        )
    )
register(
    Metric(
        name="fpr_at_tpr_95",
        title="FPR at TPR 95 %",
        compute=partial(fpr_at_tpr, least=0.95),
        better="lower",
        source="sklearn.metrics.roc_curve: the smallest FPR with TPR >= 0.95",
        fakes=20,
        interval=True,
        note="the smallest FPR of a threshold with that TPR or more; it needs 20 fakes",
    )
)
register(
    Metric(
        name="brier",
        title="Brier",
        compute=lambda on: on.mean((on.rows.probability_N - on.rows.label_N) ** 2),
        better="lower",
        source="sklearn.metrics.brier_score_loss",
        kind="decision",
    )
)

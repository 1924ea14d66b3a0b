"""How well scores tell fake from real: every figure at once, under any weights of the rows.

N: rows (pictures or videos), D: draws (sets of weights), K: different scores, T: bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semblance.quality.statistics.roc import Roc, roc

Floats = NDArray[np.float64]

NAMES: Final = ("auc", "ap", "accuracy", "balanced_accuracy", "eer", "log_loss", "ece", "prevalence")
BINS: Final = 15  # of equal mass, for the calibration error
_TINY: Final = float(np.finfo(np.float64).eps)  # scikit-learn clips probabilities by it before their logarithm


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Rows with what is known of them: ``label_N`` 0 or 1, ``score_N`` (higher is more fake), ``probability_N``."""

    label_N: Floats
    score_N: Floats
    probability_N: Floats

    def take(self, rows_N: NDArray[np.bool_]) -> Judged:
        return Judged(
            label_N=self.label_N[rows_N], score_N=self.score_N[rows_N], probability_N=self.probability_N[rows_N]
        )


def figures(rows: Judged, threshold: float, weight_DN: Floats | None = None) -> dict[str, Floats]:
    """Each of ``NAMES`` as (D,): for weights of one, or for every set of weights.

    ``threshold``: a row is called fake at or above it. A figure that needs both classes is NaN where one lacks.
    AUC, AP, accuracy, balanced accuracy and log loss are scikit-learn's; EER is where the ROC, linear between its
    points, crosses FPR = 1 - TPR; ECE is the mean over 15 bins of equal mass (Nguyen and O'Connor 2015) of the
    difference between mean probability and share of fakes.
    """
    weight_DN = np.ones((1, len(rows.label_N))) if weight_DN is None else weight_DN
    found = curve(rows, weight_DN)
    rise_DK = np.diff(found.tpr_DK, axis=1)
    fake_N, called_N = rows.label_N == 1, rows.score_N >= threshold
    total_D = weight_DN.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr_D = weight_DN @ (fake_N & called_N) / (weight_DN @ fake_N)
        tnr_D = weight_DN @ (~fake_N & ~called_N) / (weight_DN @ ~fake_N)
        return {
            "auc": found.auc_D,
            "ap": (rise_DK * found.precision_DK[:, 1:]).sum(1),
            "accuracy": weight_DN @ (fake_N == called_N) / total_D,
            "balanced_accuracy": (tpr_D + tnr_D) / 2,
            "eer": _equal_error(found),
            "log_loss": weight_DN @ _loss(rows) / total_D,
            "ece": _calibration_error(rows, weight_DN),
            "prevalence": weight_DN @ fake_N / total_D,
        }


def rates(rows: Judged, threshold: float, weight_DN: Floats | None = None) -> dict[str, Floats]:
    """``fpr`` and ``fnr`` at the threshold, and ``positive``, the share called fake; each (D,)."""
    weight_DN = np.ones((1, len(rows.label_N))) if weight_DN is None else weight_DN
    fake_N, called_N = rows.label_N == 1, rows.score_N >= threshold
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "fpr": weight_DN @ (~fake_N & called_N) / (weight_DN @ ~fake_N),
            "fnr": weight_DN @ (fake_N & ~called_N) / (weight_DN @ fake_N),
            "positive": weight_DN @ called_N / weight_DN.sum(1),
        }


def curve(rows: Judged, weight_DN: Floats | None = None) -> Roc:
    """The weighted ROC of the rows."""
    return roc(rows.label_N, rows.score_N, weight_DN)


def threshold(rows: Judged) -> float:
    """Where TPR - FPR (Youden's J), and so the balanced accuracy, is largest; midway to the next lower score.

    Of equal ones the highest. Raises ValueError where a class lacks.
    """
    found = curve(rows)
    gain_K = (found.tpr_DK - found.fpr_DK)[0, 1:]
    if not np.isfinite(gain_K).all():
        raise ValueError("a threshold needs rows of both classes")
    score_K = np.unique(rows.score_N)[::-1]
    best = int(np.argmax(gain_K))
    return float(score_K[best] if best + 1 == len(score_K) else (score_K[best] + score_K[best + 1]) / 2)


def bins_of(probability_N: Floats, bins: int = BINS) -> NDArray[np.int64]:
    """The bin of each row, by the rank of its probability; equal probabilities are in one bin."""
    _, place_N, count_K = np.unique(probability_N, return_inverse=True, return_counts=True)
    middle_K = np.cumsum(count_K) - (count_K - 1) / 2  # mean rank, from 1
    rank_N = middle_K[place_N] - 0.5
    return np.minimum(rank_N * bins / len(probability_N), bins - 1).astype(np.int64)


def reliability(rows: Judged, bins: int = BINS) -> list[tuple[float, float, int]]:
    """(mean probability, share of fakes, rows) of each bin that is not empty."""
    bin_N = bins_of(rows.probability_N, bins)
    return [
        (float(rows.probability_N[bin_N == one].mean()), float(rows.label_N[bin_N == one].mean()), int(count))
        for one, count in zip(*np.unique(bin_N, return_counts=True), strict=True)
    ]


def risk_coverage(wrong_N: NDArray[np.bool_], uncertainty_N: Floats) -> list[tuple[float, float]]:
    """(coverage, share of wrong decisions among those kept) as the least certain rows are left out one by one.

    Rows of equal uncertainty come and go together.
    """
    order_N = np.argsort(uncertainty_N, kind="stable")
    sure_N = uncertainty_N[order_N]
    last_K = np.flatnonzero(np.append(sure_N[1:] != sure_N[:-1], True))
    errors_K = np.cumsum(wrong_N[order_N])[last_K]
    return [
        (float((last + 1) / len(wrong_N)), float(errors / (last + 1)))
        for last, errors in zip(last_K, errors_K, strict=True)
    ]


def _equal_error(found: Roc) -> Floats:
    over_DK = found.fpr_DK + found.tpr_DK - 1  # FPR - FNR, from -1 to 1
    after_D = np.maximum(np.argmax(over_DK >= 0, axis=1), 1)
    rows_D = np.arange(len(over_DK))
    low_D, high_D = over_DK[rows_D, after_D - 1], over_DK[rows_D, after_D]
    share_D = -low_D / (high_D - low_D)
    fpr_D, next_D = found.fpr_DK[rows_D, after_D - 1], found.fpr_DK[rows_D, after_D]
    return np.asarray(fpr_D + share_D * (next_D - fpr_D))


def _loss(rows: Judged) -> Floats:
    clipped_N = np.clip(rows.probability_N, _TINY, 1 - _TINY)
    return np.asarray(-np.where(rows.label_N == 1, np.log(clipped_N), np.log1p(-clipped_N)))


def _calibration_error(rows: Judged, weight_DN: Floats) -> Floats:
    bin_N = bins_of(rows.probability_N)
    order_N = np.argsort(bin_N, kind="stable")
    first_T = np.flatnonzero(np.insert(np.diff(bin_N[order_N]) != 0, 0, True))
    excess_DN = weight_DN[:, order_N] * (rows.probability_N - rows.label_N)[order_N]
    return np.asarray(np.abs(np.add.reduceat(excess_DN, first_T, axis=1)).sum(1) / weight_DN.sum(1))

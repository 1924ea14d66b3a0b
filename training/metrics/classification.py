"""Scores against labels: the ROC, rates at a threshold, thresholds, reliability, under any weights of the rows.

N: rows (pictures or videos), D: draws (sets of weights), K: different scores, T: bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semblance.quality.statistics.roc import Roc, roc

Floats = NDArray[np.float64]

BINS: Final = 15  # of equal mass, for the calibration error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Scored rows: ``label_N`` 0 or 1, ``score_N`` (higher is more fake), ``probability_N`` of fake."""

    label_N: Floats
    score_N: Floats
    probability_N: Floats

    def take(self, rows_N: NDArray[np.bool_]) -> Judged:
        return Judged(
            label_N=self.label_N[rows_N], score_N=self.score_N[rows_N], probability_N=self.probability_N[rows_N]
        )


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
    """The score with the largest TPR - FPR (Youden's J), so the best balanced accuracy; midway to the next lower score.

    The highest one of equals. Raises ValueError if a class is missing.
    """
    points = curve(rows)
    gain_K = (points.tpr_DK - points.fpr_DK)[0, 1:]
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
        (float(rows.probability_N[bin_N == number].mean()), float(rows.label_N[bin_N == number].mean()), int(count))
        for number, count in zip(*np.unique(bin_N, return_counts=True), strict=True)
    ]


def risk_coverage(wrong_N: NDArray[np.bool_], uncertainty_N: Floats) -> list[tuple[float, float]]:
    """(coverage, share of wrong decisions among the remaining rows) as the least certain are excluded one by one.

    Rows of equal uncertainty are excluded together.

    >>> risk_coverage(np.array([False, True, False, True]), np.array([0.1, 0.4, 0.2, 0.4]))
    [(0.25, 0.0), (0.5, 0.0), (1.0, 0.5)]
    """
    order_N = np.argsort(uncertainty_N, kind="stable")
    sure_N = uncertainty_N[order_N]
    last_K = np.flatnonzero(np.append(sure_N[1:] != sure_N[:-1], True))
    errors_K = np.cumsum(wrong_N[order_N])[last_K]
    return [
        (float((last + 1) / len(wrong_N)), float(errors / (last + 1)))
        for last, errors in zip(last_K, errors_K, strict=True)
    ]


def balanced(right_N: NDArray[np.bool_], label_N: NDArray[Any], weight_DN: Floats) -> Floats:
    """Balanced accuracy, the mean over both classes of the weighted share that is right, (D,); NaN without a class."""
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = [weight_DN @ (right_N & (label_N == one)) / (weight_DN @ (label_N == one)) for one in (0, 1)]
    return np.asarray((parts[0] + parts[1]) / 2)

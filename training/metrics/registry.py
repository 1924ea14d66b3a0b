"""The registry of metrics: every figure of an evaluation, each under any weights of the rows.

N: rows (pictures or videos), D: draws (sets of weights), K: different scores, T: bins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from semblance.manifests.registry import Registry
from semblance.quality.statistics.roc import Roc
from semblance.training.metrics.classification import BINS, Floats, Judged, bins_of, curve

_TINY: Final = float(np.finfo(np.float64).eps)  # scikit-learn clips probabilities by it before their logarithm


@dataclass(frozen=True, kw_only=True, eq=False)
class Weighted:
    """What metrics are computed from: rows, the threshold at or above which a row is called fake, and weights (D, N).

    Shared intermediate results are computed once, on first use. The share of a class that a draw does not hold is NaN.
    """

    rows: Judged
    threshold: float
    weight_DN: Floats

    @cached_property
    def curve(self) -> Roc:
        """The ROC of every draw."""
        return curve(self.rows, self.weight_DN)

    @cached_property
    def fake(self) -> NDArray[np.bool_]:
        """Which rows are fake, (N,)."""
        return np.equal(self.rows.label_N, 1)

    @cached_property
    def called(self) -> NDArray[np.bool_]:
        """Which rows are called fake, (N,)."""
        return np.greater_equal(self.rows.score_N, self.threshold)

    def mean(self, value_N: Floats | NDArray[np.bool_], of_N: NDArray[np.bool_] | None = None) -> Floats:
        """The weighted mean (D,) of a value over all rows, or over those of ``of_N`` if it is zero elsewhere."""
        total_D = self.weight_DN.sum(1) if of_N is None else self.weight_DN @ of_N
        return np.asarray(self.weight_DN @ value_N / total_D)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure of an evaluation.

    ``compute`` returns it for every draw, (D,), NaN if undefined. ``better``: the direction of improvement, None for a
    description of the data. ``thresholded``: it depends on the threshold. ``source``: its definition. ``kind``: the
    table that it stands in: how rows are ranked, or how they are decided and how far probabilities can be trusted.
    ``reals``, ``fakes``: rows of a class below which it cannot be measured, and is NaN. ``interval``: tables show its
    interval. ``summary``: the terminal shows it. ``note``: how it is computed, for the page's legend.
    """

    name: str
    title: str  # the heading of its column
    compute: Callable[[Weighted], Floats]
    better: Literal["higher", "lower"] | None
    source: str
    kind: Literal["ranking", "decision"] = "ranking"
    reals: int = 0
    fakes: int = 0
    thresholded: bool = False
    interval: bool = False
    summary: bool = False
    note: str | None = None


METRICS: Final[Registry[Metric]] = Registry("metric", "the evaluation")


def register(metric: Metric) -> Metric:
    """Add a metric as the last column; raises ValueError if its name is taken."""
    return METRICS.add(metric.name, metric)


def figures(rows: Judged, threshold: float, weight_DN: Floats | None = None) -> dict[str, Floats]:
    """Each of ``METRICS`` by name as (D,): for weights of one, or for every set of weights.

    ``threshold``: a row is called fake at or above it. A figure that needs both classes is NaN if one is missing, and
    one that needs more rows of a class than there are is NaN as well.
    """
    weight_DN = np.ones((1, len(rows.label_N))) if weight_DN is None else weight_DN
    weighted = Weighted(rows=rows, threshold=threshold, weight_DN=weight_DN)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            name: metric.compute(weighted) if measurable(metric, rows) else np.full(len(weight_DN), np.nan)
            for name, metric in METRICS.items()
        }


def measurable(metric: Metric, rows: Judged) -> bool:
    """Whether there are enough rows of each class for the metric."""
    fakes = int((rows.label_N == 1).sum())
    return fakes >= metric.fakes and len(rows.label_N) - fakes >= metric.reals


def _area(on: Weighted) -> Floats:
    return on.curve.auc_D


def _average_precision(on: Weighted) -> Floats:
    return np.asarray((np.diff(on.curve.tpr_DK, axis=1) * on.curve.precision_DK[:, 1:]).sum(1))


def _balanced_accuracy(on: Weighted) -> Floats:
    tpr_D = on.mean(on.fake & on.called, of_N=on.fake)
    tnr_D = on.mean(~on.fake & ~on.called, of_N=~on.fake)
    return (tpr_D + tnr_D) / 2


def _equal_error(on: Weighted) -> Floats:
    curve = on.curve
    over_DK = curve.fpr_DK + curve.tpr_DK - 1  # FPR - FNR, from -1 to 1
    after_D = np.maximum(np.argmax(over_DK >= 0, axis=1), 1)
    rows_D = np.arange(len(over_DK))
    low_D, high_D = over_DK[rows_D, after_D - 1], over_DK[rows_D, after_D]
    share_D = -low_D / (high_D - low_D)
    fpr_D, next_D = curve.fpr_DK[rows_D, after_D - 1], curve.fpr_DK[rows_D, after_D]
    return np.asarray(fpr_D + share_D * (next_D - fpr_D))


def _log_loss(on: Weighted) -> Floats:
    clipped_N = np.clip(on.rows.probability_N, _TINY, 1 - _TINY)
    return on.mean(-np.where(on.fake, np.log(clipped_N), np.log1p(-clipped_N)))


def _calibration_error(on: Weighted) -> Floats:
    bin_N = bins_of(on.rows.probability_N)
    order_N = np.argsort(bin_N, kind="stable")
    first_T = np.flatnonzero(np.insert(np.diff(bin_N[order_N]) != 0, 0, True))
    excess_DN = on.weight_DN[:, order_N] * (on.rows.probability_N - on.rows.label_N)[order_N]
    return np.asarray(np.abs(np.add.reduceat(excess_DN, first_T, axis=1)).sum(1) / on.weight_DN.sum(1))


register(
    Metric(
        name="auc",
        title="AUC",
        compute=_area,
        better="higher",
        source="sklearn.metrics.roc_auc_score",
        interval=True,
        summary=True,
    )
)
register(
    Metric(
        name="ap",
        title="AP",
        compute=_average_precision,
        better="higher",
        source="sklearn.metrics.average_precision_score",
        summary=True,
    )
)
register(
    Metric(
        name="accuracy",
        title="accuracy",
        compute=lambda on: on.mean(on.fake == on.called),
        better="higher",
        source="sklearn.metrics.accuracy_score",
        kind="decision",
        thresholded=True,
    )
)
register(
    Metric(
        name="balanced_accuracy",
        title="balanced acc.",
        compute=_balanced_accuracy,
        better="higher",
        source="sklearn.metrics.balanced_accuracy_score",
        kind="decision",
        thresholded=True,
        interval=True,
        summary=True,
    )
)
register(
    Metric(
        name="eer",
        title="EER",
        compute=_equal_error,
        better="lower",
        source="where the ROC, linear between its points, crosses FPR = 1 - TPR",
        interval=True,
        summary=True,
        note="linear interpolation of the ROC",
    )
)
register(
    Metric(
        name="log_loss",
        title="log loss",
        compute=_log_loss,
        better="lower",
        source="sklearn.metrics.log_loss",
        kind="decision",
        summary=True,
    )
)
register(
    Metric(
        name="ece",
        title="ECE",
        compute=_calibration_error,
        better="lower",
        source="mean over bins of equal mass of |mean probability - share of fakes| (Nguyen and O'Connor 2015)",
        kind="decision",
        summary=True,
        note=f"{BINS} bins of equal mass",
    )
)
register(
    Metric(
        name="prevalence",
        title="fakes",
        compute=lambda on: on.mean(on.fake),
        better=None,
        source="the share of fakes, which is AP's and accuracy's baseline",
        kind="decision",
    )
)

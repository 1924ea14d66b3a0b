"""A regularised linear model of the label, judged out of fold by family, with an interval over families."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semblance.quality.checks import separability
from semblance.quality.checks.separability import Numbers, Wholes
from semblance.quality.statistics import bootstrap, roc

STRENGTH: Final = 0.1  # inverse of the L2 penalty on standardised statistics: more of them than families
_FLAT: Final = 1e-9
_SURE: Final = 1e-4  # a score is taken for no surer than this


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Told:
    """``auc`` of the out-of-fold ``scores`` (probabilities of label 1, one a row) with its 95 % interval over families;
    None, and no scores, if there are too few families, or too few with both labels.
    """

    auc: float | None
    low: float | None
    high: float | None
    reals: int
    fakes: int
    families: int
    scores: Numbers


def told(values_NF: Numbers, label_N: Wholes, families: Sequence[str], seed: int = 0) -> Told:
    """How well a logistic regression tells ``label_N`` from ``values_NF`` in families that it has not seen."""
    folds = separability.folds_of(list(families), seed)
    if len(set(families)) < separability.LEAST_FAMILIES or not separability.testable(label_N, folds):
        return judged(np.zeros(0), label_N, families, seed)
    return judged(out_of_fold(values_NF, label_N, folds), label_N, families, seed)


def judged(score_N: Numbers, label_N: Wholes, families: Sequence[str], seed: int = 0) -> Told:
    """How well scores from elsewhere tell the labels."""
    counts: dict[str, Any] = {
        "reals": int((label_N == 0).sum()),
        "fakes": int((label_N == 1).sum()),
        "families": len(set(families)),
    }
    if not len(score_N) or counts["families"] < separability.LEAST_FAMILIES or not counts["reals"] * counts["fakes"]:
        return Told(auc=None, low=None, high=None, scores=np.zeros(0), **counts)
    found = bootstrap.estimate(
        lambda weight_DN: {"auc": roc.auc(label_N, score_N, weight_DN)},
        np.asarray(families),
        draws=separability.ROUNDS,
        seed=seed,
    )["auc"]
    return Told(auc=found.value, low=found.low, high=found.high, scores=score_N, **counts)


def calibrated(score_N: Numbers, label_N: Wholes) -> Numbers:
    """(N,) the probability of label 1 if both labels were equally frequent, by a logistic curve of the scores' logits
    (Platt 1999): two parameters, so that a row's own label hardly counts.
    """
    from sklearn.linear_model import LogisticRegression

    inside = np.clip(score_N, _SURE, 1 - _SURE)
    logit_N1 = np.log(inside / (1 - inside))[:, None]
    curve = LogisticRegression(C=1e6, class_weight="balanced", solver="liblinear").fit(logit_N1, label_N)
    probability: Numbers = curve.predict_proba(logit_N1)[:, 1]
    return probability


def out_of_fold(values_NF: Numbers, label_N: Wholes, folds_N: Wholes) -> Numbers:
    """(N,) the probability of label 1 by a model fitted without the row's fold, rounded so that ties stay ties."""
    scores = np.full(len(label_N), 0.5)
    for fold in np.unique(folds_N):
        inside = folds_N != fold
        scores[~inside] = _predicted(values_NF[inside], label_N[inside], values_NF[~inside])
    rounded: NDArray[np.float64] = np.round(scores, 6)
    return rounded


def _predicted(values_NF: Numbers, label_N: Wholes, unseen_MF: Numbers) -> Numbers:
    """(M,) the probability of label 1, by columns standardised on the rows that are fitted."""
    from sklearn.linear_model import LogisticRegression

    middle, spread = values_NF.mean(0), values_NF.std(0)
    scale = np.where(spread > _FLAT, spread, np.inf)  # a constant column says nothing
    # This solver is exact, and starts no threads for small tables, which would wait for each other.
    model = LogisticRegression(C=STRENGTH, class_weight="balanced", solver="liblinear")
    model.fit((values_NF - middle) / scale, label_N)
    probability: Numbers = model.predict_proba((unseen_MF - middle) / scale)[:, 1]
    return probability

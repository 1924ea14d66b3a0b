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

STRENGTH: Final = 0.01  # inverse of the L2 penalty on standardised statistics: more of them than families
_FLAT: Final = 1e-9


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
    counts: dict[str, Any] = {
        "reals": int((label_N == 0).sum()),
        "fakes": int((label_N == 1).sum()),
        "families": len(set(families)),
    }
    folds = separability.folds_of(list(families), seed)
    if counts["families"] < separability.LEAST_FAMILIES or not separability.testable(label_N, folds):
        return Told(auc=None, low=None, high=None, scores=np.zeros(0), **counts)
    scores = out_of_fold(values_NF, label_N, folds)
    found = bootstrap.estimate(
        lambda weight_DN: {"auc": roc.auc(label_N, scores, weight_DN)},
        np.asarray(families),
        draws=separability.ROUNDS,
        seed=seed,
    )["auc"]
    return Told(auc=found.value, low=found.low, high=found.high, scores=scores, **counts)


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

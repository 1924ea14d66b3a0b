"""The ROC curve and the area under it, for many sets of weights of the rows at once.

N: rows, D: draws (sets of weights), K: different scores, from the highest to the lowest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Roc:
    """Shares of reals (``fpr_DK``) and of fakes (``tpr_DK``) at or above each score, from none to all; NaN where a
    draw lacks a class. ``auc_D`` is the area under the curve.
    """

    fpr_DK: Floats
    tpr_DK: Floats
    precision_DK: Floats
    auc_D: Floats


def roc(label_N: NDArray[Any], score_N: NDArray[Any], weight_DN: Floats | None = None) -> Roc:
    """The weighted ROC of labels 0 and 1; a higher score says 1, and equal scores are one point of the curve.

    The area is the share of pairs of both labels in the right order, ties counted half (Hanley and McNeil 1982): for
    whole weights its sums are exact, so equal orders have equal areas.
    """
    weight_DN = np.ones((1, len(label_N))) if weight_DN is None else weight_DN
    order_N = np.argsort(-score_N, kind="stable")
    score_N, fake_N = score_N[order_N], label_N[order_N] == 1
    last_K = np.flatnonzero(np.append(score_N[1:] != score_N[:-1], True))
    sorted_DN = weight_DN[:, order_N]
    none_D1 = np.zeros((len(weight_DN), 1))
    hit_DK = np.hstack([none_D1, np.cumsum(sorted_DN * fake_N, axis=1)[:, last_K]])
    false_DK = np.hstack([none_D1, np.cumsum(sorted_DN * ~fake_N, axis=1)[:, last_K]])
    below_DK = false_DK[:, -1:] - (false_DK[:, 1:] + false_DK[:, :-1]) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        called_DK = hit_DK + false_DK
        return Roc(
            fpr_DK=false_DK / false_DK[:, -1:],
            tpr_DK=hit_DK / hit_DK[:, -1:],
            precision_DK=np.where(called_DK > 0, hit_DK / called_DK, 1.0),
            auc_D=(np.diff(hit_DK, axis=1) * below_DK).sum(1) / (hit_DK[:, -1] * false_DK[:, -1]),
        )


def auc(label_N: NDArray[Any], score_N: NDArray[Any], weight_DN: Floats | None = None) -> Floats:
    """``roc``'s area, (D,); NaN where a draw lacks a class."""
    return roc(label_N, score_N, weight_DN).auc_D

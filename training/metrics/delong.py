"""The areas under the ROC curves of several models on the same rows, with their covariance (DeLong 1988).

By midranks, in O(n log n) (Sun and Xu 2014). M: models, R: reals, F: fakes, N: rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from semblance.training.metrics.classification import Floats

_NORMAL_95: Final = float(stats.norm.ppf(0.975))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """AUC of the first model minus that of the second, with its 95 % interval and two-sided p.

    The rows are taken as independent. ``p`` is None if the difference has no variance, but is not zero either.
    """

    value: float
    low: float
    high: float
    p: float | None


def areas(label_N: NDArray[Any], score_MN: Floats) -> tuple[Floats, Floats]:
    """AUCs (M,) and their covariance (M, M). Raises ValueError if a class has fewer than two rows."""
    fake_N = np.equal(label_N, 1)
    fakes, reals = int(fake_N.sum()), int((~fake_N).sum())
    if min(fakes, reals) < 2:
        raise ValueError("DeLong's covariance needs two rows of each class")
    score_MN = np.atleast_2d(score_MN)
    rank_MN = stats.rankdata(score_MN, axis=1)
    fake_MF = (rank_MN[:, fake_N] - stats.rankdata(score_MN[:, fake_N], axis=1)) / reals
    real_MR = 1 - (rank_MN[:, ~fake_N] - stats.rankdata(score_MN[:, ~fake_N], axis=1)) / fakes
    covariance_MM = np.cov(fake_MF) / fakes + np.cov(real_MR) / reals
    return fake_MF.mean(1), np.atleast_2d(covariance_MM)


def difference(label_N: NDArray[Any], first_N: Floats, second_N: Floats) -> Difference:
    """The paired difference of two models' AUCs. Raises ValueError if a class has fewer than two rows."""
    area_M, covariance_MM = areas(label_N, np.stack([first_N, second_N]))
    value = float(area_M[0] - area_M[1])
    variance = float(covariance_MM[0, 0] + covariance_MM[1, 1] - 2 * covariance_MM[0, 1])
    spread = math.sqrt(max(variance, 0.0))
    if spread < 1e-12:  # rounding of equal placements
        return Difference(value=value, low=value, high=value, p=1.0 if abs(value) < 1e-12 else None)
    p = float(2 * stats.norm.sf(abs(value) / spread))
    return Difference(value=value, low=value - _NORMAL_95 * spread, high=value + _NORMAL_95 * spread, p=p)


def holm(p_T: list[float | None]) -> list[float | None]:
    """The p of several tests, corrected so that the chance of any false finding stays (Holm 1979); None stays None.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    known = sorted((p, place) for place, p in enumerate(p_T) if p is not None)
    corrected: list[float | None] = [None] * len(p_T)
    largest = 0.0
    for step, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - step)))
        corrected[place] = largest
    return corrected

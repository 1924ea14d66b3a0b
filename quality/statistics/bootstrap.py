"""How sure a figure is: the same figure over many draws of whole groups, people where known, else families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semblance.quality.statistics.roc import Floats

DRAWS: Final = 2000
_CELLS: Final = 2_000_000  # of weights held at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with the middle 95 % of its draws; None where it does not exist (one class alone)."""

    value: float | None
    low: float | None = None
    high: float | None = None


Figures = Callable[[Floats | None], dict[str, Floats]]  # weights (D, N), or None for ones, to (D,) each


def estimate(figures: Figures, group_N: Sequence[str] | NDArray[Any], *, draws: int, seed: int) -> dict[str, Estimate]:
    """Every figure of ``figures`` with its interval over ``draws`` draws, as ``drawn`` makes them."""
    points = figures(None)
    found = drawn(figures, group_N, draws=draws, seed=seed)
    return {name: summarised(float(points[name][0]), found.get(name, np.zeros(0))) for name in points}


def drawn(figures: Figures, group_N: Sequence[str] | NDArray[Any], *, draws: int, seed: int) -> dict[str, Floats]:
    """Every figure over ``draws`` draws (D,), with replacement, of as many groups as there are (Efron 1979).

    The same groups and seed give the same draws, so that models are compared over the same. Empty if there is no draw,
    or one group alone, which has no spread to tell.
    """
    names, place_N = np.unique(np.asarray(group_N), return_inverse=True)
    found: dict[str, list[Floats]] = {}
    rng = np.random.default_rng(seed)
    even = np.full(len(names), 1 / len(names))
    size = max(_CELLS // len(place_N), 1)
    for first in range(0, draws if len(names) > 1 else 0, size):
        times_DG = rng.multinomial(len(names), even, size=min(size, draws - first))
        for name, values in figures(times_DG[:, place_N].astype(np.float64)).items():
            found.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def summarised(value: float, drawn_D: Floats) -> Estimate:
    """A figure with the middle 95 % of its draws; a draw without one class has no AUC and is left out."""
    drawn_D = drawn_D[np.isfinite(drawn_D)]
    if not np.isfinite(value):
        return Estimate(value=None)
    if not len(drawn_D):
        return Estimate(value=value)
    low, high = np.percentile(drawn_D, (2.5, 97.5))
    return Estimate(value=value, low=float(low), high=float(high))

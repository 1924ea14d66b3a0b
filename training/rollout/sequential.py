"""A test that may be looked at after every subject: is the challenger better, or worse, by more than a margin?

Of subject t, the arm A_t (1: challenger) was drawn with the recorded probability pi_t, and the outcome Y_t in [0, 1]
became known. With m_t, the mean of the outcomes before it, Z_t = (A_t - pi_t) (Y_t - m_t) has the expectation
pi_t (1 - pi_t) times the effect, whatever the outcomes are, however they drift, and however pi_t was chosen from the
past: only the draw of the arm is random. For a bet x >= 0 and Z_t >= -c_t,

    exp(x (sum Z - d sum w) - sum psi(x, c_t) Z_t^2),   w_t = pi_t (1 - pi_t),   psi(x, c) = (-log(1 - c x) - c x) / c^2

has an expectation of at most 1 at any time if the w-weighted mean of the effects so far is at most d (empirical
Bernstein: Fan, Grama and Liu 2015; Howard, Ramdas, McAuliffe and Sekhon 2021; for off-policy inference Waudby-Smith,
Wu, Ramdas and Karampatziakis 2022). So has its mean over bets. By Ville's inequality, it ever exceeds 1 / alpha with a
probability of at most alpha: exact for any number of subjects and looks. Effects may change over time: the statement is
on their mean so far. The weights w are those of the smallest variance, and let pi_t be near 0 without harm.

T: subjects in the order in which their outcomes became known; K: bets.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Direction = Literal["above", "below"]
BETS: Final = np.geomspace(0.02, 0.95, 8)  # K; the best is about sqrt(2 log(1 / alpha) / sum Z^2)
_LEVELS: Final = 64  # bounds c are rounded up to 1/64: slightly too large is still a bound
_ROUNDS: Final = 60  # of a bisection on [-1, 1]


def _penalties() -> Floats:
    """psi, (levels + 1, K); that of level 0 is never used."""
    bound_L1 = np.maximum(np.arange(_LEVELS + 1), 1)[:, None] / _LEVELS
    return (-np.log1p(-bound_L1 * BETS) - bound_L1 * BETS) / bound_L1**2


PENALTIES: Final = _penalties()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Terms:
    """What each subject adds, all (..., T): ``z``, its weight, and the levels of its bounds, -down <= z <= up."""

    z: Floats
    weight: Floats
    down: NDArray[np.int64]
    up: NDArray[np.int64]


def compared(arm: NDArray[Any], share: Floats, outcome: Floats, before: tuple[int, float] = (0, 0.0)) -> Terms:
    """Challenger against champion; all (..., T), ``share`` in (0, 1), ``outcome`` in [0, 1].

    ``before``: number and sum of the outcomes of earlier subjects. The mean before the first subject is 1/2, which also
    counts as one outcome ever after.
    """
    count_T = before[0] + np.arange(1, outcome.shape[-1] + 1)
    mean = np.clip((before[1] + np.cumsum(outcome, axis=-1) - outcome + 0.5) / count_T, 0, 1)
    return Terms(
        z=(arm - share) * (outcome - mean),
        weight=share * (1 - share) * np.ones_like(outcome),
        down=_level(np.maximum((1 - share) * mean, share * (1 - mean))),
        up=_level(np.maximum((1 - share) * (1 - mean), share * mean)),
    )


def against(outcome: Floats, floor: float) -> Terms:
    """One arm's outcomes (..., T) in [0, 1] against a fixed number: the effect is their mean minus ``floor``."""
    one = np.ones_like(outcome)
    return Terms(z=outcome - floor, weight=one, down=_level(floor * one), up=_level((1 - floor) * one))


def drawn(arm: NDArray[Any], share: Floats) -> Terms:
    """Whether arms (..., T) were drawn with the recorded shares: the effect is then 0."""
    share = share * np.ones(arm.shape)
    return Terms(z=arm - share, weight=np.ones(arm.shape), down=_level(share), up=_level(1 - share))


def _level(bound: Floats) -> NDArray[np.int64]:
    return np.clip(np.ceil(bound * _LEVELS - 1e-9), 1, _LEVELS).astype(np.int64)


def evidence(terms: Terms, effect: float, direction: Direction) -> Floats:
    """The log of the evidence, (..., T), that the mean effect so far is ``above`` (``below``) a number.

    If it is not, then the evidence ever reaches log(1 / alpha) with a probability of at most alpha.
    """
    logs = _logs(terms, effect, direction)
    return _mean(logs, functools.reduce(np.maximum, logs))


def crossed(terms: Terms, effect: float, direction: Direction, alpha: float) -> NDArray[np.bool_]:
    """Where the evidence is at least log(1 / alpha), (..., T): the same, and quicker where it is so nowhere."""
    gain = np.cumsum(terms.z - effect * terms.weight, axis=-1) * (1 if direction == "above" else -1)
    enough = (gain > 0) & (gain**2 >= -2 * math.log(alpha) * np.cumsum(terms.z**2, axis=-1))  # psi(x, c) >= x^2 / 2
    if not enough.any():
        return enough
    logs = [one[enough] for one in _logs(terms, effect, direction)]
    enough[enough] = _mean(logs, functools.reduce(np.maximum, logs)) >= -math.log(alpha)
    return enough


def _logs(terms: Terms, effect: float, direction: Direction) -> list[Floats]:
    """For each bet, (..., T)."""
    gain, level = np.cumsum(terms.z - effect * terms.weight, axis=-1), terms.down
    if direction == "below":
        gain, level = -gain, terms.up
    square = terms.z**2
    return [
        bet * gain - np.cumsum(penalty_L1[level] * square, axis=-1)
        for bet, penalty_L1 in zip(BETS, PENALTIES.T, strict=True)
    ]


def _mean(logs: Sequence[Floats], best: Floats) -> Floats:
    return np.asarray(best + np.log(sum(np.exp(one - best) for one in logs) / len(logs)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sums:
    """What is known after the last subject. Sums of parts add up, so a stream keeps no more than this."""

    z: float = 0.0
    weight: float = 0.0
    down_K: Floats = field(default_factory=lambda: np.zeros(len(BETS)))  # sum psi z^2
    up_K: Floats = field(default_factory=lambda: np.zeros(len(BETS)))

    @classmethod
    def of(cls, terms: Terms) -> Self:
        """The sums over all subjects, (T,)."""
        square_T = terms.z**2
        return cls(
            z=float(terms.z.sum()),
            weight=float(terms.weight.sum()),
            down_K=np.bincount(terms.down, square_T, _LEVELS + 1) @ PENALTIES,
            up_K=np.bincount(terms.up, square_T, _LEVELS + 1) @ PENALTIES,
        )

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            z=self.z + other.z,
            weight=self.weight + other.weight,
            down_K=self.down_K + other.down_K,
            up_K=self.up_K + other.up_K,
        )

    @property
    def effect(self) -> float:
        """The estimate: the weighted mean of the effects; not a number before the first subject."""
        return self.z / self.weight if self.weight else math.nan

    def evidence(self, effect: float, direction: Direction) -> float:
        """As the last of ``evidence``; 0 before the first subject."""
        gain, cost_K = self.z - effect * self.weight, self.down_K
        if direction == "below":
            gain, cost_K = -gain, self.up_K
        log_K = BETS * gain - cost_K
        best = float(log_K.max())
        return best + math.log(float(np.exp(log_K - best).mean()))

    def interval(self, alpha: float) -> tuple[float, float]:
        """The effects in [-1, 1] that are not refuted: each end is wrong with a probability of at most alpha, ever."""
        return self._end("above", alpha), self._end("below", alpha)

    def _end(self, direction: Direction, alpha: float) -> float:
        """Bisection: evidence is monotone in the effect."""
        refuted, kept = (-1.0, 1.0) if direction == "above" else (1.0, -1.0)
        if self.evidence(refuted, direction) < -math.log(alpha):
            return refuted
        for _ in range(_ROUNDS):
            middle = (refuted + kept) / 2
            if self.evidence(middle, direction) >= -math.log(alpha):
                refuted = middle
            else:
                kept = middle
        return refuted

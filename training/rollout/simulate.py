"""What a plan would do with imagined traffic: how often and when it promotes or rolls back, beside a naive test.

T: subjects of one run in the order of their outcomes; D: days.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import stats

from semblance.manifests.config import Config
from semblance.manifests.errors import UsageError
from semblance.training.rollout import sequential
from semblance.training.rollout.decide import guard_alpha
from semblance.training.rollout.evidence import ALARM
from semblance.training.rollout.plan import Outcome, RolloutConfig
from semblance.training.rollout.sequential import Floats

_SPREAD: Final = 0.5  # of the log of latencies, which are log-normal
_NAIVE: Final = 30  # subjects of each arm before the naive test looks


class Traffic(Config):
    """Imagined traffic.

    ``per_day``: new subjects. ``labelled``: the share of them whose truth becomes known, after ``delay_days`` on
    average (exponential); ``challenger_delay_days``: where the challenger answered, None for the same, as a comparison
    assumes. ``accuracy``: of the champion; ``effect``: the challenger's minus that; ``drift``: what both
    lose over all ``days``. ``latency_s``: the champion's mean; the challenger's is ``slower`` times that.
    """

    per_day: float = Field(default=1000.0, gt=0, le=1e6)
    labelled: float = Field(default=1.0, gt=0, le=1)
    delay_days: float = Field(default=1.0, ge=0)
    challenger_delay_days: float | None = Field(default=None, ge=0)
    days: int = Field(default=56, ge=1, le=730)
    accuracy: float = Field(default=0.9, ge=0, le=1)
    effect: float = Field(default=0.0, ge=-1, le=1)
    drift: float = Field(default=0.0, ge=0, le=1)
    latency_s: float = Field(default=0.4, gt=0)
    slower: float = Field(default=1.0, gt=0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """One outcome of a run, all (T,): ``day`` when it became known, ascending."""

    arm: NDArray[np.bool_]
    share: Floats
    outcome: Floats
    day: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The day of each event of one run, infinity if it does not come; the first of two is what happens.

    ``shown``: all goals are shown, at any look, whatever the day and the numbers. ``alarm``: the arms of the subjects
    with a label are not as they were drawn; from then on, nothing is promoted. ``naive``: two-sample z tests at the
    same levels, looked at daily.
    """

    promotion: float
    rollback: float
    shown: float
    alarm: float
    naive_promotion: float
    naive_rollback: float
    naive_shown: float

    @property
    def promoted(self) -> bool:
        return self.promotion < self.rollback

    @property
    def rolled_back(self) -> bool:
        return self.rollback <= self.promotion and math.isfinite(self.rollback)


def runs(plan: RolloutConfig, traffic: Traffic, count: int, seed: int = 0) -> Iterator[Run]:
    """``count`` independent runs, looked at after every subject."""
    for number in range(count):
        yield one(plan, traffic, np.random.default_rng((seed, number)))


def check(plan: RolloutConfig) -> None:
    """Raise UsageError for a plan that cannot be simulated."""
    if plan.mode == "blue_green":
        raise UsageError("A plan of mode blue_green compares nothing, so there is nothing to simulate.")
    if "satisfaction" in plan.goals.asked():
        raise UsageError("Satisfaction is not simulated; leave it out of the goals of the plan.")


def schedule(plan: RolloutConfig, per_day: float) -> list[tuple[float, float]]:
    """(day, share) of each step, which lasts its hours and until its requests are expected to have come."""
    if plan.mode != "canary":
        return [(0.0, plan.share_at(0))]
    begins, day = [], 0.0
    for step in plan.steps:
        begins.append((day, step.share))
        day += max(step.hours / 24, step.requests / (step.share * per_day))
    return begins


def one(plan: RolloutConfig, traffic: Traffic, random: np.random.Generator) -> Run:
    """One run of accuracy and latency, as far as the plan asks for them."""
    known = _imagine(plan, traffic, random)
    goals, margins = plan.goals.asked(), plan.guardrails.watched()
    looks = known["accuracy" if "accuracy" in goals else "latency"].day
    shown_T, enough_T, naive_D = np.ones(len(looks), bool), np.ones(len(looks), bool), np.ones(traffic.days, bool)
    rollback = naive_rollback = math.inf
    for outcome, of in known.items():
        terms = sequential.compared(of.arm, of.share, of.outcome)
        if (goal := goals.get(outcome)) is not None:
            place_T = np.searchsorted(of.day, looks, "right") - 1
            crossed_T = sequential.crossed(terms, goal.least, "above", plan.alpha)
            shown_T &= (place_T >= 0) & crossed_T[place_T]
            fewer_T = np.minimum(np.cumsum(of.arm), np.cumsum(~of.arm))
            enough_T &= (place_T >= 0) & (fewer_T[place_T] >= plan.subjects)
            naive_D &= naive(of, traffic.days, goal.least) > stats.norm.isf(plan.alpha)
        if (margin := margins.get(outcome)) is not None:
            level = guard_alpha(plan)
            rollback = min(rollback, _first(of.day, sequential.crossed(terms, -margin, "below", level)))
            z_D = naive(of, traffic.days, -margin)
            naive_rollback = min(naive_rollback, _first(np.arange(1.0, traffic.days + 1), z_D < stats.norm.ppf(level)))
    alarm = _alarm(known["accuracy"]) if "accuracy" in known else math.inf
    earliest = max(plan.min_days, schedule(plan, traffic.per_day)[-1][0])
    days_D = np.arange(1.0, traffic.days + 1)
    return Run(
        promotion=_first(looks, shown_T & enough_T & (looks >= earliest) & (looks < alarm)),
        rollback=rollback,
        shown=_first(looks, shown_T),
        alarm=alarm,
        naive_promotion=_first(days_D, naive_D & (days_D >= earliest)),
        naive_rollback=naive_rollback,
        naive_shown=_first(days_D, naive_D),
    )


def _alarm(of: Known) -> float:
    terms = sequential.drawn(of.arm, of.share)
    return min(
        _first(of.day, sequential.crossed(terms, 0.0, "above", ALARM / 2)),
        _first(of.day, sequential.crossed(terms, 0.0, "below", ALARM / 2)),
    )


def _imagine(plan: RolloutConfig, traffic: Traffic, random: np.random.Generator) -> dict[Outcome, Known]:
    count = random.poisson(traffic.per_day * traffic.days)
    day = np.sort(random.uniform(0, traffic.days, count))
    begins, shares = np.array(schedule(plan, traffic.per_day)).T
    share = shares[np.searchsorted(begins, day, "right") - 1]
    arm = random.random(count) < share
    known: dict[Outcome, Known] = {}
    if "accuracy" in plan.goals.asked() or "accuracy" in plan.guardrails.watched():
        chance = np.clip(traffic.accuracy - traffic.drift * day / traffic.days + traffic.effect * arm, 0, 1)
        right = (random.random(count) < chance).astype(float)
        later = traffic.delay_days if traffic.challenger_delay_days is None else traffic.challenger_delay_days
        told = day + random.exponential(np.where(arm, later, traffic.delay_days))
        told[random.random(count) >= traffic.labelled] = math.inf
        order = np.argsort(told)[: int((told <= traffic.days).sum())]
        known["accuracy"] = Known(arm=arm[order], share=share[order], outcome=right[order], day=told[order])
    if "latency" in plan.goals.asked() or "latency" in plan.guardrails.watched():
        mean = np.log(traffic.latency_s) - _SPREAD**2 / 2
        seconds = random.lognormal(mean, _SPREAD, count) * np.where(arm, traffic.slower, 1.0)
        limit = plan.latency.video_s
        within = np.clip(1 - seconds / limit, 0, 1)
        if plan.latency.measure == "share":
            within = (seconds <= limit).astype(float)
        known["latency"] = Known(arm=arm, share=share, outcome=within, day=day)
    return known


def naive(of: Known, days: int, effect: float) -> Floats:
    """z of the plain difference of two means against ``effect`` with all that is known at the end of each day, (D,).

    The variance is that of both together; 0 before each arm has 30 subjects.
    """
    place_D = np.searchsorted(of.day, np.arange(1, days + 1), "right")

    def until(value_T: Floats | NDArray[np.bool_]) -> Floats:
        return np.concatenate([[0.0], np.cumsum(value_T)])[place_D]

    new, old = until(of.arm), until(~of.arm)
    enough = (new >= _NAIVE) & (old >= _NAIVE)
    new, old = np.maximum(new, 1), np.maximum(old, 1)
    difference = until(of.arm * of.outcome) / new - until(~of.arm * of.outcome) / old
    variance = until(of.outcome**2) / (new + old) - (until(of.outcome) / (new + old)) ** 2
    spread = np.sqrt(np.maximum(variance, 1e-12) * (1 / new + 1 / old))
    return np.where(enough, (difference - effect) / spread, 0.0)


def _first(day: Floats, where: NDArray[np.bool_]) -> float:
    return float(day[where.argmax()]) if where.any() else math.inf

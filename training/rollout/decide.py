"""What to do next in a roll-out, and why: a pure function of the plan, its state, the evidence and the time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from semblance.training.rollout.evidence import Evidence, Figure
from semblance.training.rollout.plan import Goal, Outcome, RolloutConfig

Action = Literal["hold", "advance", "promote", "rollback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a roll-out stands: when it started, its step (from 0), and since when it is in it."""

    started: datetime
    step: int
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do, and each reason as a sentence; for ``hold``, what is missing."""

    action: Action
    reasons: tuple[str, ...]


def decide(plan: RolloutConfig, position: Position, evidence: Evidence, now: datetime) -> Decision:
    """Harm rolls back at any time. A promotion needs the last step, the days, every goal, and no alarm."""
    if harms := tuple(_harms(plan, evidence)):
        return Decision(action="rollback", reasons=harms)
    climb = tuple(_climb(plan, position, evidence, now))
    if position.step < plan.last and not climb and not evidence.alarms:
        reached = f"Step {position.step + 1} of {plan.last + 1} is done, and no guardrail is broken."
        following = (
            f"The share rises from {position_share(plan, position):.0%} to {plan.share_at(position.step + 1):.0%}."
        )
        return Decision(action="advance", reasons=(reached, following))
    missing = (*climb, *_missing(plan, position, evidence, now))
    if not missing:
        return Decision(action="promote", reasons=tuple(_met(plan, evidence)))
    days = (now - position.started) / timedelta(days=1)
    if plan.max_days is not None and days >= plan.max_days:
        late = f"{days:.0f} days have passed, and max_days is {plan.max_days:g}."
        return Decision(action="rollback", reasons=(late, *missing))
    return Decision(action="hold", reasons=missing)


def position_share(plan: RolloutConfig, position: Position) -> float:
    """The share at a position."""
    return plan.share_at(position.step)


def threshold(alpha: float) -> float:
    """The log of the evidence that is enough."""
    return -math.log(alpha)


def guard_alpha(plan: RolloutConfig) -> float:
    """The part of the guardrails' alpha that each of them has."""
    watched = len(plan.guardrails.watched()) * (plan.mode != "blue_green") + len(plan.floors.watched())
    return plan.guardrails.alpha / max(watched, 1)


def _harms(plan: RolloutConfig, evidence: Evidence) -> Iterator[str]:
    enough = threshold(guard_alpha(plan))
    for outcome, margin in plan.guardrails.watched().items():
        figure = evidence.figures[outcome]
        if figure.harm is not None and figure.harm >= enough:
            yield f"The challenger is worse in {outcome} by more than {_points(margin)}: {describe(figure)}."
    for outcome, floor in plan.floors.watched().items():
        figure = evidence.figures[outcome]
        if figure.floor is not None and figure.floor >= enough:
            mean, count = figure.arms.challenger_mean, figure.arms.challenger
            yield f"The challenger's {outcome} is below the floor of {floor:.1%}: {mean:.1%} of {count:,} subjects."


def _climb(plan: RolloutConfig, position: Position, evidence: Evidence, now: datetime) -> Iterator[str]:
    """What the present step of a canary still lacks; nothing in its last one, which leads to no other."""
    if position.step >= plan.last:
        return
    step = plan.steps[position.step]
    name = f"Step {position.step + 1} of {plan.last + 1} (share {step.share:.0%})"
    hours = (now - position.since) / timedelta(hours=1)
    if hours < step.hours:
        yield f"{name} is in hour {max(math.floor(hours), 0) + 1} of {step.hours:g}."
    if evidence.step_requests < step.requests:
        yield f"{name} has {evidence.step_requests:,} of {step.requests:,} requests of the challenger."


def _missing(plan: RolloutConfig, position: Position, evidence: Evidence, now: datetime) -> Iterator[str]:
    days = (now - position.started) / timedelta(days=1)
    if position.step < plan.last:
        yield f"A promotion needs the last step, with a share of {plan.share_at(plan.last):.0%}."
    if days < plan.min_days:
        yield f"It is day {max(math.floor(days), 0) + 1} of {plan.min_days:g}."
    yield from evidence.alarms
    if plan.mode == "blue_green":
        for outcome in plan.floors.watched():
            yield from _few(plan, outcome, evidence.figures[outcome].arms.challenger, "challenger")
        return
    for outcome, goal in plan.goals.asked().items():
        figure = evidence.figures[outcome]
        few = [
            *_few(plan, outcome, figure.arms.champion, "champion"),
            *_few(plan, outcome, figure.arms.challenger, "challenger"),
        ]
        yield from few
        if not few and (figure.shown is None or figure.shown < threshold(plan.alpha)):
            yield f"It is not shown yet that {claim(outcome, goal)}: {describe(figure)}."


def _few(plan: RolloutConfig, outcome: Outcome, count: int, arm: str) -> Iterator[str]:
    if count < plan.subjects:
        yield f"The {outcome} of the {arm} is known for {count:,} subjects; {plan.subjects:,} are needed."


def _met(plan: RolloutConfig, evidence: Evidence) -> Iterator[str]:
    yield f"At least {plan.min_days:g} days have passed, and no guardrail is broken."
    if plan.mode == "blue_green":
        yield "Nothing was compared: the challenger answered all requests, and its floors held."
        return
    for outcome, goal in plan.goals.asked().items():
        yield f"It is shown that {claim(outcome, goal)}: {describe(evidence.figures[outcome])}."


def claim(outcome: Outcome, goal: Goal) -> str:
    """What a goal wants to be shown, in words."""
    if goal.want == "superior":
        return f"the challenger is better in {outcome}"
    return f"the challenger is not worse in {outcome} by more than {_points(goal.margin)}"


def describe(figure: Figure) -> str:
    """Means, numbers, the difference and its interval, in words."""
    arms = figure.arms
    challenger, champion = _mean(arms.challenger_mean, arms.challenger), _mean(arms.champion_mean, arms.champion)
    if math.isnan(figure.effect):
        return f"challenger {challenger}, champion {champion}, nothing to compare"
    return (
        f"challenger {challenger}, champion {champion}, difference {_points(figure.effect, sign=True)}, "
        f"between {_points(figure.low, sign=True)} and {_points(figure.high, sign=True)}"
    )


def _mean(mean: float, count: int) -> str:
    return "unknown" if not count else f"{mean:.1%} of {count:,} subjects"


def _points(value: float, *, sign: bool = False) -> str:
    return f"{100 * value:{'+' if sign else ''}.1f} points"

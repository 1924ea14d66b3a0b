"""Where a roll-out stands, in plain sentences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from semblance.training.rollout.decide import Action, claim, describe, threshold
from semblance.training.rollout.evidence import Evidence
from semblance.training.rollout.plan import Goal, Outcome, RolloutConfig
from semblance.training.rollout.run import Stand
from semblance.training.rollout.simulate import Run, Traffic
from semblance.training.rollout.state import State

_HOW: Final = {"ab": "A/B", "canary": "canary", "blue_green": "blue/green"}
_NEXT: Final[dict[Action, str]] = {
    "hold": "Nothing changes yet",
    "advance": "The next step begins",
    "promote": "The challenger is promoted",
    "rollback": "The challenger is rolled back",
}
_SCALE: Final[dict[Outcome, str]] = {
    "accuracy": "accuracy",
    "latency": "latency (100 % is at once, 0 % at the limit)",
    "satisfaction": "satisfaction",
    "errors": "requests without an error",
}


def lines(stand: Stand, now: datetime) -> Iterator[str]:
    """What is known, and what follows from it."""
    state = stand.state
    yield from _head(state, now)
    if stand.evidence is not None:
        yield from _figures(stand.evidence, state.plan)
    yield f"{_NEXT[stand.decision.action]}:"
    for reason in stand.decision.reasons:
        yield f"  {reason}"


def _head(state: State, now: datetime) -> Iterator[str]:
    plan, position = state.plan, state.position
    day = max(math.floor((now - position.started) / timedelta(days=1)), 0) + 1
    step = f", step {position.step + 1} of {plan.last + 1}" if plan.mode == "canary" else ""
    yield f"{state.model} {state.challenger} beside {state.champion}: {_HOW[plan.mode]}, share {state.share:.0%}{step}"
    until = f"of {plan.min_days:g}" if day <= plan.min_days else f"(at least {plan.min_days:g})"
    yield f"day {day} {until}, since {position.started:%Y-%m-%d %H:%M} UTC; roll-out {state.id}"


def _figures(evidence: Evidence, plan: RolloutConfig) -> Iterator[str]:
    yield (
        f"{evidence.requests:,} requests; of {evidence.champion + evidence.challenger:,} subjects the challenger has "
        f"{evidence.challenger:,}"
    )
    goals = plan.goals.asked()
    for outcome, figure in evidence.figures.items():
        if figure.arms.champion + figure.arms.challenger:
            yield f"{_SCALE[outcome]}: {describe(figure)}{_goal(outcome, goals.get(outcome), figure.shown, plan)}"
    yield f"each end of an interval holds with {1 - plan.alpha:.0%}, however often it is looked at"
    if evidence.unknown:
        yield f"{evidence.unknown:,} answers that were judged are not among the requests"


def _goal(outcome: Outcome, goal: Goal | None, shown: float | None, plan: RolloutConfig) -> str:
    if goal is None or shown is None:
        return ""
    return f"; {'shown' if shown >= threshold(plan.alpha) else 'not shown yet'}: {claim(outcome, goal)}"


def simulated(runs: Sequence[Run], traffic: Traffic) -> Iterator[str]:
    """What became of imagined roll-outs."""
    promoted = [run.promotion for run in runs if run.promoted]
    back = [run.rollback for run in runs if run.rolled_back]
    yield f"of {len(runs):,} simulated roll-outs with up to {traffic.days} days:"
    for what, days in (("promoted", promoted), ("rolled back", back)):
        median = f", on day {statistics.median(days):.1f} in the median" if days else ""
        yield f"  {what}: {len(days) / len(runs):.1%}{median}"
    yield f"  undecided: {1 - (len(promoted) + len(back)) / len(runs):.1%}"

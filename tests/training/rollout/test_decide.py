"""The decision: harm at any time, a promotion only after everything, and every hold says what is missing."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests.errors import UsageError
from semblance.training.rollout import plan as plans
from semblance.training.rollout.decide import Position, decide, guard_alpha
from semblance.training.rollout.evidence import Arms, Evidence, Figure
from semblance.training.rollout.plan import DAYS, Outcome, RolloutConfig, Step
from tests.training.rollout.made_events import at

OUTCOMES: tuple[Outcome, ...] = ("accuracy", "latency", "satisfaction", "errors")
PLAN = RolloutConfig()
CANARY = RolloutConfig(mode="canary", steps=(Step(share=0.01, hours=24, requests=50), Step(share=0.1)))
BEGUN = Position(started=at(0), step=0, since=at(0))
LAST = Position(started=at(0), step=1, since=at(3))


def figure(**fields: Any) -> Figure:
    """Everything is shown, and nothing is harmed."""
    arms = Arms(champion=9000, challenger=1000, champion_mean=0.9, challenger_mean=0.91)
    values: dict[str, Any] = {
        "arms": arms,
        "effect": 0.01,
        "low": -0.01,
        "high": 0.03,
        "shown": 9.0,
        "harm": 0.0,
        "floor": None,
    }
    return Figure(**(values | fields))


def evidence(**fields: Any) -> Evidence:
    figures: dict[Outcome, Figure] = {name: fields.pop(name, figure()) for name in OUTCOMES}
    values: dict[str, Any] = {
        "champion": 9000,
        "challenger": 1000,
        "requests": 10_000,
        "step_requests": 100,
        "unknown": 0,
        "alarms": (),
    }
    return Evidence(figures=figures, **(values | fields))


def test_a_promotion_needs_two_weeks_and_every_goal() -> None:
    assert decide(PLAN, BEGUN, evidence(), at(DAYS)).action == "promote"
    early = decide(PLAN, BEGUN, evidence(), at(DAYS - 0.01))
    assert (early.action, early.reasons) == ("hold", ("It is day 14 of 14.",))
    for lacking in ({"accuracy": figure(shown=2.9)}, {"latency": figure(shown=2.9)}, {"alarms": ("The arms differ.",)}):
        assert decide(PLAN, BEGUN, evidence(**lacking), at(99)).action == "hold"
    few = figure(arms=Arms(champion=99, challenger=99, champion_mean=1.0, challenger_mean=1.0))
    assert "99 subjects; 100 are needed" in decide(PLAN, BEGUN, evidence(accuracy=few), at(99)).reasons[0]


def test_goals_that_are_not_set_need_not_be_met() -> None:
    assert decide(PLAN, BEGUN, evidence(satisfaction=figure(shown=None)), at(DAYS)).action == "promote"


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_harm_rolls_back_at_once_and_says_what(outcome: str) -> None:
    harmed = evidence(**{outcome: figure(harm=5.0, effect=-0.2)})
    for days in (0.0, DAYS, 99):
        found = decide(PLAN, BEGUN, harmed, at(days))
        assert found.action == "rollback"
        assert outcome in found.reasons[0]
        assert "difference -20.0 points" in found.reasons[0]


def test_guardrails_share_their_alpha() -> None:
    assert guard_alpha(PLAN) == pytest.approx(0.05 / 4)
    just_below = evidence(accuracy=figure(harm=math.log(4 / 0.05) - 1e-9))
    assert decide(PLAN, BEGUN, just_below, at(1)).action == "hold"


def test_a_canary_climbs_by_time_and_number_and_is_promoted_from_its_last_step_only() -> None:
    assert decide(CANARY, BEGUN, evidence(), at(1)).action == "advance"
    assert decide(CANARY, BEGUN, evidence(), at(0.99)).action == "hold"
    assert decide(CANARY, BEGUN, evidence(step_requests=49), at(50)).action == "hold"
    assert decide(CANARY, BEGUN, evidence(alarms=("The arms differ.",)), at(50)).action == "hold"
    assert decide(CANARY, BEGUN, evidence(accuracy=figure(harm=9.0)), at(1)).action == "rollback"
    assert decide(CANARY, LAST, evidence(), at(13)).action == "hold"
    assert decide(CANARY, LAST, evidence(), at(14)).action == "promote"


def test_blue_green_watches_floors_alone() -> None:
    switched = RolloutConfig.model_validate({"mode": "blue_green", "floors": {"errors": 0.99}})
    assert switched.share_at(0) == 1.0
    alone = figure(shown=None, harm=None, floor=0.0, effect=math.nan, low=-1.0, high=1.0)
    everything = dict.fromkeys(OUTCOMES, alone)
    assert decide(switched, BEGUN, evidence(**everything), at(13)).action == "hold"
    assert decide(switched, BEGUN, evidence(**everything), at(14)).action == "promote"
    broken = everything | {"errors": dataclasses.replace(alone, floor=3.0)}
    found = decide(switched, BEGUN, evidence(**broken), at(0.1))
    assert (found.action, found.reasons[0]) == (
        "rollback",
        "The challenger's errors is below the floor of 99.0%: 91.0% of 1,000 subjects.",
    )


def test_what_is_not_shown_in_time_is_taken_back() -> None:
    patient = RolloutConfig(max_days=30)
    lacking = evidence(accuracy=figure(shown=0.0))
    assert decide(patient, BEGUN, lacking, at(29)).action == "hold"
    assert decide(patient, BEGUN, lacking, at(30)).action == "rollback"
    assert decide(patient, BEGUN, evidence(), at(40)).action == "promote"


numbers = st.floats(-1, 8)


@given(
    shown=st.tuples(numbers, numbers),
    harm=st.tuples(numbers, numbers, numbers, numbers),
    days=st.floats(0, 40),
    alarmed=st.booleans(),
    step=st.sampled_from([0, 1]),
)
def test_no_evidence_promotes_early_or_with_harm(
    shown: tuple[float, float], harm: tuple[float, ...], days: float, alarmed: bool, step: int
) -> None:
    goals = {"accuracy": shown[0], "latency": shown[1]}
    figures = {name: figure(shown=goals.get(name), harm=one) for name, one in zip(OUTCOMES, harm, strict=True)}
    seen = evidence(**figures, alarms=("The arms differ.",) if alarmed else ())
    found = decide(CANARY, dataclasses.replace(LAST, step=step), seen, at(days))
    assert found.reasons
    harmed = max(harm) >= math.log(4 / 0.05)
    assert (found.action == "rollback") == harmed
    met = min(shown) >= math.log(20) and days >= DAYS and not alarmed and step == 1
    assert (found.action == "promote") == (met and not harmed)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("min_days: 7", "min_days is at least 14, not 7"),
        ("max_days: 10", "more than min_days"),
        ("mode: canary\nsteps: [{share: 0.5}, {share: 0.1}]", "ascending"),
        ("mode: blue_green", "at least one of floors"),
        ("goals: {accuracy: null, latency: null}", "at least one of goals"),
        ("shares: 0.1", "unknown key 'shares'"),
        ("share: 1.5", "'share'"),
    ],
)
def test_a_plan_that_cannot_be_is_a_sentence(values: str, said: str, tmp_path: Any) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(values)
    with pytest.raises(UsageError, match=said):
        plans.read(str(file))

"""Evidence from events: figures of a plain count, alarms where the draw is not kept, floors without a champion."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.training.rollout import describe, history, run
from semblance.training.rollout.decide import decide
from semblance.training.rollout.events import Feedback, Request
from semblance.training.rollout.evidence import Evidence, weigh
from semblance.training.rollout.plan import RolloutConfig
from tests.training.rollout.json_registry import JsonRegistry
from tests.training.rollout.made_events import at, request, traffic, write
from tests.training.rollout.test_decide import BEGUN

PLAN = RolloutConfig.model_validate({"share": 0.5, "goals": {"satisfaction": {}}})
SWITCHED = RolloutConfig.model_validate({"mode": "blue_green", "floors": {"errors": 0.9, "accuracy": 0.7}})


def of(folder: Path, requests: list[Request], said: list[Feedback], plan: RolloutConfig = PLAN) -> Evidence:
    write(str(folder), requests, said)
    return weigh(history.read(str(folder), "one"), plan, at(0))


def test_figures_are_those_of_a_plain_count(tmp_path: Path) -> None:
    requests, said = traffic(days=np.linspace(0, 10, 400), champion=0.9, challenger=0.7, slower=2.0, labelled=0.5)
    found = of(tmp_path, requests, said)
    told = {word.id for word in said}
    for role, arm in (("champion", "champion"), ("challenger", "challenger")):
        mine = [one for one in requests if one.role == role]
        labelled = [one for one in mine if one.id in told]
        arms = found.figures["accuracy"].arms
        assert getattr(arms, arm) == len(labelled)
        assert getattr(arms, f"{arm}_mean") == pytest.approx(np.mean([one.verdict == "fake" for one in labelled]))
        latency = getattr(found.figures["latency"].arms, f"{arm}_mean")
        assert latency == pytest.approx(np.mean([1 - one.latency_s / 0.5 for one in mine]))
        assert getattr(found, arm) == len(mine)
    for figure in found.figures.values():
        plain = figure.arms.challenger_mean - figure.arms.champion_mean
        assert figure.effect == pytest.approx(plain, abs=0.02)
        assert figure.low <= figure.effect <= figure.high
    assert not found.alarms
    assert decide(PLAN, BEGUN, found, at(20)).action == "rollback"  # 20 points worse, and slower


def test_requests_of_one_subject_are_one(tmp_path: Path) -> None:
    """A hundred answers to one user say no more of a version than one."""
    once = [request(number, time=at(number / 100), role=("champion", "challenger")[number % 2]) for number in range(50)]
    again = [
        request(1000 + number, time=at(1 + number / 1000), role="challenger", subject_hash=once[1].subject_hash)
        for number in range(100)
    ]
    said = [Feedback(id=one.id, time=at(3), label=1) for one in (*once, *again)]
    for folder in ("one", "many"):
        (tmp_path / folder).mkdir()
    alone = of(tmp_path / "one", once, said)
    many = of(tmp_path / "many", [*once, *again], said)
    for outcome in ("latency", "errors"):
        assert many.figures[outcome] == alone.figures[outcome]
    assert many.figures["accuracy"].arms == alone.figures["accuracy"].arms
    assert (many.champion, many.challenger, many.requests) == (25, 25, 150)


@pytest.mark.parametrize(
    ("lost", "what"), [("requests", "of the subjects where"), ("labels", "label"), ("satisfaction", "satisfied")]
)
def test_an_arm_that_loses_its_subjects_is_an_alarm(tmp_path: Path, lost: str, what: str) -> None:
    requests, said = traffic(days=np.linspace(0, 10, 1000))
    unlucky = {one.id for number, one in enumerate(requests) if one.role == "challenger" and number % 3}
    if lost == "requests":
        requests = [one for one in requests if one.id not in unlucky]
    elif lost == "labels":
        said = [Feedback(id=one.id, time=one.time, label=None if one.id in unlucky else 1) for one in said]
    else:
        said = [Feedback(id=one.id, time=one.time, satisfied=None if one.id in unlucky else True) for one in said]
    found = of(tmp_path, requests, said)
    assert any(what in alarm for alarm in found.alarms)
    if lost != "requests":
        assert len(found.alarms) == 1
    assert decide(PLAN, BEGUN, found, at(99)).action == "hold"


def test_a_switch_is_watched_by_its_floors(tmp_path: Path) -> None:
    registry = JsonRegistry.make(tmp_path / "registry.json")
    state = run.start(registry, "detector", "1.1.0", SWITCHED, str(tmp_path / "events"), at(0))
    assert registry.route("detector").share == 1.0
    days = np.linspace(0.01, 1, 300)
    write(state.events, *traffic(days=days, rollout=state.id, share=1.0, challenger=0.9))
    held = run.step(registry, "detector", at(1))
    assert held.decision.reasons == ("It is day 2 of 14.",)
    write(state.events, *traffic(days=days + 1, rollout=state.id, share=1.0, failing=0.5, first=1000))
    back = run.step(registry, "detector", at(2.1))
    assert back.decision.action == "rollback"
    assert "below the floor of 90.0%" in back.decision.reasons[0]
    assert registry.aliases() == {"champion": "1.0.0"}


def test_a_good_switch_is_promoted(tmp_path: Path) -> None:
    registry = JsonRegistry.make(tmp_path / "registry.json")
    state = run.start(registry, "detector", "1.1.0", SWITCHED, str(tmp_path / "events"), at(0))
    write(state.events, *traffic(days=np.linspace(0.01, 13, 300), rollout=state.id, share=1.0))
    done = run.step(registry, "detector", at(14))
    assert done.decision.action == "promote"
    assert "Nothing was compared" in done.decision.reasons[1]
    assert registry.aliases() == {"champion": "1.1.0", "previous": "1.0.0"}


@settings(max_examples=20)
@given(
    count=st.integers(0, 30),
    hours=st.integers(0, 960),
    labelled=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 9),
)
def test_any_stand_can_be_told_in_sentences_and_json(
    count: int, hours: int, labelled: float, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("told")
    registry = JsonRegistry.make(folder / "registry.json")
    run.start(registry, "detector", "1.1.0", PLAN, str(folder), at(0))
    rollout = registry.route("detector").rollout
    write(str(folder), *traffic(days=np.linspace(0, 1, count), rollout=rollout, labelled=labelled, seed=seed))
    now = at(0) + timedelta(hours=hours)
    stand = run.look(registry, "detector", now)
    said = list(describe.lines(stand, now))
    assert not any("nan" in line for line in said)
    assert any(f"day {hours // 24 + 1} " in line for line in said)
    assert stand.evidence.plain()["requests"] == count

"""A roll-out on a registry: what it refuses, how it ends, and that a death at any moment changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semblance.manifests.errors import SemblanceError, StorageError, UsageError
from semblance.training.rollout import describe, run
from semblance.training.rollout.plan import RolloutConfig
from semblance.training.rollout.state import State, moment
from tests.training.rollout.json_registry import Died, JsonRegistry
from tests.training.rollout.made_events import at, traffic, write

PLAN = RolloutConfig.model_validate(
    {"share": 0.5, "goals": {"accuracy": {"margin": 0.1}, "latency": {"margin": 0.1}}, "guardrails": {"latency": 0.1}}
)
CANARY = RolloutConfig.model_validate(
    PLAN.model_dump() | {"mode": "canary", "steps": ({"share": 0.2, "requests": 10}, {"share": 0.5})}
)
FORTNIGHT = np.linspace(0.01, 13.9, 3000)


@pytest.fixture
def registry(tmp_path: Path) -> JsonRegistry:
    return JsonRegistry.make(tmp_path / "registry.json")


def begin(registry: JsonRegistry, folder: Path, plan: RolloutConfig = PLAN, which: str = "1.1.0") -> State:
    return run.start(registry, "detector", which, plan, str(folder / "events"), at(0))


def happen(state: State, folder: Path, **chances: Any) -> None:
    write(str(folder / "events"), *traffic(days=FORTNIGHT, rollout=state.id, share=state.share, **chances))


def test_a_start_routes_its_share_and_is_noted(registry: JsonRegistry, tmp_path: Path) -> None:
    state = begin(registry, tmp_path)
    route = registry.route("detector")
    assert (route.share, route.rollout, str(route.challenger.version)) == (0.5, state.id, "1.1.0")
    assert run.load(registry, "detector") == state
    (note,) = (tmp_path / "events" / "rollouts" / state.id).iterdir()
    assert json.loads(note.read_text())["what"] == "started"


def test_what_cannot_start(registry: JsonRegistry, tmp_path: Path) -> None:
    before = registry.file.read_text()
    for which, said in (("7.0.0", "no version"), ("1.0.0", "champion already")):
        with pytest.raises(UsageError, match=said):
            begin(registry, tmp_path, which=which)
    registry.spoil("1.1.0")
    with pytest.raises(SemblanceError, match="was changed"):
        begin(registry, tmp_path)
    (tmp_path / "events").write_text("a file where the folder should be")
    with pytest.raises(StorageError):
        begin(registry, tmp_path, which="1.2.0")
    assert json.loads(registry.file.read_text()) == json.loads(before) | {"bad": ["1.1.0"]}


def test_another_major_version_is_not_compared(tmp_path: Path) -> None:
    registry = JsonRegistry.make(tmp_path / "registry.json", ("1.0.0", "2.0.0"))
    with pytest.raises(UsageError, match="cannot be compared"):
        begin(registry, tmp_path, which="2.0.0")
    switched = RolloutConfig.model_validate({"mode": "blue_green", "floors": {"errors": 0.99}})
    assert begin(registry, tmp_path, switched, "2.0.0").share == 1.0


def test_a_second_one_is_refused(registry: JsonRegistry, tmp_path: Path) -> None:
    begin(registry, tmp_path)
    with pytest.raises(UsageError, match="is going on"):
        begin(registry, tmp_path, which="1.2.0")


def test_a_good_challenger_is_promoted_after_two_weeks(registry: JsonRegistry, tmp_path: Path) -> None:
    happen(begin(registry, tmp_path), tmp_path)
    early = run.step(registry, "detector", at(13.5))
    assert early.decision.action == "hold"
    assert early.decision.reasons == ("It is day 14 of 14.",)
    done = run.step(registry, "detector", at(14))
    assert done.decision.action == "promote"
    assert registry.aliases() == {"champion": "1.1.0", "previous": "1.0.0"}
    assert not registry.route("detector").state
    notes = sorted((tmp_path / "events" / "rollouts" / done.state.id).iterdir())
    assert [json.loads(note.read_text())["what"] for note in notes] == ["started", "promoted"]
    with pytest.raises(UsageError, match="No roll-out"):
        run.step(registry, "detector", at(15))


@pytest.mark.parametrize(
    ("chances", "outcome"),
    [({"challenger": 0.6}, "accuracy"), ({"slower": 2.5}, "latency"), ({"failing": 0.3}, "errors")],
)
def test_a_bad_challenger_is_rolled_back_early(
    registry: JsonRegistry, tmp_path: Path, chances: dict[str, float], outcome: str
) -> None:
    happen(begin(registry, tmp_path), tmp_path, **chances)
    done = run.step(registry, "detector", at(2))
    assert done.decision.action == "rollback"
    assert any(outcome in reason for reason in done.decision.reasons)
    assert registry.aliases() == {"champion": "1.0.0"}
    assert registry.route("detector").share == 0.0


def test_labels_that_come_for_one_version_only_stop_a_promotion(registry: JsonRegistry, tmp_path: Path) -> None:
    state = begin(registry, tmp_path)
    requests, said = traffic(days=FORTNIGHT, rollout=state.id)
    old = {request.id for request in requests if request.role == "champion"}
    write(str(tmp_path / "events"), requests, [word for word in said if word.id not in old or hash_even(word.id)])
    stand = run.step(registry, "detector", at(20))
    assert stand.decision.action == "hold"
    assert "subjects with a label" in stand.decision.reasons[0]


def hash_even(word: str) -> bool:
    return int(word[1:]) % 2 == 0


def test_a_canary_climbs_step_by_step(registry: JsonRegistry, tmp_path: Path) -> None:
    state = begin(registry, tmp_path, CANARY)
    days = np.linspace(0.01, 1, 200)
    write(str(tmp_path / "events"), *traffic(days=days, rollout=state.id, share=0.2))
    assert run.step(registry, "detector", at(0.5)).decision.action == "hold"
    stand = run.step(registry, "detector", at(1.5))
    assert (stand.decision.action, registry.route("detector").share) == ("advance", 0.5)
    write(str(tmp_path / "events"), *traffic(days=days + 1.5, rollout=state.id, share=0.5, first=1000))
    later = run.step(registry, "detector", at(3))
    assert (later.decision.action, later.state.position.step) == ("hold", 1)
    evidence = later.evidence
    assert evidence.champion + evidence.challenger == 400
    assert not evidence.alarms  # shares that changed are no mismatch


def test_stop_and_rollback_end_it_and_keep_the_champion(registry: JsonRegistry, tmp_path: Path) -> None:
    for end in (run.rollback, run.stop):
        begin(registry, tmp_path)
        end(registry, "detector", at(1))
        assert registry.aliases() == {"champion": "1.0.0"}
        assert not registry.route("detector").state
        with pytest.raises(UsageError, match="No roll-out"):
            end(registry, "detector", at(1))


def test_a_rollback_needs_no_events(registry: JsonRegistry, tmp_path: Path) -> None:
    begin(registry, tmp_path)
    events = tmp_path / "events"
    events.rename(tmp_path / "gone")
    events.write_text("a file where the folder should be")
    assert str(run.rollback(registry, "detector", at(1)).version) == "1.0.0"
    assert registry.aliases() == {"champion": "1.0.0"}


def test_a_champion_that_another_hand_changed_ends_the_comparison(registry: JsonRegistry, tmp_path: Path) -> None:
    begin(registry, tmp_path)
    registry.set_alias(registry.find("detector", "0.9.0"), "champion")
    with pytest.raises(SemblanceError, match="compare nothing now"):
        run.step(registry, "detector", at(1))
    run.stop(registry, "detector", at(1))
    assert registry.aliases() == {"champion": "0.9.0"}


def test_a_state_of_another_program_is_a_sentence_and_can_be_ended(registry: JsonRegistry, tmp_path: Path) -> None:
    begin(registry, tmp_path)
    registry.set_rollout("detector", {"id": "x", "share": 0.9})
    with pytest.raises(SemblanceError, match="cannot be read"):
        run.load(registry, "detector")
    run.rollback(registry, "detector", at(1))
    assert not registry.route("detector").state


def promote(registry: JsonRegistry) -> None:
    run.step(registry, "detector", at(14))


def roll_back(registry: JsonRegistry) -> None:
    run.rollback(registry, "detector", at(14))


def stop(registry: JsonRegistry) -> None:
    run.stop(registry, "detector", at(14))


@pytest.mark.parametrize("end", [promote, roll_back, stop])
def test_a_death_between_any_two_changes_leaves_the_same_end(
    tmp_path: Path, end: Callable[[JsonRegistry], None]
) -> None:
    """The process dies before its n-th change; another one runs the same command."""
    ends, changes = set(), 0
    while True:
        folder = tmp_path / str(changes)
        folder.mkdir()
        registry = JsonRegistry.make(folder / "registry.json")
        happen(begin(registry, folder), folder)
        mortal = JsonRegistry(registry.file, left=changes)
        died = False
        try:
            end(mortal)
        except Died:
            died = True
            end(registry)
        ends.add(json.dumps(registry.aliases() | {"state": registry.route("detector").state}, sort_keys=True))
        assert {*mortal.champions, *registry.champions} <= {"1.0.0", "1.1.0"}
        if not died:
            break
        changes += 1
    assert changes >= 3
    assert len(ends) == 1


def test_an_unfinished_ending_is_told(registry: JsonRegistry, tmp_path: Path) -> None:
    happen(begin(registry, tmp_path), tmp_path)
    with pytest.raises(Died):
        promote(JsonRegistry(registry.file, left=2))
    told = list(describe.lines(run.look(registry, "detector", at(15)), at(15)))
    assert told[-1] == "  The roll-out is to be promoted; `step` finishes it."
    assert run.ended(run.step(registry, "detector", at(15)))
    assert registry.aliases() == {"champion": "1.1.0", "previous": "1.0.0"}


def test_a_half_done_promotion_can_be_rolled_back(tmp_path: Path) -> None:
    for changes in range(1, 4):
        file = tmp_path / f"{changes}.json"
        one = JsonRegistry.make(file)
        happen(begin(one, tmp_path / str(changes)), tmp_path / str(changes))
        with pytest.raises(Died):
            promote(JsonRegistry(file, left=changes))
        roll_back(one)
        assert one.aliases() == {"champion": "1.0.0"}


def test_a_state_survives_json(registry: JsonRegistry, tmp_path: Path) -> None:
    state = begin(registry, tmp_path, CANARY).advanced(at(2)).ending("promoting", at(3), ("It is better.",))
    assert State.of("detector", json.loads(json.dumps(state.mapping()))) == state
    assert moment("2026-01-01T01:00:00+01:00") == moment("2026-01-01") == datetime.fromisoformat("2026-01-01T00:00Z")

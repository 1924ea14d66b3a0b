"""What the simulation says of the test: its errors are rarer than promised, the naive test's are not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from semblance.training.rollout import simulate
from semblance.training.rollout.plan import RolloutConfig
from semblance.training.rollout.simulate import Known, Run, Traffic

BETTER: dict[str, Any] = {
    "goals": {"accuracy": {"want": "superior"}, "latency": None},
    "guardrails": {"accuracy": 0.0, "latency": None, "satisfaction": None, "errors": None},
}
CANARY = BETTER | {"mode": "canary", "steps": [{"share": share, "requests": 5} for share in (0.05, 0.2, 0.5)]}
WORSE_TOGETHER = {"accuracy": 0.95, "drift": 0.2, "delay_days": 2.0}
COUNT = 2000


def runs(plan: dict[str, Any], count: int, **traffic: Any) -> list[Run]:
    return list(simulate.runs(RolloutConfig.model_validate(plan), Traffic(**traffic), count))


def significantly_above(hits: int, alpha: float, count: int = COUNT) -> bool:
    """Whether so many errors are no chance at a rate of alpha (exact, and one in a million)."""
    return float(stats.binom.sf(hits - 1, count, alpha)) < 1e-6


def finite(days: Sequence[float]) -> int:
    return sum(map(math.isfinite, days))


@pytest.mark.parametrize("plan", [BETTER, CANARY], ids=["ab", "canary"])
@pytest.mark.parametrize("traffic", [{"delay_days": 0.0}, WORSE_TOGETHER], ids=["steady", "drift and delay"])
def test_errors_are_no_more_than_promised_at_any_look(plan: dict[str, Any], traffic: dict[str, Any]) -> None:
    found = runs(plan, COUNT, per_day=100, days=21, **traffic)
    for days in ([run.shown for run in found], [run.rollback for run in found]):
        assert not significantly_above(finite(days), 0.05)
    naive = [run.naive_shown for run in found], [run.naive_rollback for run in found]
    assert any(significantly_above(finite(days), 0.05) for days in naive)


def test_a_large_effect_is_found_and_a_harm_is_found_soon() -> None:
    better = runs(BETTER, 20, per_day=1000, days=21, effect=0.06)
    assert all(run.promoted and run.promotion >= 14 for run in better)
    broken = runs(BETTER, 20, per_day=1000, days=21, effect=-0.4)
    assert all(run.rolled_back and run.rollback < 3 for run in broken)


def test_slower_answers_are_found() -> None:
    plan = {
        "goals": {"latency": {"margin": 0.1}, "accuracy": None},
        "guardrails": BETTER["guardrails"] | {"accuracy": None, "latency": 0.0},
    }
    assert all(run.rolled_back for run in runs(plan, 5, per_day=1000, days=14, slower=1.3))
    same = runs(plan, 5, per_day=1000, days=16)
    assert all(run.promoted for run in same)


def test_all_goals_are_needed() -> None:
    both = {
        "goals": {"accuracy": {"want": "superior"}, "latency": {"margin": 0.1}},
        "guardrails": dict.fromkeys(BETTER["guardrails"]),
    }
    assert all(run.promoted for run in runs(both, 5, per_day=1000, days=20, effect=0.08))
    assert not any(run.promoted for run in runs(both, 5, per_day=1000, days=20, effect=0.08, slower=2.0))
    assert not any(run.promoted for run in runs(both, 5, per_day=1000, days=20, effect=-0.02))


def test_labels_that_come_sooner_for_one_version_are_an_alarm_before_they_mislead() -> None:
    torn = {"delay_days": 3.0, "challenger_delay_days": 0.5, "accuracy": 0.95, "drift": 0.15}
    found = runs(BETTER, 50, per_day=500, days=21, **torn)
    assert finite([run.alarm for run in found]) > 45
    assert not any(run.promoted for run in found)
    fair = runs(BETTER, 200, per_day=100, days=21, delay_days=3.0)
    assert not significantly_above(finite([run.alarm for run in fair]), 0.01, 200)


def test_runs_depend_on_their_seed_alone() -> None:
    plan, traffic = RolloutConfig.model_validate(BETTER), Traffic(per_day=50, days=20)
    assert list(simulate.runs(plan, traffic, 3)) == list(simulate.runs(plan, traffic, 5))[:3]
    assert list(simulate.runs(plan, traffic, 3)) != list(simulate.runs(plan, traffic, 3, seed=1))


def test_a_canary_takes_its_time_and_its_requests() -> None:
    plan = RolloutConfig.model_validate(CANARY)
    assert simulate.schedule(plan, 1000) == [(0.0, 0.05), (1.0, 0.2), (2.0, 0.5)]
    assert simulate.schedule(plan, 10) == [(0.0, 0.05), (10.0, 0.2), (12.5, 0.5)]


def test_the_naive_test_is_the_z_test_of_a_textbook() -> None:
    random = np.random.default_rng(0)
    arm, outcome = random.random(500) < 0.4, (random.random(500) < 0.8).astype(float)
    of = Known(arm=arm, share=np.full(500, 0.4), outcome=outcome, day=np.linspace(0.01, 1, 500))
    pooled = outcome.mean()
    spread = math.sqrt(pooled * (1 - pooled) * (1 / arm.sum() + 1 / (~arm).sum()))
    expected = (outcome[arm].mean() - outcome[~arm].mean()) / spread
    assert simulate.naive(of, 1, 0.0)[0] == pytest.approx(expected)

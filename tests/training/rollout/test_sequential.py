"""The sequential test: exact by enumeration of all draws, additive, and consistent with its own interval."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.training.rollout import sequential
from semblance.training.rollout.sequential import Direction, Floats, Sums

DIRECTIONS: tuple[Direction, ...] = ("above", "below")
unit = st.floats(0, 1)
shares = st.floats(0.01, 0.99)
Path = tuple[float, Floats, Floats, Floats, Floats]  # probability, and (T,): arms, shares, outcomes, effects


def draws(potential: Sequence[tuple[float, float]], share_of: Callable[[Sequence[float]], float]) -> Iterator[Path]:
    """Every way in which the arms can be drawn. ``share_of`` may look at all outcomes before."""
    for arms in itertools.product((0, 1), repeat=len(potential)):
        probability, seen, used = 1.0, list[float](), list[float]()
        for arm, outcomes in zip(arms, potential, strict=True):
            used.append(share_of(seen))
            probability *= used[-1] if arm else 1 - used[-1]
            seen.append(outcomes[arm])
        effects = np.array([challenger - champion for champion, challenger in potential])
        yield probability, np.array(arms), np.array(used), np.array(seen), effects


@settings(max_examples=40)
@given(
    potential=st.lists(st.tuples(unit, unit), min_size=1, max_size=7),
    share=shares,
    other=shares,
    direction=st.sampled_from(DIRECTIONS),
)
def test_evidence_has_an_expectation_of_at_most_1_at_any_stop(
    potential: list[tuple[float, float]], share: float, other: float, direction: Direction
) -> None:
    """For any fixed outcomes, for shares that follow them, and for a stop that does."""
    at_end = at_stop = 0.0
    for probability, arm, pi, seen, effects in draws(potential, lambda past: share if sum(past) < 2 else other):
        terms = sequential.compared(arm, pi, seen)
        effect_T = np.cumsum(terms.weight * effects) / np.cumsum(terms.weight)
        path = [sequential.evidence(terms, float(effect), direction)[t] for t, effect in enumerate(effect_T)]
        at_end += probability * math.exp(path[-1])
        stop = next((t for t, log in enumerate(path) if log > 0), len(path) - 1)
        at_stop += probability * math.exp(path[stop])
    assert at_end <= 1 + 1e-9
    assert at_stop <= 1 + 1e-9


@settings(max_examples=10)
@given(
    potential=st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.just(0.0)), min_size=10, max_size=10),
    share=shares,
    alpha=st.floats(0.3, 0.9),
)
def test_no_number_of_looks_exceeds_alpha(potential: list[tuple[float, float]], share: float, alpha: float) -> None:
    """Both arms treat every subject alike: what is seen is chance, and its probability is counted exactly."""
    equal = [(champion, champion) for champion, _ in potential]
    for direction in DIRECTIONS:
        wrong = sum(
            probability
            for probability, arm, pi, seen, _ in draws(equal, lambda _: share)
            if sequential.crossed(sequential.compared(arm, pi, seen), 0.0, direction, alpha).any()
        )
        assert wrong <= alpha + 1e-9


rows = st.lists(st.tuples(st.integers(0, 1), shares, unit), min_size=1, max_size=60)


def columns(of: Sequence[tuple[int, float, float]]) -> tuple[Floats, Floats, Floats]:
    arm, share, outcome = (np.array(column, dtype=float) for column in zip(*of, strict=True))
    return arm, share, outcome


@given(rows=rows, cuts=st.lists(st.integers(0, 60), max_size=4), effect=st.floats(-1, 1))
def test_any_parts_add_up_to_the_whole(rows: list[tuple[int, float, float]], cuts: list[int], effect: float) -> None:
    """A stream is the sum of its parts, whether they are single subjects or all at once."""
    whole = sequential.compared(*columns(rows))
    sums, before = Sums(), (0, 0.0)
    for start, stop in itertools.pairwise(sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})):
        arm, share, outcome = columns(rows[start:stop])
        sums += Sums.of(sequential.compared(arm, share, outcome, before))
        before = before[0] + len(outcome), before[1] + float(outcome.sum())
    for direction in DIRECTIONS:
        path = sequential.evidence(whole, effect, direction)
        assert sums.evidence(effect, direction) == pytest.approx(path[-1], abs=1e-6)
        assert (sequential.crossed(whole, effect, direction, 0.2) == (path >= math.log(5))).all()


@given(rows=rows)
def test_bounds_hold_and_levels_are_above_them(rows: list[tuple[int, float, float]]) -> None:
    terms = sequential.compared(*columns(rows))
    assert (terms.z >= -terms.down / 64 - 1e-9).all()
    assert (terms.z <= terms.up / 64 + 1e-9).all()


@given(rows=rows, alpha=st.floats(0.01, 0.5))
def test_the_interval_is_what_evidence_does_not_refute(rows: list[tuple[int, float, float]], alpha: float) -> None:
    sums = Sums.of(sequential.compared(*columns(rows)))
    low, high = sums.interval(alpha)
    assert -1 <= low <= sums.effect <= high <= 1 or not -1 <= sums.effect <= 1
    assert sums.evidence(low + 1e-3, "above") < -math.log(alpha)
    assert sums.evidence(high - 1e-3, "below") < -math.log(alpha)
    if low > -1:
        assert sums.evidence(low - 1e-3, "above") >= -math.log(alpha)
    wider = sums.interval(alpha / 2)
    assert wider[0] <= low <= high <= wider[1]


def test_runs_side_by_side_are_the_runs_alone() -> None:
    random = np.random.default_rng(0)
    arm, outcome = random.integers(0, 2, (3, 50)), random.random((3, 50))
    together = sequential.evidence(sequential.compared(arm, np.full((3, 50), 0.5), outcome), 0.1, "above")
    for alone in range(3):
        one = sequential.compared(arm[alone], np.full(50, 0.5), outcome[alone])
        assert sequential.evidence(one, 0.1, "above") == pytest.approx(together[alone])


def test_it_finds_what_is_there() -> None:
    """Five points more accuracy at 90/10, and a broken challenger, which is found within some hundred subjects."""
    random = np.random.default_rng(0)
    arm = random.random(20_000) < 0.1
    share = np.full(len(arm), 0.1)
    cases: tuple[tuple[float, Direction, int], ...] = ((0.95, "above", 8000), (0.5, "below", 800))
    for challenger, direction, within in cases:
        outcome = (random.random(len(arm)) < np.where(arm, challenger, 0.9)).astype(float)
        terms = sequential.compared(arm, share, outcome)
        assert sequential.crossed(terms, 0.0, direction, 0.05).argmax() in range(1, within)
        low, high = Sums.of(terms).interval(0.05)
        assert low < challenger - 0.9 < high


@given(outcome=st.lists(unit, min_size=1, max_size=50), floor=st.floats(0.01, 0.99))
def test_a_floor_is_a_bound_on_one_mean(outcome: list[float], floor: float) -> None:
    terms = sequential.against(np.array(outcome), floor)
    sums = Sums.of(terms)
    assert sums.effect == pytest.approx(np.mean(outcome) - floor)
    assert (terms.z >= -terms.down / 64 - 1e-9).all()
    assert (terms.z <= terms.up / 64 + 1e-9).all()


def test_the_draw_is_checked_at_any_share() -> None:
    random = np.random.default_rng(1)
    share = np.repeat([0.01, 0.05, 0.1], 5000)
    fair = random.random(len(share)) < share
    lost = fair & (random.random(len(share)) < 0.7)  # 3 of 10 of the challenger's subjects are lost
    assert not sequential.crossed(sequential.drawn(fair, share), 0.0, "below", 0.005).any()
    assert sequential.crossed(sequential.drawn(lost, share), 0.0, "below", 0.005).any()


def test_nothing_is_known_of_nobody() -> None:
    assert Sums().evidence(0.0, "above") == 0.0
    assert Sums().interval(0.05) == (-1.0, 1.0)
    assert math.isnan(Sums().effect)

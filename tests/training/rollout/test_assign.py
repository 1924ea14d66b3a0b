"""Who gets which version: fixed, uniform, nested, and independent between roll-outs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from semblance.training.rollout.assign import challenged, place

SUBJECTS = [f"subject {number}" for number in range(20_000)]


@given(rollout=st.text(), subject=st.text(), share=st.floats(0, 1), more=st.floats(0, 1))
def test_a_larger_share_only_adds_subjects(rollout: str, subject: str, share: float, more: float) -> None:
    small, large = sorted((share, more))
    assert challenged(rollout, subject, small) <= challenged(rollout, subject, large)
    assert place(rollout, subject) == place(rollout, subject)
    assert not challenged(rollout, subject, 0.0)
    assert challenged(rollout, subject, 1.0)


def test_places_are_known_forever() -> None:
    """Another hash would send subjects elsewhere in the middle of a roll-out."""
    assert place("roll", "out") == 0.2133885450317068


def test_places_are_uniform() -> None:
    places = [place("a", subject) for subject in SUBJECTS]
    counts, _ = np.histogram(places, 50, (0, 1))
    assert stats.chisquare(counts).pvalue > 1e-3
    assert stats.kstest(places, "uniform").pvalue > 1e-3


def test_two_rollouts_are_independent() -> None:
    both = [(challenged("a", subject, 0.3), challenged("b", subject, 0.3)) for subject in SUBJECTS]
    table = np.array([[both.count((one, other)) for other in (False, True)] for one in (False, True)])
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_a_boundary_between_id_and_subject_is_part_of_the_hash() -> None:
    assert place("ab", "c") != place("a", "bc")

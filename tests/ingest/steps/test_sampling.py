"""Which frames are wanted: laws of the pure functions."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from semblance.ingest.steps.sampling import SamplingConfig, at_rate, clip_frames, evenly, wanted

TOTAL = st.integers(0, 5000)


@given(total=TOTAL, n=st.integers(1, 400))
def test_evenly_covers_the_whole_length_evenly(total: int, n: int) -> None:
    found = evenly(total, n)
    assert len(found) == min(n, total)
    assert found == sorted(set(found))
    assert all(0 <= index < total for index in found)
    if found:
        step = total / len(found)
        assert found[0] <= step / 2
        assert total - 1 - found[-1] <= step / 2
        assert all(abs(b - a - step) < 1 for a, b in itertools.pairwise(found))
        mirrored = sorted(total - 1 - index for index in found)  # no half is preferred
        assert all(abs(a - b) <= 1 for a, b in zip(found, mirrored, strict=True))


@given(total=TOTAL, fps=st.floats(1, 120), rate=st.floats(0.1, 120))
def test_at_rate_is_never_finer_than_the_video(total: int, fps: float, rate: float) -> None:
    found = at_rate(total, fps, rate)
    assert found == sorted(set(found))
    assert all(0 <= index < total for index in found)
    if rate >= fps:
        assert found == list(range(total))
    elif found:
        assert abs(len(found) - total * rate / fps) <= 1


@given(total=TOTAL, clips=st.integers(1, 10), length=st.integers(1, 40), stride=st.integers(1, 8))
def test_clip_frames_are_runs(total: int, clips: int, length: int, stride: int) -> None:
    found = clip_frames(total, clips, length, stride)
    assert found == sorted(set(found))
    assert all(0 <= index < total for index in found)
    span = (length - 1) * stride + 1
    if total >= span:
        assert len(found) >= length
    if clips == 1 and total >= span:
        assert {b - a for a, b in itertools.pairwise(found)} <= {stride}
        assert len(found) == length


@given(total=TOTAL)
def test_the_other_modes(total: int) -> None:
    assert wanted(total, 30, SamplingConfig(mode="first", n=10)) == list(range(min(10, total)))
    assert wanted(total, 30, SamplingConfig(mode="every", k=10)) == list(range(0, total, 10))
    listed = wanted(total, 30, SamplingConfig(mode="list", table="t.csv"), [5, 1, 99999, 5])
    assert listed == [index for index in (1, 5) if index < total]


def test_a_list_needs_its_table() -> None:
    with pytest.raises(ValidationError):
        SamplingConfig(mode="list")

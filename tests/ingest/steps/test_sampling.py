"""Which frames are sampled: laws of the pure functions."""

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
    indices = evenly(total, n)
    assert len(indices) == min(n, total)
    assert indices == sorted(set(indices))
    assert all(0 <= index < total for index in indices)
    if indices:
        step = total / len(indices)
        assert indices[0] <= step / 2
        assert total - 1 - indices[-1] <= step / 2
        assert all(abs(b - a - step) < 1 for a, b in itertools.pairwise(indices))
        mirrored = sorted(total - 1 - index for index in indices)  # symmetric
        assert all(abs(a - b) <= 1 for a, b in zip(indices, mirrored, strict=True))


@given(total=TOTAL, fps=st.floats(1, 120), rate=st.floats(0.1, 120))
def test_at_rate_is_never_finer_than_the_video(total: int, fps: float, rate: float) -> None:
    indices = at_rate(total, fps, rate)
    assert indices == sorted(set(indices))
    assert all(0 <= index < total for index in indices)
    if rate >= fps:
        assert indices == list(range(total))
    elif indices:
        assert abs(len(indices) - total * rate / fps) <= 1


@given(total=TOTAL, clips=st.integers(1, 10), length=st.integers(1, 40), stride=st.integers(1, 8))
def test_clip_frames_are_runs(total: int, clips: int, length: int, stride: int) -> None:
    indices = clip_frames(total, clips, length, stride)
    assert indices == sorted(set(indices))
    assert all(0 <= index < total for index in indices)
    span = (length - 1) * stride + 1
    if total >= span:
        assert len(indices) >= length
    if clips == 1 and total >= span:
        assert {b - a for a, b in itertools.pairwise(indices)} <= {stride}
        assert len(indices) == length


@given(total=TOTAL)
def test_the_other_modes(total: int) -> None:
    assert wanted(total, 30, SamplingConfig(mode="first", n=10)) == list(range(min(10, total)))
    assert wanted(total, 30, SamplingConfig(mode="every", k=10)) == list(range(0, total, 10))
    listed = wanted(total, 30, SamplingConfig(mode="list", table="t.csv"), [5, 1, 99999, 5])
    assert listed == [index for index in (1, 5) if index < total]


def test_a_list_needs_its_table() -> None:
    with pytest.raises(ValidationError):
        SamplingConfig(mode="list")

"""Tokens and rates."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.serving import access
from semblance.training.serving.config import RateConfig
from semblance.training.serving.problems import ProblemError
from tests.conftest import Run


def test_a_token_is_known_by_its_hash_alone(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "tokens"
    made = run("training", "token", "ann", "--to", file).stdout.strip()
    second = run("training", "token", "bob", "--to", file).stdout.strip()
    assert made not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    tokens = access.read(str(file))
    assert tokens.name_of(f"Bearer {made}") == "ann"
    assert tokens.name_of(f"bearer {second}") == "bob"
    for header in (None, "", "Bearer", f"Bearer {made}x", f"Basic {made}", "Bearer \u00e9", made):
        with pytest.raises(ProblemError) as refused:
            tokens.name_of(header)
        assert refused.value.status == 401
        assert made not in refused.value.sentence
    said = run("training", "token", "ann", "--to", file, expect=2).stderr
    assert "has a token named 'ann' already" in said
    assert "is no name" in run("training", "token", "a b", "--to", file, expect=2).stderr


def test_a_file_of_tokens_that_is_damaged_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    with pytest.raises(UsageError, match="cannot be read"):
        access.read(str(file))
    for text, said in (("ann 12\n", "Line 1"), (f"a {'0' * 64}\na {'1' * 64}\n", "Line 2"), ("# none\n", "holds none")):
        file.write_text(text)
        with pytest.raises(SemblanceError, match=said):
            access.read(str(file))


@given(
    per_minute=st.floats(1, 6000),
    burst=st.integers(1, 20),
    steps=st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_no_caller_exceeds_its_rate(per_minute: float, burst: int, steps: list[float]) -> None:
    """In any span of t seconds a caller has at most burst + t x rate requests; another one does not suffer."""
    rates = access.Rates(RateConfig(per_minute=per_minute, burst=burst))
    now, taken = 0.0, []
    for place, step in enumerate(steps):
        now += step
        with contextlib.suppress(ProblemError):
            rates.take("busy", now)
            taken.append(now)
        rates.take(f"quiet {place}", now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - taken[first]) * per_minute / 60 + 1e-6


def test_a_caller_who_waits_as_told_is_let_in() -> None:
    rates = access.Rates(RateConfig(per_minute=30, burst=1))
    rates.take("ann", 0)
    with pytest.raises(ProblemError) as refused:
        rates.take("ann", 0.5)
    assert refused.value.status == 429
    assert refused.value.retry_s is not None
    rates.take("ann", 0.5 + refused.value.retry_s)


def test_the_callers_that_are_remembered_are_bounded() -> None:
    rates = access.Rates(RateConfig())
    for number in range(12_000):
        rates.take(str(number), 0.0)
    assert len(rates._left) == 10_000

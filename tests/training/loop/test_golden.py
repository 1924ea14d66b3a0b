"""Ten golden losses of each of the plan's models; ``python -m tests.training.golden`` rewrites them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import torch

from tests.training import golden


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", golden.SETTINGS)
def test_ten_losses_are_the_golden_ones(name: str) -> None:
    expected = json.loads(golden.FILE.read_text())[name]
    assert len(expected) == golden.STEPS == 10
    assert golden.ten_losses(name) == pytest.approx(expected, rel=1e-3)

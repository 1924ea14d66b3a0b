"""One thread for every test of an attack, and a small network that was trained once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.training.attacks import nets
from tests.training.attacks.nets import Small


@pytest.fixture(autouse=True)
def repeatable() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small() -> Small:
    return nets.trained()

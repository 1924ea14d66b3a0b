"""Small builds that the tests of training share and only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.conftest import once
from tests.training import builds


@pytest.fixture(scope="session")
def ffpp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 + 3 + 3 families in shards of two, two named methods at two compressions."""
    plan = builds.Plan(compressions=("c23", "c40"))
    return once(tmp_path_factory, "ffpp", lambda out: builds.make(out, plan))


@pytest.fixture(scope="session")
def dfdc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smaller build, of fakes without a published method."""
    plan = builds.Plan(dataset="dfdc", families=4, methods=(None, None), compressions=(None,), frames=3)
    return once(tmp_path_factory, "dfdc-training", lambda out: builds.make(out, plan))


@pytest.fixture(scope="session", autouse=True)
def one_thread_for_all() -> Iterator[None]:
    """Sums of several threads round otherwise, and a run is compared bit by bit with one that another test began."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

"""Small builds that the tests of training share and only read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training import builds


@pytest.fixture(scope="session")
def ffpp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 + 3 + 3 families in shards of two, two named methods at two compressions."""
    plan = builds.Plan(compressions=("c23", "c40"))
    return builds.make(tmp_path_factory.mktemp("ffpp") / "out", plan)


@pytest.fixture(scope="session")
def dfdc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smaller build, of fakes without a published method."""
    plan = builds.Plan(dataset="dfdc", families=4, methods=(None, None), compressions=(None,), frames=3)
    return builds.make(tmp_path_factory.mktemp("dfdc") / "out", plan)

"""The collection that all faults are injected into, and its undisturbed build."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import once
from tests.faults import rig


@pytest.fixture(scope="session")
def good(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(out: Path) -> None:
        ended = rig.build(demo, out, "--workers", 1)
        assert ended.code == 0, ended.said

    return once(tmp_path_factory, "undisturbed", make)


@pytest.fixture(scope="session")
def plain(demo: Path) -> Path:
    """A sound clip with one face."""
    return rig.sound_clip(demo)

"""The collection that all faults are injected into, and its undisturbed build."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import rig


@pytest.fixture(scope="session")
def good(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    ended = rig.build(demo, out, "--workers", 2)
    assert ended.code == 0, ended.said
    return out


@pytest.fixture(scope="session")
def plain(demo: Path) -> Path:
    """A sound clip with one face."""
    return rig.sound_clip(demo)

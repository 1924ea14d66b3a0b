"""Hostile requests: the process lives, says what is wrong in a sentence, and keeps nothing of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training import untrained
from tests.training.serving import siege


def test_eighty_hostile_requests(ffpp: Path, demo: Path, tmp_path: Path) -> None:
    run = untrained.make(tmp_path / "run", [ffpp])
    siege.lay(run, sorted(demo.rglob("*.mp4"))[0], tmp_path, count=80, seed=0).check()


@pytest.mark.slow
def test_a_thousand_hostile_requests(ffpp: Path, demo: Path, tmp_path: Path) -> None:
    run = untrained.make(tmp_path / "run", [ffpp])
    siege.lay(run, sorted(demo.rglob("*.mp4"))[0], tmp_path, count=1000, seed=0).check()

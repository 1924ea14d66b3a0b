"""Parts of past days become one: nothing is lost, and nothing counts twice, wherever it is interrupted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from semblance.manifests import storage, tables
from semblance.manifests.errors import StorageError
from semblance.training.rollout import events, history
from semblance.training.rollout.merge import merge
from tests.training.rollout.made_events import at, traffic


def parts(folder: Path, table: str) -> list[str]:
    return storage.list_names(str(folder / table))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six parts of requests and of feedback, on three days of 2026: the 1st, 2nd and 3rd of January."""
    requests, said = traffic(days=np.linspace(0, 2.9, 30))
    for number in range(6):
        name = f"2026010{1 + number // 2}T000000-server-{number:06}.parquet"
        rows = slice(5 * number, 5 * number + 5)
        storage.write_bytes(str(tmp_path / "requests" / name), tables.parquet(events.frame("requests", requests[rows])))
        storage.write_bytes(str(tmp_path / "feedback" / name), tables.parquet(events.frame("feedback", said[rows])))
    return tmp_path


def test_days_that_are_over_are_one_part_each(folder: Path) -> None:
    before = history.read(str(folder), "one")
    assert merge(str(folder), at(2.5)) == 8
    assert len(parts(folder, "requests")) == len(parts(folder, "feedback")) == 4  # two merged, two of today
    assert history.read(str(folder), "one").requests.equals(before.requests)
    assert merge(str(folder), at(2.5)) == 0
    assert merge(str(folder), at(2.01)) == 0  # a part of yesterday may be late


def test_an_interruption_before_parts_are_removed_counts_nothing_twice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = history.read(str(folder), "one")

    def refuse(url: str) -> None:
        raise StorageError(f"{url} is kept.")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "remove", refuse)
        assert merge(str(folder), at(9)) == 0
    assert len(parts(folder, "requests")) == 9
    assert history.read(str(folder), "one").requests.equals(before.requests)
    merge(str(folder), at(9))
    assert len(parts(folder, "requests")) == 3
    assert history.read(str(folder), "one").requests.equals(before.requests)


def test_a_damaged_part_is_left_for_a_person(folder: Path) -> None:
    (folder / "requests" / "20260101T000000-server-000000.parquet").write_bytes(b"torn")
    assert merge(str(folder), at(9)) == 10
    assert "20260101T000000-server-000000.parquet" in parts(folder, "requests")
    assert "20260101T000000-server-000001.parquet" in parts(folder, "requests")

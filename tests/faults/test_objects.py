"""Object storage that misbehaves: short forms; `make faults` runs the long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import objects, rig


@pytest.fixture(scope="module")
def store(s3: dict[str, str]) -> objects.Store:
    return objects.Store(s3)


@pytest.fixture(scope="module")
def there(store: objects.Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed build of two families on the store, copied here."""
    folder = tmp_path_factory.mktemp("s3")
    return objects.undisturbed(store, rig.collection(folder / "dfdc", families=2), folder)


def test_a_store_with_every_fault(store: objects.Store, there: Path, tmp_path: Path) -> None:
    """Each kind strikes at least once, at every so-manieth of the requests that it can strike."""
    faults = {"cut_upload": 13, "_500": 53, "_503": 59, "late_500": 61, "cut_answer": 23, "slow": 47}
    rig.sound(objects.troubled(store, 4, there, tmp_path, **faults))


def test_a_store_that_goes_away(store: objects.Store, there: Path, tmp_path: Path) -> None:
    """A sentence, nothing torn, and the next run gives the same bytes."""
    rig.sound(objects.away(store, 5, there, tmp_path, seconds=None, patience=1))


@pytest.mark.slow
def test_a_store_that_comes_back(store: objects.Store, there: Path, tmp_path: Path) -> None:
    rig.sound(objects.away(store, 6, there, tmp_path, seconds=6, patience=120))

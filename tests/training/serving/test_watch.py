"""The service follows its registry: changes are whole and fast, and what is away or unsigned stops no answer."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import pytest

from semblance.manifests.errors import SemblanceError, StorageError
from semblance.training.registry import promotion
from semblance.training.registry.mlflow_registry import MLflowRegistry
from semblance.training.registry.records import CHAMPION, Package, Route, Version
from semblance.training.rollout import run as rollout
from semblance.training.rollout.plan import RolloutConfig
from semblance.training.serving import source
from semblance.training.serving.config import ServeConfig
from semblance.training.serving.models import Loaded, Models
from semblance.training.serving.watch import Role, Watch
from tests.training import untrained
from tests.training.registry import models

NOW = datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC)


class Away(MLflowRegistry):
    """A registry that can be away, and that counts what is fetched."""

    here = True
    fetched = 0

    def _there(self) -> None:
        if not self.here:
            raise StorageError("The registry does not answer.")

    def route(self, model: str) -> Route:
        self._there()
        return super().route(model)

    def fetch(self, version: Version, cache: Path) -> Package:
        self._there()
        self.fetched += 1
        return super().fetch(version, cache)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def shelf(ffpp: Path, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three versions of ``faces``, the first of them the champion."""
    folder = tmp_path_factory.mktemp("store")
    registry = models.opened(folder, key)
    for seed, version in enumerate(("1.0.0", "1.1.0", "1.2.0")):
        trained = untrained.make(folder / f"run{seed}", [ffpp], seed=seed, gain=9)
        models.add(registry, trained, key, "faces", version)
    registry.set_alias(registry.find("faces", "1.0.0"), CHAMPION)
    return folder


@pytest.fixture
def registry(shelf: Path, key: Path, tmp_path: Path) -> Away:
    """A copy of the store."""
    shutil.copyfile(shelf / "mlflow.db", tmp_path / "mlflow.db")
    return Away(str(tmp_path / "mlflow.db"), key.with_suffix(".pub"))


def watching(registry: Away, folder: Path, key: Path) -> Watch:
    def load(package: Package, version: str, role: Role) -> Loaded:
        return source.loaded(
            package.predictor, ServeConfig(), folder / "own", version=version, name="faces", role=role, package=package
        )

    def connect() -> Away:
        registry._there()
        return registry

    (folder / "cache").mkdir(exist_ok=True, parents=True)
    return Watch(connect, "faces", folder / "cache", key.with_suffix(".pub"), load)


def shown(found: Models) -> list[str]:
    return [f"{one.served.role} {one.served.version}" for one in found.lineup.models]


def test_a_rollout_and_its_end_reach_the_service_without_a_new_load(registry: Away, tmp_path: Path, key: Path) -> None:
    watch = watching(registry, tmp_path, key)
    found = watch.first()
    assert (shown(found), registry.fetched) == (["champion 1.0.0"], 1)
    before = found.lineup
    watch.look(found)
    assert found.lineup is before, "nothing changed, so nothing was replaced"
    rollout.start(registry, "faces", "1.1.0", RolloutConfig(), str(tmp_path / "events"), NOW)
    watch.look(found)
    assert shown(found) == ["champion 1.0.0", "challenger 1.1.0"]
    assert (found.lineup.share, bool(found.lineup.rollout)) == (0.1, True)
    fetched = registry.fetched
    rollout.rollback(registry, "faces", NOW)
    watch.look(found)
    assert shown(found) == ["champion 1.0.0"]
    promotion.promote(registry, registry.find("faces", "1.1.0"))
    watch.look(found)
    assert shown(found) == ["champion 1.1.0"]
    promotion.rollback(registry, "faces")
    watch.look(found)
    assert shown(found) == ["champion 1.0.0"]
    assert registry.fetched == fetched, "all of them were in memory"
    assert found.lineup.champion.predictor is before.champion.predictor


def test_a_registry_that_is_away_changes_nothing(registry: Away, tmp_path: Path, key: Path) -> None:
    watch = watching(registry, tmp_path, key)
    found = watch.first()
    registry.here = False
    watch.look(found)
    assert (shown(found), found.registry_up) == (["champion 1.0.0"], False)
    again = watching(registry, tmp_path, key).first()
    assert (shown(again), again.registry_up) == (["champion 1.0.0"], False)
    assert "models of the last time" in again.notes[0]
    with pytest.raises(StorageError, match="does not answer"):
        watching(registry, tmp_path / "elsewhere", key).first()
    registry.here = True
    watch.look(found)
    assert (found.registry_up, found.notes) == (True, [])


def test_a_package_that_was_changed_is_not_served(registry: Away, tmp_path: Path, key: Path) -> None:
    watch = watching(registry, tmp_path, key)
    found = watch.first()
    bad = registry.fetch(registry.find("faces", "1.2.0"), tmp_path / "cache")
    weights = bad.folder / "weights" / "0.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    registry.set_alias(registry.find("faces", "1.2.0"), CHAMPION)
    watch.look(found)
    assert shown(found) == ["champion 1.0.0"], "the old one goes on"
    assert "weights/0.safetensors was changed" in found.notes[0]
    assert found.registry_up
    with pytest.raises(SemblanceError, match=r"weights/0\.safetensors was changed"):
        watching(registry, tmp_path, key).first()
    registry.here = False
    again = watching(registry, tmp_path, key).first()
    assert shown(again) == ["champion 1.0.0"]
    kept = next((tmp_path / "cache" / "faces").glob("1.0.0-*"))
    (kept / "extra.py").write_text("print('hello')")
    with pytest.raises(SemblanceError, match=r"extra\.py was added"):
        watching(registry, tmp_path, key).first()

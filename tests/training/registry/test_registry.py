"""Versions and aliases in a real store: what is added is fetched, verified and never changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError, StorageError, UsageError
from semblance.training.inference import predictor
from semblance.training.registry.mlflow_registry import MLflowRegistry
from semblance.training.registry.records import CHALLENGER, CHAMPION, PREVIOUS
from tests.training import untrained
from tests.training.registry import models

pytestmark = [
    # lightning 2.6 and torch 2.15's exporter ask for trees in a way that this deprecates
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def runs(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [untrained.make(folder / f"run{seed}", [ffpp], seed=seed, gain=9) for seed in range(3)]


@pytest.fixture(scope="module")
def shelf(runs: list[Path], key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three versions of ``faces``."""
    folder = tmp_path_factory.mktemp("store")
    registry = models.opened(folder, key)
    for run, version in zip(runs, ("1.0.0", "1.1.0", "1.10.0"), strict=True):
        models.add(registry, run, key, "faces", version)
    return folder


@pytest.fixture
def registry(shelf: Path, key: Path) -> MLflowRegistry:
    """The store, without a champion, challenger or roll-out."""
    found = models.opened(shelf, key)
    for alias in (CHAMPION, CHALLENGER, PREVIOUS):
        found.drop_alias("faces", alias)
    found.set_rollout("faces", None)
    return found


def test_what_was_added_is_found_in_order(registry: MLflowRegistry) -> None:
    assert registry.models() == ["faces"]
    found = registry.versions("faces")
    assert [str(one.version) for one in found] == ["1.0.0", "1.1.0", "1.10.0"]
    assert [one.number for one in found] == [1, 2, 3]
    assert registry.find("faces", "1.1.0") == found[1]
    registry.set_alias(found[1], CHAMPION)
    assert registry.find("faces", CHAMPION) == replace(found[1], aliases=(CHAMPION,))
    for model, which, sentence in (
        ("faces", "1.2.0", r"no version or alias '1\.2\.0'; it has 1\.0\.0, 1\.1\.0 \(champion\), 1\.10\.0\."),
        ("faces", CHALLENGER, "has no version or alias 'challenger'"),
        ("voices", "1.0.0", "has no model 'voices'; it has faces"),
        ("../faces", "1.0.0", "is no name for a model"),
    ):
        with pytest.raises(UsageError, match=sentence):
            registry.find(model, which)
    with pytest.raises(UsageError, match="is no alias of a model; use champion"):
        registry.set_alias(found[0], "latest")


def test_a_version_is_fetched_verified_and_answers(registry: MLflowRegistry, runs: list[Path], tmp_path: Path) -> None:
    images = [np.random.default_rng(1).integers(0, 255, (40, 40, 3), np.uint8) for _ in range(3)]
    for run, version in zip(runs, registry.versions("faces"), strict=True):
        found = registry.fetch(version, tmp_path)
        np.testing.assert_array_equal(found.predictor.logits(images), predictor.load(run).logits(images))
        assert found.predictor.name == "faces"
        assert found.features == (None,)
        times = {file: file.stat().st_mtime_ns for file in found.folder.rglob("*")}
        again = registry.fetch(version, tmp_path)
        assert again.sha256 == found.sha256 == version.tags["package_sha256"]
        assert times == {file: file.stat().st_mtime_ns for file in found.folder.rglob("*")}
    assert not list(tmp_path.rglob("*.partial"))


def test_what_was_tampered_with_is_refused(registry: MLflowRegistry, tmp_path: Path) -> None:
    """In the cache, in the store, in the registry's own words, or by a signer of another key."""
    version = registry.find("faces", "1.0.0")
    weights = registry.fetch(version, tmp_path / "a").folder / "weights" / "0.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(SemblanceError, match=r"weights/0\.safetensors was changed after it was signed"):
        registry.fetch(version, tmp_path / "a")
    stored = Path(version.source.removeprefix("file://"))
    (stored / "more").touch()
    with pytest.raises(SemblanceError, match="more was added after it was signed"):
        registry.fetch(version, tmp_path / "b")
    (stored / "more").unlink()
    other = registry.find("faces", "1.1.0")
    with pytest.raises(SemblanceError, match=r"gives the package of faces 1\.1\.0 for faces 1\.0\.0"):
        registry.fetch(replace(other, version=version.version), tmp_path / "c")
    theirs = models.keys(tmp_path / "theirs")
    with pytest.raises(SemblanceError, match="was not signed by the owner of"):
        MLflowRegistry(registry.address, theirs.with_suffix(".pub")).fetch(version, tmp_path / "e")
    with pytest.raises(UsageError, match="name it with --public-key"):
        MLflowRegistry(registry.address).fetch(version, tmp_path / "f")


def test_a_version_is_never_changed(registry: MLflowRegistry, runs: list[Path], key: Path, shelf: Path) -> None:
    before = registry.versions("faces")
    files = sorted(file for file in (shelf / "mlflow").rglob("*") if file.is_file())
    for version, sentence in (
        ("1.10.0", "is not later than 1.10.0, its newest version"),
        ("1.9.0", "is not later than 1.10.0"),
        ("1.10.1", r"is too small a step from 1\.10\.0, for it answers otherwise \(model 0\); use --bump minor"),
    ):
        with pytest.raises(UsageError, match=sentence):
            models.add(registry, runs[0], key, "faces", version)
    assert registry.versions("faces") == before
    assert files == sorted(file for file in (shelf / "mlflow").rglob("*") if file.is_file())


def test_route(registry: MLflowRegistry) -> None:
    first, second, _ = registry.versions("faces")
    with pytest.raises(UsageError, match="faces has no champion; name one with"):
        registry.route("faces")
    registry.set_alias(first, CHAMPION)
    registry.set_alias(second, CHALLENGER)
    found = registry.route("faces")
    assert (found.champion.version, found.challenger, found.share, found.rollout) == (first.version, None, 0.0, "")
    state = {"id": "r1", "share": 0.1, "plan": {"mode": "ab", "text": "ü" * 4000}}
    registry.set_rollout("faces", state)
    found = registry.route("faces")
    assert found.challenger is not None
    assert (found.challenger.version, found.share, found.rollout, found.state) == (second.version, 0.1, "r1", state)
    registry.drop_alias("faces", CHALLENGER)
    registry.drop_alias("faces", CHALLENGER)
    assert registry.route("faces").share == 0
    registry.set_rollout("faces", None)
    registry.set_rollout("faces", None)
    assert registry.route("faces").state == {}


def test_packages_may_lie_elsewhere(runs: list[Path], key: Path, tmp_path: Path) -> None:
    registry = models.opened(tmp_path / "store", key)
    version = models.add(registry, runs[0], key, "faces", store=str(tmp_path / "shelf"))
    assert version.source.startswith(str(tmp_path / "shelf" / "faces" / "1.0.0-"))
    assert registry.fetch(version, tmp_path / "cache").sha256 == version.tags["package_sha256"]
    shutil.rmtree(tmp_path / "shelf")
    with pytest.raises(StorageError, match=r"There is no package at .*; restore it, or roll back"):
        registry.fetch(version, tmp_path / "another")
    assert storage.list_names(str(tmp_path / "another" / "faces")) == []


def test_a_store_that_is_away_or_damaged_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    for address, sentence in (
        (str(tmp_path / "absent.db"), "There is no registry at .*absent.db"),
        (f"sqlite:///{tmp_path / 'mlflow.db'}", "The MLflow store sqlite:.* cannot be used .*not a database.*; see"),
        ("http://127.0.0.1:9", "The MLflow store http://127.0.0.1:9 cannot be used"),
    ):
        with pytest.raises(StorageError, match=sentence) as caught:
            MLflowRegistry(address)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "absent.db").exists()


def test_processes_may_add_and_point_at_once(runs: list[Path], key: Path, tmp_path: Path) -> None:
    """Of several that add one version, one has it. Aliases point at one of those that were asked for."""
    registry = models.opened(tmp_path, key)
    code = (
        "import sys; from pathlib import Path; from tests.training.registry import models\n"
        "from semblance.manifests.errors import UsageError\n"
        "folder, run, key = map(Path, sys.argv[1:])\n"
        "registry = models.opened(folder, key)\n"
        "try: version = models.add(registry, run, key, 'faces', '1.0.0')\n"
        "except UsageError as error: print(error); sys.exit(3)\n"
    )
    words = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    calls = [subprocess.Popen([*words, str(run), str(key)], stdout=subprocess.PIPE, text=True) for run in runs[:2]]
    said = "".join(call.communicate(timeout=600)[0] for call in calls)
    codes = sorted(call.returncode for call in calls)
    assert codes == [0, 3], said
    assert "1.0.0" in said
    assert said.count("\n") == 1
    (only,) = registry.versions("faces")
    assert registry.fetch(only, tmp_path / "cache").predictor.name == "faces"

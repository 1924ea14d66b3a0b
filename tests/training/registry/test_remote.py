"""A registry that machines share: a real MLflow server with its artifacts, and packages in an object store."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from semblance.manifests.errors import StorageError, UsageError
from semblance.training.inference import predictor
from semblance.training.registry import promotion
from semblance.training.registry.mlflow_registry import MLflowRegistry
from tests.conftest import AWS, BIN
from tests.training import untrained
from tests.training.registry import models


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """An MLflow server on loopback, in a session of its own, that hands files on; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [str(BIN / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += [
        "--backend-store-uri",
        f"sqlite:///{folder / 'server.db'}",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    address = f"http://127.0.0.1:{port}"
    with (folder / "log").open("w") as log:
        started = subprocess.Popen(
            words, stdout=log, stderr=log, env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}, cwd=folder
        )
        try:
            for _ in range(1200):
                assert started.poll() is None, (folder / "log").read_text()
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{address}/health", timeout=5).close()
                    break
                time.sleep(0.1)
            yield address
        finally:
            started.terminate()
            started.wait(60)


@pytest.fixture(scope="module")
def runs(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [untrained.make(folder / f"run{seed}", [ffpp], seed=seed, gain=9) for seed in range(2)]


def same_answers(registry: MLflowRegistry, model: str, which: str, run: Path, cache: Path) -> None:
    images = [np.random.default_rng(1).integers(0, 255, (40, 40, 3), np.uint8) for _ in range(3)]
    found = registry.fetch(registry.find(model, which), cache)
    np.testing.assert_array_equal(found.predictor.logits(images), predictor.load(run).logits(images))


def test_through_a_server_another_machine_has_the_same(runs: list[Path], tmp_path: Path) -> None:
    """It sees the server alone: the packages go through it. A server that stops is a sentence."""
    key = models.keys(tmp_path / "keys")
    (tmp_path / "server").mkdir()
    with server(tmp_path / "server") as address:
        registry = MLflowRegistry(address, key.with_suffix(".pub"))
        for run, version in zip(runs, ("1.0.0", "1.1.0"), strict=True):
            promotion.promote(registry, models.add(registry, run, key, "faces", version))
        other = MLflowRegistry(address, key.with_suffix(".pub"))
        assert other.models() == ["faces"]
        same_answers(other, "faces", "champion", runs[1], tmp_path / "cache")
        promotion.rollback(other, "faces")
        same_answers(other, "faces", "champion", runs[0], tmp_path / "cache")
        other.set_rollout("faces", {"id": "r", "share": 0.5})
        other.set_alias(other.find("faces", "1.1.0"), "challenger")
        assert registry.route("faces").share == 0.5
        with pytest.raises(UsageError, match="is going on; stop it with"):
            promotion.promote(registry, registry.find("faces", "1.1.0"))
        assert promotion.newest(registry, "voices") is None
    for ask in (lambda: registry.route("faces"), lambda: registry.set_rollout("faces", None)):
        with pytest.raises(StorageError, match=r"The MLflow store http://127\.0\.0\.1.* cannot be used"):
            ask()


def test_packages_in_an_object_store(
    runs: list[Path], s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*AWS, "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, s3[name])
    key = models.keys(tmp_path / "keys")
    registry = models.opened(tmp_path / "store", key)
    version = models.add(registry, runs[0], key, "faces", store="s3://bucket/models")
    assert version.source.startswith("s3://bucket/models/faces/1.0.0-")
    same_answers(registry, "faces", "1.0.0", runs[0], tmp_path / "cache")

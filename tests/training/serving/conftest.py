"""Runs with random weights, a clip and a crop, for all tests of the service."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from semblance.quality import codec
from tests.training import untrained


@pytest.fixture(scope="session")
def trained(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained.make(tmp_path_factory.mktemp("served") / "detector", [ffpp], gain=9)


@pytest.fixture(scope="session")
def other(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained.make(tmp_path_factory.mktemp("served") / "detector", [ffpp], seed=1, gain=9)


@pytest.fixture(scope="session")
def clip(demo: Path) -> Path:
    """The demo's clip of two people."""
    return max(demo.rglob("*.mp4"), key=lambda file: file.stat().st_size)


@pytest.fixture(scope="session")
def crops() -> list[bytes]:
    """Square crops of several sizes as JPEG, PNG and WebP files."""
    generator = np.random.default_rng(0)
    found = []
    for place in range(24):
        side = int(generator.integers(24, 300))
        noise = generator.integers(0, 255, (side, side, 3), dtype=np.uint8)
        image = cv2.GaussianBlur(noise, (9, 9), 0).astype(np.uint8)
        found.append(codec.encode(image, codec.EncodingConfig(format=("jpg", "png", "webp")[place % 3])))
    return found

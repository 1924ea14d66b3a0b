"""What all tests share: where the sample collections are, and one thread for every library."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of sample collections; skips where it is absent."""
    folder = Path(os.environ.get("SEMBLANCE_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"the sample collections are not at {folder} (set SEMBLANCE_SHARED)")
    return folder

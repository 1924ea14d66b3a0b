"""The limit against hangs: a test that passes it fails alone, and its worker goes on with the others."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.conftest import HANG, REPOSITORY

TESTS = """
import time

def test_before(): pass
def test_hang(): time.sleep(3600)
def test_after(): pass
"""


def test_a_hang_costs_one_test(tmp_path: Path) -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert settings["timeout"] > HANG  # so that a command that hangs is ended, and what it has printed is shown
    method = settings["timeout_method"]
    (tmp_path / "test_hang.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\ntimeout = 1\ntimeout_method = {method}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=HANG, check=False)
    assert "1 failed, 2 passed" in done.stdout, done.stdout
    assert "Timeout (>1.0s)" in done.stdout

"""A stranger adds the gate "pose yaw": two files are edited, and every other part of Semblance knows of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

COLUMN = """    yaw: float | None = measured("degrees", "turn of the head to either side, from the landmarks", _NO_BOX)
"""
FUNCTION = """def _yaw(view: CropView) -> float | None:
    if view.landmarks is None:
        return None
    left, right, nose = view.landmarks[0], view.landmarks[2], view.landmarks[4]
    return abs(math.degrees(math.asin(max(-1.0, min(1.0, 2 * (nose - (left + right) / 2) / (right - left))))))


"""
ENTRY = """    Measure(
        name="yaw",
        function=_yaw,
        source="a stranger",
        role="face",
        title="Pose (yaw)",
        gate=Gate(key="yaw", place=60, default=45.0, above="turned", extreme="most turned"),
    ),
"""
EDITS = (  # file, the text before which the new text goes, the new text
    ("manifests/records.py", "    ita: float | None = measured(", COLUMN),
    ("quality/measures/crops.py", "def _ita(", FUNCTION),
    ("quality/measures/crops.py", '    Measure(name="ita"', ENTRY),
)
SCRIPT = Path(__file__).parent / "new_gate.py"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a copy of Semblance with the new gate says, as JSON from ``new_gate.py``."""
    folder = tmp_path_factory.mktemp("stranger")
    shutil.copytree(REPOSITORY / "semblance", folder / "semblance")
    for package in ("ingest", "manifests", "quality", "shards", "training"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / package, folder / "semblance" / package, ignore=ignored)
    for path, before, text in EDITS:
        file = folder / "semblance" / path
        old = file.read_text("utf-8")
        assert old.count(before) == 1, (path, before)
        file.write_text(old.replace(before, text + before), "utf-8")
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder / "out")], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert Path(found["from"]).is_relative_to(folder)
    return found


def test_only_two_files_know_of_it(answers: dict[str, Any]) -> None:
    assert len({path for path, _, _ in EDITS}) == 2
    assert answers["recipe"]["yaw"] == 45.0  # a key of the recipe, with its default
    assert answers["set"] == 30.0


def test_it_is_measured_and_judged(answers: dict[str, Any]) -> None:
    assert answers["frontal"] == {"yaw": 0.0, "reasons": []}
    assert answers["turned"]["yaw"] == pytest.approx(53.13, abs=0.5)
    assert answers["turned"]["reasons"] == ["turned"]
    assert answers["off"] == []


def test_it_is_a_column_with_its_reason(answers: dict[str, Any]) -> None:
    assert "yaw" in answers["samples"]
    assert "yaw" in answers["rejects"]
    assert answers["reject"] == {"reason": "turned", "measured": answers["turned"]["yaw"], "limit": 45.0}
    assert "| `yaw` | float | degrees |" in answers["reference"]


def test_the_report_draws_it(answers: dict[str, Any]) -> None:
    assert answers["distribution"] == {"title": "Pose (yaw)", "unit": "degrees", "low": None, "high": 45.0}
    assert "most turned (yaw)" in answers["sheets"]
    assert "turned" in answers["rejected"]


def test_the_audits_use_it(answers: dict[str, Any]) -> None:
    assert "yaw" in answers["face"]
    assert "yaw" not in answers["acquisition"]
    assert "yaw" in answers["drift"]
    assert "loosen gates.yaw" in answers["fairness"]

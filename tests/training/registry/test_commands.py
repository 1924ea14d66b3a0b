"""``training registry``: from a run to a signed champion and back, each fault in one sentence."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from semblance.training.cli import app
from tests.training import untrained

pytestmark = [
    # lightning 2.6 and torch 2.15's exporter ask for trees in a way that this deprecates
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]


@pytest.fixture(scope="module")
def runs(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("runs")
    return [str(untrained.make(folder / f"run{seed}", [ffpp], seed=seed, gain=9)) for seed in range(2)]


def said(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["registry", *map(str, words)])
    assert done.exit_code == code, done.output
    if code:
        assert done.output.startswith("Error: ")
        assert done.output.count("\n") == 1
    return done.output


def test_from_a_run_to_a_champion_and_back(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ffpp: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    key = tmp_path / "release.pem"
    assert "keep it secret" in said("keygen", key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    said("keygen", key, code=2)
    assert "There is no registry at runs/mlflow.db" in said("list", code=1)
    add = ("add", "--model", "faces", "--key", key)
    assert (
        said(*add, runs[0], "--data", ffpp).splitlines()[-1].startswith("faces 1.0.0 is registered in sqlite:///runs")
    )
    assert "say which one this is with --version or --bump" in said(*add, runs[1], code=2)
    refused = said(*add, runs[1], "--bump", "patch", "--no-openvino", code=2)
    assert "faces 1.0.1 is too small a step from 1.0.0, for it answers otherwise (model 0); use --bump minor" in refused
    assert "is no step; use major, minor, patch" in said(*add, runs[1], "--bump", "small", code=2)
    assert "give one of them" in said(*add, runs[1], "--bump", "minor", "--version", "2.0.0", code=2)
    assert "is not a trained run" in said(*add, tmp_path, code=2)
    (tmp_path / "wrong.json").write_text("{}")
    refused = said(*add, runs[1], "--bump", "minor", "--no-openvino", "--evaluation", "wrong.json", code=1)
    assert "wrong.json is no evaluation.json of this version" in refused
    done = said(*add, runs[1], "--bump", "minor", "--no-openvino", "--store", tmp_path / "shelf").splitlines()
    assert done[0] == "faces 1.1.0 after 1.0.0: it answers otherwise (model 0)"
    assert said("list").splitlines() == ["faces 1.0.0", "faces 1.1.0"]

    (tmp_path / "gates.yaml").write_text("minimum: [{metric: auc, at_least: 0.9}]")
    assert "name their file with --gates, or say --without-gates" in said("promote", "faces", "1.0.0", code=2)
    words = ("promote", "faces", "1.0.0", "--gates", "gates.yaml", "--public-key", key.with_suffix(".pub"))
    assert "fails 1 of 3 gates: auc by video: absent, must be at least 0.9." in said(*words, code=1)
    assert said("list").splitlines() == ["faces 1.0.0", "faces 1.1.0"]
    assert "name it with --public-key" in said(*words[:5], code=2)
    (tmp_path / "gates.yaml").write_text("{}")
    passed = said(*words).splitlines()
    assert passed[-1] == "faces 1.0.0 answers"
    assert passed[1].startswith("passed: largest difference of OpenVINO's features of run0 from torch's: ")
    assert said("promote", "faces", "1.1.0", "--to", "challenger").startswith("faces 1.1.0 is the challenger")
    assert said("promote", "faces", "challenger", "--without-gates") == "faces 1.1.0 answers instead of 1.0.0\n"
    assert said("list").splitlines() == ["faces 1.0.0  previous", "faces 1.1.0  champion"]
    shown = said("show", "faces", "champion")
    fingerprint = json.loads((ffpp / "dataset.json").read_text())["fingerprint"]
    for part in ("replaced: 1.0.0", "gates: never judged", "model run1: weight 1.000", f"ffpp (train) {fingerprint}"):
        assert part in shown
    assert "gates: 2 of 2 passed at " in said("show", "faces", "1.0.0")

    fetched = said("fetch", "faces", "champion", "--public-key", key.with_suffix(".pub")).partition(": ")[2].strip()
    assert said("verify", fetched, "--public-key", key.with_suffix(".pub")).startswith("faces 1.1.0 is as its owner")
    (Path(fetched) / "CARD.md").write_text("better")
    assert "CARD.md was changed" in said("verify", fetched, "--public-key", key.with_suffix(".pub"), code=1)

    assert said("rollback", "faces") == "faces 1.0.0 answers instead of 1.1.0\n"
    assert said("list").splitlines() == ["faces 1.0.0  champion", "faces 1.1.0"]
    assert "rolled back: to 1.0.0" in said("show", "faces", "1.1.0")
    assert "has no previous version to go back to (its champion is 1.0.0)" in said("rollback", "faces", code=2)
    assert "has no model 'voices'; it has faces" in said("rollback", "voices", code=2)

"""The script of `make demo-serve`, whole: on runs with random weights, and a gate that they pass."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY, Run
from tests.training import untrained


def test_the_demo_registers_serves_tries_and_takes_back(
    ffpp: Path, demo: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("demo_serve", REPOSITORY / "examples" / "demo-serve" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    own = tmp_path / "own"
    own.mkdir()
    for name in ("gates.yaml", "rollout.yaml"):
        values = yaml.safe_load((script.HERE / name).read_text())
        for gate in values.get("minimum", ()):
            gate["at_least"] = 0.0
        (own / name).write_text(yaml.safe_dump(values))
    monkeypatch.setattr(script, "HERE", own)
    for name in ("SEMBLANCE_REGISTRY", "SEMBLANCE_PUBLIC_KEY"):
        monkeypatch.setenv(name, "restored after the test")
    runs = [
        untrained.make(tmp_path / "runs" / name, [ffpp], seed=seed)
        for seed, name in enumerate(("ensemble", "resnet50"))
    ]
    run("training", "evaluate", "--data", ffpp, "--run", runs[0], "--to", tmp_path / "runs" / "evaluation")
    capfd.readouterr()
    script.main(tmp_path / "runs", demo, tmp_path / "work")
    said = capfd.readouterr().out
    assert "champion demo (1.0.0)" in said
    assert "challenger" in said
    assert "the same again: True" in said
    assert 'semblance_model{name="demo",role="champion",version="1.0.0"} 1.0' in said
    assert said.rstrip().endswith("# The service has ended.")
    assert "Traceback" not in (tmp_path / "work" / "serve.log").read_text()

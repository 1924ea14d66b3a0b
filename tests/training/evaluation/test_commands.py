"""`training evaluate` and `training ensemble` as commands: the files they write, and their errors."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from semblance.manifests.errors import SemblanceError
from semblance.training import models, recipes
from semblance.training.cli import app
from semblance.training.evaluation import cost, robustness
from semblance.training.inference.member import Member
from semblance.training.inference.predictor import Predictor
from semblance.training.models.f3net import F3NetConfig
from semblance.training.runs.checkpoint import Trained
from tests.conftest import REPOSITORY
from tests.training import untrained

runner = CliRunner()


def test_the_result_is_written_before_any_extra(ffpp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = untrained.make(tmp_path / "one", [ffpp])

    def fails(_: object) -> None:
        raise SemblanceError("There is no meter.")

    monkeypatch.setattr(cost, "measure", fails)
    done = runner.invoke(app, ["evaluate", "--data", str(ffpp), "--run", str(run), "--draws", "20", "--cost"])
    assert done.exit_code == 1
    assert "There is no meter." in done.output
    written = {file.name for file in (run / "evaluation").iterdir()}
    assert written == {"predictions.parquet", "tables", *(f"evaluation.{kind}" for kind in ("md", "html", "json"))}


def test_the_cost_of_an_f3net_is_measured() -> None:
    """Its spectral norms are parametrizations, whose operations torch counts outside inference mode only."""
    config = F3NetConfig(width=0.125, size=64)
    recipe = recipes.load("f3net", ["augment.size=64", "model.width=0.125", "model.size=64"])
    trained = Trained(model=models.build(config).eval(), recipe=recipe, datasets=[], epoch=0, step=0, figures={})
    member = Member(name="f3net", sha256="", file=Path(), trained=trained)
    measured = cost.measure(Predictor(name="f3net", path=Path(), members=(member,), weights=(1.0,)))
    assert measured.gflop > 0.01


def test_from_two_runs_to_a_page(ffpp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robustness, "JPEG", (30,))
    monkeypatch.setattr(robustness, "SCALES", ())
    runs = [untrained.make(tmp_path / name, [ffpp], seed=seed, gain=9) for seed, name in enumerate(("one", "two"))]
    named = [part for run in runs for part in ("--run", str(run))]
    made = runner.invoke(app, ["ensemble", "--data", str(ffpp), *named, "--to", str(tmp_path / "both")])
    assert made.exit_code == 0, made.output
    assert "weights: one 0." in made.output
    groups = tmp_path / "groups.csv"
    videos = pl.read_parquet(ffpp / "plan.parquet").filter(pl.col("split") == "test")
    videos.select("video_id", pl.col("family_id").alias("group")).write_csv(groups)
    page = tmp_path / "page"
    more = ["--robust", "--condition", f"same={ffpp}", "--groups", str(groups), "--passes", "4", "--cost"]
    done = runner.invoke(
        app,
        [
            "evaluate",
            "--data",
            str(ffpp),
            *named,
            "--run",
            str(tmp_path / "both"),
            "--to",
            str(page),
            "--draws",
            "20",
            *more,
        ],
    )
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("one ", "two ", "both "))] == ["one", "two", "both"]
    predictions = pl.read_parquet(page / "predictions.parquet")
    assert predictions["model"].unique(maintain_order=True).to_list() == ["one", "two", "both"]
    text = (page / "evaluation.md").read_text()
    for title in (
        "Overall",
        "Differences between runs",
        "Matrices",
        "Methods left out",
        "Thresholds elsewhere",
        "Each method and compression",
        "Uncertainty",
        "Under other conditions",
        "Groups",
    ):
        assert f"## {title}" in text
    written = json.loads((page / "evaluation.json").read_text())
    Draft202012Validator(json.loads((REPOSITORY / "docs/evaluation.schema.json").read_text("utf-8"))).validate(written)
    assert {len(written[name]) for name in ("changes", "groups", "risks", "costs")} == {6, 9, 3}
    assert {file.name for file in (page / "tables").iterdir()} >= {"figures.csv", "methods-ffpp-c23.tex"}


def test_failed_commands_write_nothing(ffpp: Path, tmp_path: Path) -> None:
    run, page = untrained.make(tmp_path / "run", [ffpp]), tmp_path / "page"
    command = ["evaluate", "--data", str(ffpp), "--run", str(run), "--to", str(page)]
    for more, code, sentence in (
        (["--split", "train"], 1, "were trained on"),
        (["--split-column", "split_nothing"], 2, "Unknown split column"),
        (["--groups", str(tmp_path / "absent.csv")], 2, "cannot be read"),
    ):
        done = runner.invoke(app, [*command, *more])
        assert done.exit_code == code
        assert sentence in done.output
        assert done.output.count("Error:") == 1
    assert not page.exists()

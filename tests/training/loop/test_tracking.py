"""MLflow: one store for the runs of a folder, with experiments, datasets, files and evaluations; read by its client."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from semblance.manifests.errors import SemblanceError
from semblance.training import models
from semblance.training.evaluation import evaluate, tracked
from semblance.training.loop.tracked import Tracking
from semblance.training.runs import tracking
from tests.training import runs

FEW = ("epochs=2", "data.draws=16", "model.arch=test_resnet", "augment.size=32")


def client(folder: Path) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def record(run: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((run / "run.json").read_text())
    return value


@pytest.fixture(scope="module")
def tracked_runs(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one folder, and an evaluation of the first."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("first", "second"):
        options = {"tracking": Tracking(checkpoint=name == "first"), "build": models.build}
        runs.train([str(ffpp)], folder / name, *FEW, **options)
    result = evaluate.evaluate([str(ffpp)], [str(folder / "first")], evaluate.Options(draws=0), say=print)
    page = folder / "evaluation.html"
    page.write_text("<p>figures</p>")
    tracked.log(result, [page], say=pytest.fail)
    return folder


def test_one_store_compares_runs(tracked_runs: Path, ffpp: Path) -> None:
    store = client(tracked_runs)
    experiment = store.get_experiment_by_name("semblance ffpp")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    found = {run.info.run_id: run for run in store.search_runs([experiment.experiment_id])}
    ids = [record(tracked_runs / name)["tracking"]["run_id"] for name in ("first", "second")]
    assert set(ids) < set(found)
    fingerprint = json.loads((ffpp / "dataset.json").read_text())["fingerprint"]
    for run_id in ids:
        run = found[run_id]
        assert run.info.status == "FINISHED"
        (used,) = run.inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("ffpp", fingerprint[:36])
        assert {tag.key: tag.value for tag in used.tags} == {"mlflow.data.context": "training"}
        assert {"recipe.json", "datasets.json", "steps.jsonl"} <= {file.path for file in store.list_artifacts(run_id)}
    kept = [{file.path for file in store.list_artifacts(run_id)} for run_id in ids]
    assert ["best.ckpt" in files for files in kept] == [True, False]


def test_an_evaluation_is_nested_and_gives_its_run_the_main_figures(tracked_runs: Path) -> None:
    store = client(tracked_runs)
    run_id = record(tracked_runs / "first")["tracking"]["run_id"]
    experiment = store.get_experiment_by_name("semblance ffpp")
    (nested,) = store.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'")
    assert nested.info.run_name == "test of ffpp"
    assert [file.path for file in store.list_artifacts(nested.info.run_id)] == ["evaluation.html"]
    own = store.get_run(run_id)
    assert own.info.status == "FINISHED"
    assert own.data.metrics["test/auc_video/ffpp"] == nested.data.metrics["test/auc_video/ffpp"]
    assert any(name.count("/") > 2 for name in nested.data.metrics)  # by method
    assert all(name.count("/") == 2 for name in own.data.metrics if name.startswith("test/"))


def test_a_moved_folder_finds_its_runs(tracked_runs: Path, tmp_path: Path) -> None:
    """The store is beside the runs, so run.json names no path; without the store, the reason is a sentence."""
    moved = tmp_path / "moved"
    shutil.copytree(tracked_runs, moved)
    again = tracking.reopen(moved / "second", record(moved / "second"))
    assert again is not None
    assert str(moved) in again.hint
    (moved / "mlflow.db").unlink()
    with pytest.raises(SemblanceError, match="is gone"):
        tracking.reopen(moved / "second", record(moved / "second"))
    assert tracking.reopen(moved, {}) is None


def test_a_store_that_refuses_costs_nothing_else(ffpp: Path, tmp_path: Path) -> None:
    """Its folder of files is a file: a sentence each for an evaluation and at the end of a run, which are whole."""
    runs_there = tmp_path / "runs"
    runs_there.mkdir()
    (runs_there / "mlflow").write_text("in the way")
    said: list[str] = []
    fitted = runs.train(
        [str(ffpp)], runs_there / "third", *FEW, tracking=Tracking(), build=models.build, say=said.append
    )
    assert fitted.run.best.exists()
    result = evaluate.evaluate([str(ffpp)], [str(fitted.run.path)], evaluate.Options(draws=0), say=said.append)
    tracked.log(result, [fitted.run.recipe_file], say=said.append)
    refused = [line for line in said if "cannot be used" in line]
    assert len(refused) == 2
    assert all(line.startswith("not tracked: The MLflow store ") for line in refused)
    store = client(runs_there)
    run_id = record(fitted.run.path)["tracking"]["run_id"]
    found = {run.info.run_id: run for run in store.search_runs(["1"])}
    assert [run.info.status for run in found.values()] == ["FINISHED"] * 2
    assert "test/auc_video/ffpp" in found[run_id].data.metrics


def test_several_processes_may_make_one_store(tmp_path: Path) -> None:
    """All of them start at once; each gets a run of the same experiment."""
    code = (
        "import sys; from pathlib import Path; from semblance.training.runs import tracking\n"
        "run = tracking.begin('mlflow', Path(sys.argv[1]), name='x', experiment='one'); run.close('FINISHED')"
    )
    calls = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", code, str(tmp_path / name)]) for name in ("a", "b")
    ]
    assert [call.wait(600) for call in calls] == [0, 0]
    store = client(tmp_path)
    assert len(store.search_runs([store.get_experiment_by_name("one").experiment_id])) == 2


def test_an_interruption_while_a_store_is_made_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store with a part of its tables would stop every later run beside it."""
    from mlflow.tracking import MlflowClient

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "search_experiments", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tracking.begin("mlflow", tmp_path / "run", name="name", experiment="experiment", earlier={})
    assert not (tmp_path / "mlflow.db").exists()
    tracking.begin("mlflow", tmp_path / "run", name="name", experiment="experiment", earlier={})
    assert (tmp_path / "mlflow.db").exists()
    assert not list(tmp_path.glob("*partial*"))

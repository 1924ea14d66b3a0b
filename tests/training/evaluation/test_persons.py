"""The score of a video goes by person: a cut changes nothing, and older builds fall back to tracks and say so."""

from __future__ import annotations

import tarfile
from pathlib import Path

import polars as pl
import pytest

from semblance.training import models
from semblance.training.data import query
from semblance.training.evaluation import evaluate, predictions, robustness
from semblance.training.evaluation.evaluate import Evaluation, Options
from semblance.training.evaluation.report import page
from tests.conftest import REPOSITORY
from tests.training import builds, runs, untrained

CUT = 10  # of the frames 0, 5, 10, 15


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same pictures in four builds: in one shot or with a cut, with and without knowledge of persons."""
    plans = {
        "shot": builds.Plan(families=2),
        "cut": builds.Plan(families=2, cut=CUT),
        "older shot": builds.Plan(families=2, persons=False),
        "older cut": builds.Plan(families=2, cut=CUT, persons=False),
    }
    folder = tmp_path_factory.mktemp("persons")
    return {name: builds.make(folder / name.replace(" ", "-"), plan) for name, plan in plans.items()}


@pytest.fixture(scope="module")
def results(outs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Evaluation]:
    folder = tmp_path_factory.mktemp("runs")
    found = {}
    for name, out in outs.items():
        run = untrained.make(folder / name.replace(" ", "-") / "one", [out], gain=9)
        found[name] = evaluate.evaluate([str(out)], [str(run)], Options(draws=0), say=lambda _: None)
    return found


def scores(result: Evaluation, how: str = "max") -> pl.DataFrame:
    pictures = result.predictions["one"]
    return predictions.of_videos(result.videos, pictures, result.predictors["one"], how).select(  # type: ignore[arg-type]
        "video_id", "logit"
    )


@pytest.mark.parametrize("how", ["max", "mean"])
def test_splitting_a_track_leaves_the_score_of_its_video(results: dict[str, Evaluation], how: str) -> None:
    whole, cut = (results[name].predictions["one"] for name in ("shot", "cut"))
    assert cut.select("video_id", "track").n_unique() == 2 * whole.select("video_id", "track").n_unique()
    assert cut.select("video_id", "person").n_unique() == whole.select("video_id", "person").n_unique()
    one, other = scores(results["shot"], how), scores(results["cut"], how)
    assert one["video_id"].equals(other["video_id"])
    assert other["logit"].to_list() == pytest.approx(one["logit"].to_list(), abs=1e-9)
    assert results["cut"].thresholds["one"] == pytest.approx(results["shot"].thresholds["one"])


def test_an_older_build_is_scored_by_track_and_says_so(results: dict[str, Evaluation]) -> None:
    same, expected = scores(results["older shot"]), scores(results["shot"])
    assert same["logit"].to_list() == pytest.approx(expected["logit"].to_list(), abs=1e-9)
    change = scores(results["older cut"])["logit"] - scores(results["cut"])["logit"]
    assert (change > -1e-9).all()  # a part of the pictures has at least the mean of all
    assert (change > 1e-6).any()
    for name, result in results.items():
        said = [note for note in result.notes if "have no person" in note]
        assert [note.split()[0] for note in said] == (["test", "val"] if name.startswith("older") else [])
        assert ("have no person" in page.markdown(result)) == name.startswith("older")


def test_a_condition_is_compared_by_the_same_persons(outs: dict[str, Path], results: dict[str, Evaluation]) -> None:
    """The pictures are equal, so nothing changes, although only one of the builds knows its persons."""
    for name, other in (("cut", "older cut"), ("older cut", "cut")):
        (change,) = robustness.builds(results[name], [f"other={outs[other]}"], say=lambda _: None)
        assert change.pictures == results[name].selection.pictures.height
        assert (change.change.value, change.after.value) == (0.0, change.before.value)


def test_a_build_of_schema_4_is_trained_from_and_evaluated(tmp_path: Path) -> None:
    out, run = tmp_path / "out", tmp_path / "run"
    with tarfile.open(REPOSITORY / "tests" / "shards" / "stored" / "schema4.tar.xz") as tar:
        tar.extractall(out, filter="data")
    said: list[str] = []
    few = ("model.arch=test_resnet", "epochs=2", "data.draws=8")
    fitted = runs.train([str(out)], run, *few, build=models.build, say=said.append)
    assert fitted.best_auc is not None
    assert sum("have no person" in line for line in said) == 1
    result = evaluate.evaluate([str(out)], [str(run)], Options(draws=0), say=lambda _: None)
    evaluate.write(result, tmp_path / "page")
    table = pl.read_parquet(tmp_path / "page" / "predictions.parquet")
    chosen = query.select([str(out)], "test", unlabelled=True)
    assert table.height == chosen.pictures.height > 0
    assert (table["person"] == -1 - table["track"]).all()

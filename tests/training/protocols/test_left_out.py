"""Leave-one-out: a method is in no batch, no selection and no threshold of the runs that are judged on it as unseen."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import signal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from lightning.pytorch import Callback
from typer.testing import CliRunner

from semblance.manifests import scan
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import PRISTINE, Image
from semblance.training.cli import app
from semblance.training.evaluation import evaluate, predictions, results, thresholds
from semblance.training.guard import ids, seen
from semblance.training.inference.predictor import load
from semblance.training.loop.fit import fit
from semblance.training.protocols import left_out
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import RunDir
from tests.conftest import once
from tests.training import builds
from tests.training.protocols import small

METHODS = ("Deepfakes", "FaceSwap", "It's new")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every picture has noise of its own, so that figures differ between methods."""
    made = itertools.count()

    def noisy(person: str, frame: int, label: int) -> Image:
        noise = np.random.default_rng(next(made)).normal(0, 25, (builds.SIDE, builds.SIDE, 3))
        return np.asarray(np.clip(builds.blob(person, frame, label) + noise, 0, 255), np.uint8)

    plan = builds.Plan(methods=METHODS, frames=2)
    return once(tmp_path_factory, "three-methods", lambda out: builds.make(out, plan, face=noisy))


@pytest.fixture(scope="module")
def done(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All methods left out in turn, with two seeds; tests only read it."""

    def make(to: Path) -> None:
        words = small.words([out], to, "--seeds", "0,1")
        result = CliRunner().invoke(app, ["leave-one-out", *words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert "6 runs: without Deepfakes, without FaceSwap, without It's new; seeds 0, 1; 0 of them" in result.output
        (to / "said.txt").write_text(result.output)

    return once(tmp_path_factory, "left-out", make)


def run_of(folder: Path, method: str, seed: int) -> Path:
    return folder / "runs" / f"without-{method.replace(' ', '_').replace(chr(39), '_')}-seed{seed}"


def test_no_picture_of_the_left_out_method_is_trained_or_selected_on(out: Path, done: Path) -> None:
    """By the run's own record of hashed samples, and by the methods that it names."""
    runs = sorted(path.name for path in (done / "runs").iterdir())
    assert len(runs) == len(METHODS) * 2
    rows = scan(str(out)).collect()
    for method in METHODS:
        for seed in (0, 1):
            run = run_of(done, method, seed)
            (record,) = json.loads((run / "datasets.json").read_text())
            assert set(record["methods"]) - {PRISTINE} == set(METHODS) - {method}
            known = seen.read(run / seen.FILE)
            assert known is not None
            kept = set(known.ids.filter(pl.col("kind") == seen.SAMPLE)["hash"])
            samples = rows.select("method", "split", id="sample_id").with_columns(
                kind=pl.lit(seen.SAMPLE), scope=pl.lit("")
            )
            hashes = samples.with_columns(hash=ids.hashed(samples.select("kind", "scope", "id")))
            left_out_ = set(hashes.filter(pl.col("method") == method)["hash"])
            others = set(hashes.filter(pl.col("split").is_in(["train", "val"]))["hash"]) - left_out_
            assert not kept & left_out_
            assert kept <= others
            assert len(kept) > 0.8 * len(others)  # the reals and all other methods, but for faces without a label
            assert RunDir(run).recipe().seed == seed


def test_figures_are_those_of_a_fit_and_an_evaluation_by_hand(out: Path, done: Path, tmp_path: Path) -> None:
    query = "(label = 0 OR (method IS NOT NULL AND method <> 'FaceSwap'))"
    by_hand = small.recipe(f"data.query={query}", "name=resnet50 (changed) without FaceSwap")
    fit([str(out)], by_hand, RunDir(tmp_path / "hand"), small.options(), say=lambda _: None)
    weights = [
        checkpoint.trained(folder / "checkpoints" / "best.ckpt").model.state_dict()
        for folder in (tmp_path / "hand", run_of(done, "FaceSwap", 0))
    ]
    assert all(bool((weights[0][name] == weights[1][name]).all()) for name in weights[0])
    auc: dict[str, list[float | None]] = {}
    for seed in (0, 1):
        result = evaluate.evaluate(
            [str(out)], [str(run_of(done, "FaceSwap", seed))], evaluate.Options(draws=0), say=lambda _: None
        )
        for row in result.rows:
            if row.level == "video" and row.method is not None:
                assert row.mark == ("unseen method" if row.method == "FaceSwap" else "seen")
                auc.setdefault(row.method, []).append(row.figures["auc"].value)
    assert auc["FaceSwap"] != auc["Deepfakes"]
    means = {method: sum(values) / 2 for method, values in auc.items()}  # type: ignore[arg-type]
    with (done / left_out.FILE).open() as file:
        lines = {line["left out"]: line for line in csv.DictReader(file)}
    assert list(lines) == [*METHODS, "mean"]
    others = (means["Deepfakes"] + means["It's new"]) / 2
    assert float(lines["FaceSwap"]["AUC unseen"]) == pytest.approx(means["FaceSwap"], abs=6e-4)
    assert float(lines["FaceSwap"]["AUC seen"]) == pytest.approx(others, abs=6e-4)
    assert float(lines["FaceSwap"]["gap"]) == pytest.approx(others - means["FaceSwap"], abs=6e-4)
    mean = sum(float(lines[method]["AUC unseen"]) for method in METHODS) / 3
    assert float(lines["mean"]["AUC unseen"]) == pytest.approx(mean, abs=2e-3)


def test_no_threshold_is_chosen_on_a_method_that_was_left_out(out: Path, done: Path) -> None:
    """Val has the method; whatever a run says of its fakes there, the thresholds stay. Other methods move them."""
    predictor = load(str(run_of(done, "FaceSwap", 0)))
    pictures = predictions.by_model(
        predictions.predict([predictor], predictions.select_pictures([str(out)], "val", "split"))
    )[predictor.name]
    videos = predictions.listed_videos([str(out)], "val", "split")
    before, _ = thresholds.threshold(predictor, pictures, videos)
    for method, alike in (("FaceSwap", True), ("Deepfakes", False)):
        high = pl.when(pl.col("method") == method).then(50.0).otherwise(pl.col("logit") - 3 * pl.col("label"))
        low = pl.when(pl.col("method") == method).then(-50.0).otherwise(pl.col("logit") - 3 * pl.col("label"))
        limits = [
            thresholds.threshold(predictor, pictures.with_columns(logit=logit), videos)[0] for logit in (high, low)
        ]
        assert (limits[0] == limits[1]) == alike
    assert set(before) == {"frame", "video", "video (mean)"}
    unlearned = results.unlearned(predictor.datasets, videos)
    assert set(unlearned["method"]) == {"FaceSwap"}
    assert unlearned.height == videos.filter(pl.col("method") == "FaceSwap").height


def test_the_same_command_trains_nothing_again(out: Path, done: Path) -> None:
    """A finished protocol keeps its checkpoints; a changed recipe and other seeds are refused before anything."""
    before = {path: path.stat().st_mtime_ns for path in (done / "runs").rglob("*.ckpt")}
    said: list[str] = []
    plan = left_out.make([str(out)], small.recipe(), [0, 1])
    small.carried_out(plan, done, said)
    assert {path: path.stat().st_mtime_ns for path in (done / "runs").rglob("*.ckpt")} == before
    assert sum("was finished before" in line for line in said) == 6
    other = left_out.make([str(out)], small.recipe("epochs=2"), [0, 1])
    with pytest.raises(SemblanceError, match=r"another recipe \(epochs: 1 -> 2\)"):
        small.carried_out(other, done)
    fewer = left_out.make([str(out)], small.recipe(), [0])
    with pytest.raises(UsageError, match=r"seed1 is of an earlier command with other --seeds"):
        small.carried_out(fewer, done)


class Stop(Callback):
    """Interrupts the second run in its second step."""

    def __init__(self) -> None:
        self.runs = 0

    def on_train_start(self, *_: object) -> None:
        self.runs += 1

    def on_train_batch_start(self, trainer: object, module: object, batch: object, place: int) -> None:
        del trainer, module, batch
        if self.runs == 2 and place == 1:
            raise KeyboardInterrupt


def test_an_interrupted_protocol_goes_on(out: Path, tmp_path: Path) -> None:
    """The result equals that of one that was not interrupted, and the suite is kept where it was changed by hand."""
    plan = left_out.make([str(out)], small.recipe(), [0], ["Deepfakes", "FaceSwap"])
    with pytest.raises(KeyboardInterrupt):
        small.carried_out(plan, tmp_path / "stopped", callbacks=[Stop()])
    assert not (tmp_path / "stopped" / "suite.yaml").exists()
    first = run_of(tmp_path / "stopped", "Deepfakes", 0) / "checkpoints" / "best.ckpt"
    stamp = first.stat().st_mtime_ns
    said: list[str] = []
    resumed = small.carried_out(plan, tmp_path / "stopped", said)
    assert first.stat().st_mtime_ns == stamp
    assert sum("was finished before" in line for line in said) == 1
    whole = small.carried_out(plan, tmp_path / "whole")
    assert left_out.gaps(plan, resumed) == left_out.gaps(plan, whole)
    assert [one.method for one in left_out.gaps(plan, whole)] == ["Deepfakes", "FaceSwap"]
    file = tmp_path / "stopped" / "suite.yaml"
    file.write_text(file.read_text().replace("one method left out", "by hand"))
    again = small.carried_out(plan, tmp_path / "stopped", said)
    assert again.suite.title.endswith("by hand")
    assert any("changed by hand and is kept" in line for line in said)


class Lost(Callback):
    """An interruption of the first run whose exception is lost, as in a collection of garbage."""

    def __init__(self) -> None:
        self.runs = 0

    def on_train_start(self, *_: object) -> None:
        self.runs += 1
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_an_interruption_is_not_lost(out: Path, tmp_path: Path) -> None:
    plan = left_out.make([str(out)], small.recipe(), [0], ["Deepfakes", "FaceSwap"])
    before = signal.getsignal(signal.SIGINT)
    lost = Lost()
    with pytest.raises(KeyboardInterrupt):
        small.carried_out(plan, tmp_path / "stopped", callbacks=[lost])
    assert lost.runs == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_fakes_without_a_method_are_not_trained_on(tmp_path: Path) -> None:
    """They may be of the left-out one."""
    out = builds.make(tmp_path / "out", builds.Plan(methods=("Deepfakes", "FaceSwap", None), frames=2))
    plan = left_out.make([str(out)], small.recipe(), [0], ["FaceSwap"])
    assert any("fakes without a named method are not trained on" in note for note in plan.notes)
    small.carried_out(plan, tmp_path / "to")
    (record,) = json.loads((run_of(tmp_path / "to", "FaceSwap", 0) / "datasets.json").read_text())
    assert set(record["methods"]) - {PRISTINE} == {"Deepfakes"}
    assert not record["unnamed_methods"]


def test_what_cannot_be_left_out_is_refused(out: Path, tmp_path: Path) -> None:
    one = builds.make(tmp_path / "one", builds.Plan(dataset="celebdf", methods=("swap",), frames=2))
    nameless = builds.make(tmp_path / "nameless", builds.Plan(dataset="dfdc", methods=(None,), frames=2))
    for outs, methods, words in (
        ([out], ["Nothing"], "No build has fakes of 'Nothing'.*Deepfakes, FaceSwap, It's new"),
        ([one], [], "Without swap, .*one keeps no fake"),
        ([out, one], [], "Without swap, .*one keeps no fake"),
        ([nameless], [], "none can be left out"),
        ([out, nameless], ["FaceSwap"], "Without FaceSwap, .*nameless keeps no fake"),
        ([out, out], [], "named twice"),
    ):
        with pytest.raises(UsageError, match=words):
            left_out.make([str(path) for path in outs], small.recipe(), [0], methods)
    both = left_out.make([str(out), str(one)], small.recipe(), [0], ["FaceSwap"])
    assert [column.name for column in both.columns] == [*(f"{name} (ffpp)" for name in METHODS), "swap (celebdf)"]
    with pytest.raises(UsageError, match="--seeds"):
        left_out.make([str(out)], small.recipe(), [-1])
    result = CliRunner().invoke(app, ["leave-one-out", *small.words([out], tmp_path / "to", "--seeds", "0;1")])
    assert result.exit_code == 2
    assert not (tmp_path / "to").exists()

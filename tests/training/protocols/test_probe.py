"""Probing self-supervised runs: figures by other means, equal budgets, what is refused, and nothing twice."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training import models
from semblance.training.cli import app
from semblance.training.data import query
from semblance.training.data.loader import Loader
from semblance.training.evaluation import evaluate
from semblance.training.loop.fit import fit
from semblance.training.protocols import linear, probe, probe_table
from semblance.training.regimes import REGIMES
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import RunDir
from tests.conftest import once
from tests.training import builds
from tests.training.protocols import small

LEARNED = (
    *("regime={kind: simclr, dim: 8}", "data.query=label = 0", "data.views=2", "data.balanced_per_method=false"),
    *("augment.cutmix.p=0", "augment.mixup.p=0"),
)


def learned(out: Path, to: Path, *settings: str) -> Path:
    recipe = small.recipe(*LEARNED, *settings)
    fit([str(out)], recipe, RunDir(to), small.options(), say=lambda _: None)
    return to


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "probed", lambda out: builds.make(out, builds.Plan(families=8, frames=2)))


@pytest.fixture(scope="module")
def runs(out: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds of one recipe."""
    folder = tmp_path_factory.mktemp("ssl")
    return [learned(out, folder / f"simclr-seed{seed}", f"seed={seed}") for seed in (0, 1)]


@pytest.fixture(scope="module")
def done(out: Path, runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command leaves; tests only read it."""
    to = tmp_path_factory.mktemp("probe") / "to"
    named = [word for run in runs for word in ("--run", str(run))]
    result = CliRunner().invoke(
        app, ["probe", *small.words([out], to, "--seeds", "0,1"), *named], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    assert "4 runs: random weights, from simclr; seeds 0, 1; 0 of them" in result.output
    (to / "said.txt").write_text(result.output)
    return to


def record(done: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((done / probe_table.JSON).read_text())
    return found


def test_the_table(done: Path, runs: list[Path]) -> None:
    with (done / probe_table.CSV).open() as file:
        lines = list(csv.DictReader(file))
    ways = [(line["probe"], line["start"], line["column"], line["seeds"]) for line in lines]
    starts = ("random weights", "from simclr")
    assert ways == [(way, start, "ffpp", "2") for way in ("linear", "fine-tuned") for start in starts]
    told = record(done)
    assert told["starts"] == {
        "random weights": {"0": "none", "1": "none"},
        "from simclr": {"0": str(runs[0]), "1": str(runs[1])},
    }
    for line, other in zip(lines, told["lines"], strict=True):
        assert float(line["auc"]) == other["auc"]
        assert (line["gain"] == "") == (line["start"] == "random weights")
    by_way = {(line["probe"], line["start"]): line for line in lines}
    for way in ("linear", "fine-tuned"):
        auc, base = (float(by_way[way, start]["auc"]) for start in reversed(starts))
        assert float(by_way[way, "from simclr"]["gain"]) == pytest.approx(auc - base)
        assert by_way[way, "from simclr"]["low"] == ""  # four families are too few for an interval
    said = (done / "said.txt").read_text()
    assert f"{float(by_way['linear', 'from simclr']['auc']):.3f}" in said


def test_fine_tuned_figures_are_those_of_an_evaluation(out: Path, done: Path, runs: list[Path]) -> None:
    """And both starts have the same recipe, but for the weights; those of the run are what it begins with."""
    lines = {(one["way"], one["start"]): one for one in record(done)["lines"]}
    for start, slug in (("random weights", "random"), ("from simclr", "from_simclr")):
        paths = [str(done / "runs" / f"{slug}-seed{seed}") for seed in (0, 1)]
        result = evaluate.evaluate([str(out)], paths, evaluate.Options(draws=0), say=lambda _: None)
        by_run = {row.model: row.figures["auc"].value for row in result.rows if row.level == "video" and not row.method}
        values = [by_run[Path(path).name] or 0.0 for path in paths]
        assert lines["fine-tuned", start]["auc"] == pytest.approx(sum(values) / 2)
    for seed in (0, 1):
        ours, base = (RunDir(done / "runs" / f"{slug}-seed{seed}").recipe() for slug in ("from_simclr", "random"))
        assert ours.model.pretrained == str(runs[seed])
        assert ours.model_copy(update={"model": base.model}) == base
        assert base.regime.kind == "supervised"
        assert {
            one["role"] for one in json.loads((done / f"runs/from_simclr-seed{seed}/datasets.json").read_text())
        } == {
            "train",
            "weights",
        }


def test_linear_figures_by_other_means(out: Path, done: Path, runs: list[Path]) -> None:
    """Features of the run's own checkpoint, standardised, and scikit-learn's regression with the recorded penalty."""
    told = record(done)
    values = []
    for seed, run in enumerate(runs):
        model = checkpoint.trained(run / "checkpoints" / "best.ckpt").model
        found: dict[str, tuple[pl.DataFrame, np.ndarray[Any, Any]]] = {}
        for split in ("train", "test"):
            selection = query.select([str(out)], split, unlabelled=split != "train")
            rows: dict[str, np.ndarray[Any, Any]] = {}
            with torch.no_grad():
                for batch in Loader(selection, batch=16, size=32):
                    rows |= dict(zip(batch.sample_ids, model(batch.image_BCHW).embedding_BD.numpy(), strict=True))
            found[split] = selection.pictures, np.stack([rows[name] for name in selection.pictures["sample_id"]])
        (train, x), (test, z) = found["train"], found["test"]
        mean, sd = x.mean(0), x.std(0)
        sd[sd == 0] = 1
        strength = next(
            one["strength"] for one in told["linear"] if (one["start"], one["seed"]) == ("from simclr", seed)
        )
        fitted = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
        fitted.fit((x - mean) / sd, train["target"].to_numpy() == 1)
        logit = fitted.decision_function((z - mean) / sd)
        of_person = (
            test.with_columns(logit=pl.Series(logit)).group_by("video_id", "person", "label").agg(pl.mean("logit"))
        )
        of_video = of_person.group_by("video_id").agg(pl.max("logit"), pl.first("label"))
        values.append(roc_auc_score(of_video["label"], of_video["logit"]))
    line = next(one for one in told["lines"] if (one["way"], one["start"]) == ("linear", "from simclr"))
    assert line["auc"] == pytest.approx(sum(values) / 2, abs=0.02)


def test_random_weights_are_those_that_fine_tuning_starts_from(out: Path, runs: list[Path]) -> None:
    """With batch norms that know the pictures, so that a comparison with a trained network is one of weights."""
    recipe = RunDir(runs[0]).recipe()
    train = query.select([str(out)], "train")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model = linear.untrained(recipe.model, 3, train, 32)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(3)
    fresh = models.build(recipe.model)
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), fresh.parameters(), strict=True))
    means = [value for name, value in model.state_dict().items() if name.endswith("running_mean")]
    assert all(bool(one.any()) for one in means)
    _, embedding_ND = linear.features(model, train, 32)
    assert np.isfinite(embedding_ND).all()


def test_the_same_command_trains_nothing_again(out: Path, done: Path, runs: list[Path]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (done / "runs").rglob("*.ckpt")}
    assert len(before) == 8
    told = record(done)
    made = probe.make([str(out)], [str(run) for run in runs], small.recipe(), [0, 1])
    result = small.carried_out(made, done)
    lines, fitted = probe.probed(made, result, lambda _: None, draws=small.DRAWS)
    probe_table.write(made, lines, fitted, done)
    assert {path: path.stat().st_mtime_ns for path in (done / "runs").rglob("*.ckpt")} == before
    assert record(done) == told


def test_intervals_where_there_are_enough_groups(tmp_path: Path) -> None:
    """Over families that both share; a start that is the baseline's own has no gain in any draw."""
    out = builds.make(tmp_path / "out", builds.Plan(families=20, frames=1, methods=("Deepfakes",), two_faces=0))
    run = learned(out, tmp_path / "one")
    made = probe.make([str(out)], [str(run)], small.recipe(), [0], split="val")
    assert (made.columns[0].split, made.baseline) == ("val", "random weights")
    result = small.carried_out(made, tmp_path / "to")
    lines, _ = probe.probed(made, result, lambda _: None, draws=200)
    for line in lines:
        if line.gain is not None:
            assert line.gain.low is not None
            assert line.gain.high is not None
            assert line.gain.value is not None
            assert line.gain.low <= line.gain.value <= line.gain.high
    page = next(one for one in result.gains if one.row == "from one")
    ours = next(one for one in lines if one.way == "fine-tuned" and one.gain is not None)
    assert page.points.value == pytest.approx(ours.gain.value)
    assert all(line[7].count("to") == (line[1] != "random weights") for line in probe_table.table(lines)[1:])


def test_what_cannot_be_probed_is_refused(out: Path, runs: list[Path], done: Path, tmp_path: Path) -> None:
    recipe = small.recipe()
    supervised = done / "runs" / "random-seed0"
    wider = learned(out, tmp_path / "wider", "augment.size=48")
    one = str(runs[0])
    for given, words in (
        ([str(supervised)], "learned from labels"),
        ([one, str(wider)], "wider has another model or picture size than .*simclr-seed0.*probe them apart"),
        ([one, one], "once with --run"),
        ([str(tmp_path / "none")], "is not a run"),
    ):
        with pytest.raises(UsageError, match=words):
            probe.make([str(out)], given, recipe, [0])
    with pytest.raises(UsageError, match=r"the recipe .* has the regime simclr"):
        probe.make([str(out)], [one], small.recipe(*LEARNED), [0])
    with pytest.raises(UsageError, match="Unknown split 'train'"):
        probe.make([str(out)], [one], recipe, [0], split="train")
    few = probe.make([str(out)], [one], recipe, [0, 1, 2])
    assert few.notes == (
        "3 repetitions start from 1 run of simclr-seed0, so their spread says little of self-supervision's own",
    )


@pytest.mark.parametrize("kind", sorted(name for name, one in REGIMES.items() if not one.config.labelled))
def test_runs_of_every_regime_without_labels_can_be_probed(out: Path, tmp_path: Path, kind: str) -> None:
    """Whatever a regime keeps beside the model, the start is the model; the fine-tuning is supervised."""
    settings = [one for one in LEARNED if "regime" not in one and "views" not in one]
    clips = ("data.mode=clips", "data.clip.frames=4", "augment.p=0") if kind == "order" else ()
    recipe = small.recipe(f"regime.kind={kind}", *settings, *clips)
    RunDir(tmp_path / kind).begin(recipe, [], 0)
    made = probe.make([str(out)], [str(tmp_path / kind)], small.recipe(), [0])
    base, start = (one.of(0) for one in made.variants)
    assert (base.model.pretrained, start.model.pretrained) == ("none", str(tmp_path / kind))
    assert (base.regime.kind, base.data.mode, base.data.query) == ("supervised", "frames", None)


def test_no_run_is_judged_on_people_that_its_weights_come_from(out: Path, runs: list[Path], tmp_path: Path) -> None:
    """Also where only the second repetition's start has learned them."""
    other = tmp_path / "other"
    shutil.copytree(out, other)
    swapped = {"train": "test", "test": "train", "val": "val"}
    for file in (other / "plan.parquet", *other.glob("manifests/*/*.parquet")):
        table = pl.read_parquet(file)
        columns = [name for name in ("split", "split_family") if name in table.columns]
        table.with_columns(pl.col(name).replace(swapped) for name in columns).write_parquet(file)
    leaky = learned(other, tmp_path / "simclr-seed2", "seed=2")
    made = probe.make([str(out)], [str(runs[0]), str(leaky)], small.recipe(), [0, 1])
    with pytest.raises(SemblanceError, match="results would be too good"):
        small.carried_out(made, tmp_path / "to")
    assert not (tmp_path / "to" / "runs").exists()

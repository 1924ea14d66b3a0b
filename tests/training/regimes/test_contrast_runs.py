"""Runs that learn by contrast: two ranks as one, resumption, what a run says and keeps, and that it learns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from semblance.manifests.errors import UsageError
from semblance.training import recipes
from semblance.training.runs import checkpoint
from semblance.training.runs import folder as rundir
from semblance.training.runs.folder import RunDir
from tests.conftest import HANG, REPOSITORY
from tests.training import runs
from tests.training.runs import StopBefore, StoppedError, same

pytestmark = pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning")
LEARNED = (
    *("data.query=label = 0", "data.views=2", "data.balanced_per_method=false", "augment.p=1.0", "augment.jpeg.p=0"),
    *("augment.cutmix.p=0", "augment.mixup.p=0", "schedule.warmup_epochs=1"),
)
KINDS = {
    "simclr": ("regime={kind: simclr, dim: 8}",),
    "moco": ("regime={kind: moco, dim: 8, hidden: 16, momentum: 0.9, schedule: cosine}",),
    "queue": ("regime={kind: moco, dim: 8, hidden: 16, momentum: 0.9, queue: 40}",),
}


def lines(run: Path) -> list[dict[str, Any]]:
    return rundir.read_lines(RunDir(run).steps)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_equals_an_undisturbed_one(ffpp: Path, tmp_path: Path, kind: str) -> None:
    """Stopped inside the second epoch: weights, heads, the following encoder, queue and figures, to the bit."""
    few, whole, parts = (*LEARNED, *KINDS[kind], "accumulate=2", "epochs=2"), tmp_path / "whole", tmp_path / "parts"
    runs.train([str(ffpp)], whole, *few)
    with pytest.raises(StoppedError):
        runs.train([str(ffpp)], parts, *few, callbacks=[StopBefore(6)])
    assert checkpoint.load(RunDir(parts).last)["place"]["position"] > 0
    runs.train([str(ffpp)], parts, *few, resume=True)
    assert lines(parts) == lines(whole)
    assert rundir.read_lines(RunDir(parts).epochs) == rundir.read_lines(RunDir(whole).epochs)
    for name in ("last.ckpt", "best.ckpt"):
        assert same(*(checkpoint.load(each / "checkpoints" / name) for each in (parts, whole)))
    kept = checkpoint.load(RunDir(whole).last)["regime"]
    assert any(name.startswith("key_model.") for name in kept) == (kind != "simclr")
    assert ("queue.key_KC" in kept) == (kind == "queue")


# Each epoch is one step on all data, so that one process and two see the same batch; val is one batch too.
WHOLE = (*LEARNED, "data.draws=61", "data.batch_size=62", "augment.p=0", "epochs=2", "clip_norm=null")


def test_two_ranks_train_as_one(ffpp: Path, tmp_path: Path) -> None:
    """61 units are 31 on one rank and 30 on the other. Gradients agree to rounding, which Adam enlarges
    (test_contrast_ranks compares them).
    """
    alone, ranks = tmp_path / "alone", tmp_path / "ranks"
    few = (*WHOLE, "regime={kind: moco, dim: 8, hidden: 16, momentum: 0.9, queue: 400}")
    runs.train([str(ffpp)], alone, *few, build=runs.plain)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.runs", "ranks", str(ranks), str(ffpp), *few]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, done.stderr
    ours, theirs = lines(ranks), lines(alone)
    assert len(ours) == len(theirs) == 2
    assert ours[0] == pytest.approx(theirs[0], rel=1e-4)
    assert ours[1] == pytest.approx(theirs[1], rel=1e-2)
    assert [row["negatives"] for row in ours] == pytest.approx([row["negatives"] for row in theirs])
    for one, two in zip(*(rundir.read_lines(RunDir(run).epochs) for run in (ranks, alone)), strict=True):
        assert one["val/loss"] == pytest.approx(two["val/loss"], rel=1e-2)


def test_a_run_says_what_it_is_and_learns(ffpp: Path, tmp_path: Path) -> None:
    """On the loss of val's reals, of other people, the best epoch is chosen; no fake is in train or val."""
    said: list[str] = []
    settings = (*LEARNED, *KINDS["queue"], "epochs=6", "data.draws=64", "optimiser.lr=0.01")
    runs.train([str(ffpp)], tmp_path / "run", *settings, say=said.append)
    assert any("MoCo v2's form on MoCo v3's heads, with a queue of 40 keys; no negatives from" in line for line in said)
    epochs = rundir.read_lines(RunDir(tmp_path / "run").epochs)
    best = min(epochs, key=lambda row: row["val/loss"])
    assert checkpoint.load(RunDir(tmp_path / "run").best)["epoch"] == best["epoch"]
    assert {"val/loss", "val/accuracy", "val/negatives", "val/loss/ffpp"} <= set(epochs[0])
    assert lines(tmp_path / "run")[0]["negatives"] == 0  # the queue starts empty
    assert lines(tmp_path / "run")[9]["negatives"] > 20
    (record,) = [one for one in rundir.read_json(tmp_path / "run" / "datasets.json") if one["role"] == "train"]
    assert record["methods"] == ["pristine"]


def test_simclr_learns(ffpp: Path, tmp_path: Path) -> None:
    """It finds the other view of a picture of new people far more often than one in the batch."""
    run = tmp_path / "run"
    settings = (*LEARNED, "regime={kind: simclr}", "epochs=8", "data.draws=96", "data.batch_size=16")
    runs.train([str(ffpp)], run, *settings)
    epochs = rundir.read_lines(RunDir(run).epochs)
    chance = 1 / (1 + epochs[-1]["val/negatives"])
    assert epochs[-1]["val/loss"] < epochs[0]["val/loss"]
    assert epochs[-1]["val/accuracy"] > 2 * chance


@pytest.mark.parametrize("name", ["simclr_resnet50", "moco_resnet50"])
def test_recipes(name: str) -> None:
    plan, small = recipes.load(name), recipes.load(f"{name}_small")
    for one in (plan, small):
        assert (one.data.query, one.data.views, one.regime.labelled) == ("label = 0", 2, False)
        assert (one.augment.jpeg.p, one.augment.compression.p, one.augment.frequency.p) == (0, 0, 0)
        assert one.regime.model_dump()["exclude"] == "family"
    with pytest.raises(UsageError, match=r"learns without labels, which augment\.cutmix\.p changes"):
        recipes.load(name, ["augment.cutmix.p=0.3"])


def test_the_plans_figures() -> None:
    assert recipes.load("simclr_resnet50").regime.model_dump(include={"temperature", "dim"}) == {
        "temperature": 0.1,
        "dim": 128,
    }
    moco = recipes.load("moco_resnet50_queue").regime
    assert moco.model_dump(include={"momentum", "queue"}) == {"momentum": 0.999, "queue": 4096}
    assert recipes.load("moco_resnet50").regime.terms[0] == "MoCo v3"
    assert moco.terms[0].startswith("MoCo v2's form on MoCo v3's heads")

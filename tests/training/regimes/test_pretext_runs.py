"""Runs of the pretext tasks: resumed exactly, the same on two ranks, and their figures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from semblance.manifests.errors import UsageError
from semblance.training import models
from semblance.training.inference import predictor
from semblance.training.runs import checkpoint, folder
from semblance.training.runs.folder import RunDir
from tests.conftest import HANG, REPOSITORY
from tests.training import runs
from tests.training.regimes import puzzles
from tests.training.runs import StopBefore, StoppedError

pytestmark = [
    # lightning 2.6 asks torch 2.15 for a tree in a way that this deprecates
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]


class Keep(Callback):
    """Keeps the regime of a run."""

    regime: Any = None

    def on_train_end(self, _: Any, task: Any) -> None:
        self.regime = task.regime


@pytest.mark.parametrize("recipe", puzzles.RUNS)
def test_resumed_equals_undisturbed(ffpp: Path, tmp_path: Path, recipe: str) -> None:
    """Stopped inside the second epoch, after a checkpoint: figures, weights and the regime's state, bit by bit."""
    few = ("data.draws=20", "data.batch_size=4", "epochs=3", "data.clip.step=1")
    whole, parts = RunDir(tmp_path / "whole"), RunDir(tmp_path / "parts")
    puzzles.run(ffpp, whole.path, recipe, *few)
    with pytest.raises(StoppedError):
        puzzles.run(ffpp, parts.path, recipe, *few, callbacks=[StopBefore(8)])
    puzzles.run(ffpp, parts.path, recipe, *few, resume=True)
    assert folder.read_lines(parts.steps) == folder.read_lines(whole.steps)
    rows = folder.read_lines(whole.epochs)
    assert folder.read_lines(parts.epochs) == rows
    for part in ("model", "regime"):
        ours, theirs = (checkpoint.load(each.last)[part] for each in (parts, whole))
        assert ours.keys() == theirs.keys()
        assert ours
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert ("val/accuracy" in rows[0]) == (not recipe.startswith("mae"))
    assert ("val/fair" in rows[0]) == recipe.startswith("order")


def test_a_detector_starts_from_what_was_learned(ffpp: Path, tmp_path: Path) -> None:
    """Its backbone is taken over. The run itself scores nothing, since no label has trained its head."""
    few = ("data.draws=8", "data.batch_size=4", "epochs=2")
    learned, run = RunDir(tmp_path / "learned"), RunDir(tmp_path / "run")
    arch = "model.arch=test_resnet.r160_in1k"
    keep = Keep()
    puzzles.run(
        ffpp, learned.path, "rotation_resnet50_small", *few, arch, "seed=5", build=models.build, callbacks=[keep]
    )
    assert keep.regime.seed == 5
    with pytest.raises(UsageError, match=r"learned learned without labels \(regime rotation\), so it scores nothing"):
        predictor.load(str(learned.path))
    more = (*few, arch, f"model.pretrained={learned.path}", "optimiser.lr=1e-9", "schedule.warmup_epochs=1")
    runs.train([str(ffpp)], run.path, *more, build=models.build, name="resnet50_small")
    ours, theirs = (checkpoint.load(each.best)["model"] for each in (run, learned))
    weights = [name for name in theirs if name.startswith("backbone.") and name.endswith("weight")]
    assert weights
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in weights)
    assert predictor.load(str(run.path)).members[0].trained.recipe.regime.kind == "supervised"


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param("rotation_resnet50_small", marks=pytest.mark.slow),
        pytest.param("jigsaw_resnet50_small", marks=pytest.mark.slow),
        "order_resnet50_small",
        pytest.param("mae_vit_s_small", marks=pytest.mark.slow),
    ],
)
def test_two_ranks_equal_one(ffpp: Path, tmp_path: Path, recipe: str) -> None:
    """Each epoch is one step on all data, in one process or shared by two that communicate by gloo."""
    few = ("data.draws=20", "data.batch_size=20", "epochs=3", "data.clip.step=1")
    alone, ranks = RunDir(tmp_path / "alone"), RunDir(tmp_path / "ranks")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.regimes.puzzles", str(ffpp), str(ranks.path)]
    arguments = [*command, recipe, *few]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, done.stderr
    puzzles.run(ffpp, alone.path, recipe, *few)
    for read in (lambda run: folder.read_lines(run.steps), lambda run: folder.read_lines(run.epochs)):
        ours, theirs = read(ranks), read(alone)
        assert len(ours) == len(theirs) == 3
        for a, b in zip(ours, theirs, strict=True):
            assert a == pytest.approx(b, rel=1e-3)
    for part in ("model", "regime"):
        one, two = (checkpoint.load(run.last)[part] for run in (alone, ranks))
        assert all(torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-4) for name in one)

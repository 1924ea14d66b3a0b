"""Runs that learn one task after another: what each keeps, what it hands on, and that none of it depends on chance."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training import losses, models, regimes
from semblance.training.loop.fit import Fitted
from semblance.training.models import Model
from semblance.training.recipes import TrainingRecipe
from semblance.training.regimes import continual_fisher
from semblance.training.regimes.continual_config import ContinualConfig
from semblance.training.runs import checkpoint
from semblance.training.runs import folder as rundir
from semblance.training.runs.folder import RunDir
from tests.conftest import HANG, REPOSITORY, once
from tests.training import builds, runs
from tests.training.runs import StopBefore, StoppedError, same

pytestmark = [
    # torch 2.15 warns of more workers than cores: here they are two on any machine
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning:torch.utils.data.dataloader"),
    # lightning 2.6 asks torch 2.15 for a tree in a way that this deprecates
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]

SETTINGS = (
    "model.arch=test_resnet.r160_in1k",
    "model.dropout=0.2",
    "data.draws=24",
    "epochs=2",
    "precision=32-true",
    "regime.kind=continual",
    "regime.ewc.samples=10",
    "regime.memory.size=20",
    "regime.memory.batch=6",
)
ALL = ("regime.ewc.weight=400", "regime.memory.replay=true", "regime.lwf.weight=1")


def learn(out: Path, run: Path, *settings: str, after: Path | None = None, **options: Any) -> Fitted:
    named = () if after is None else (f"model.pretrained={after}", f"regime.after={after}")
    return runs.train([str(out)], run, *SETTINGS, *named, *settings, build=models.build, **options)


def weights(run: Path, which: str = "last") -> dict[str, torch.Tensor]:
    return checkpoint.load(run / "checkpoints" / f"{which}.ckpt")["model"]


def kept(run: Path) -> dict[str, Any]:
    return checkpoint.load(RunDir(run).best)["regime"]["_extra_state"]


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    def make(folder: Path) -> None:
        for name, methods in {"ffpp": ("Deepfakes", "FaceSwap"), "celebdf": ("swap",), "dfdc": (None,)}.items():
            builds.make(folder / name, builds.Plan(dataset=name, families=4, methods=methods, frames=3))

    folder = once(tmp_path_factory, "three-tasks", make)
    return [folder / name for name in ("ffpp", "celebdf", "dfdc")]


@pytest.fixture(scope="module")
def first(outs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "first-task", lambda run: learn(outs[0], run))


@pytest.fixture(scope="module")
def second(outs: list[Path], first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "second-task", lambda run: learn(outs[1], run, *ALL, after=first))


def test_the_first_task_is_learned_as_without_a_regime(outs: list[Path], first: Path, tmp_path: Path) -> None:
    plain = [one for one in SETTINGS if not one.startswith("regime.")]
    runs.train([str(outs[0])], tmp_path / "plain", *plain, build=models.build)
    assert same(weights(tmp_path / "plain"), weights(first))
    rows = kept(first)["memory"]
    assert len(rows["sample_id"]) == 20
    assert Counter(zip(rows["target"], rows["method"], strict=True)) == {
        (0, "pristine"): 10,
        (1, "Deepfakes"): 5,
        (1, "FaceSwap"): 5,
    }


def test_without_any_means_it_is_sequential_training_bit_for_bit(outs: list[Path], first: Path, tmp_path: Path) -> None:
    plain = [one for one in SETTINGS if not one.startswith("regime.")]
    runs.train([str(outs[1])], tmp_path / "plain", *plain, f"model.pretrained={first}", build=models.build)
    learn(outs[1], tmp_path / "zero", "regime.ewc.weight=0", "regime.lwf.weight=0", after=first)
    assert same(weights(tmp_path / "plain"), weights(tmp_path / "zero"))
    assert not same(weights(tmp_path / "zero"), weights(first))
    assert [one["loss"] for one in rundir.read_lines(RunDir(tmp_path / "plain").steps)] == [
        one["loss"] for one in rundir.read_lines(RunDir(tmp_path / "zero").steps)
    ]


def test_with_an_endless_weight_nothing_moves(outs: list[Path], first: Path, tmp_path: Path) -> None:
    """Weights that the old logit depends on stay within Adam's first steps, which it takes before the penalty is felt.

    Without weight decay, which would move them too. Statistics of batch norm do not move at all.
    """
    rate = 0.001
    few = ("optimiser.weight_decay=0", f"optimiser.lr={rate}", "data.draws=96", "regime.norms=frozen")
    before = weights(first, "best")
    for weight in ("0", "1e15"):
        learn(outs[1], tmp_path / weight, f"regime.ewc.weight={weight}", *few, after=first)
        now = weights(tmp_path / weight)
        statistics = [name for name in now if "running" in name or "num_batches" in name]
        assert statistics
        assert all(torch.equal(now[name], before[name]) for name in statistics)
    held = {name: one > 1e-8 for name, one in kept(tmp_path / "1e15")["fisher"].items()}
    free, frozen = (
        torch.cat([(now[name] - before[name])[where].abs() for name, where in held.items()])
        for now in map(weights, (tmp_path / "0", tmp_path / "1e15"))
    )
    assert len(free) > 1000
    assert frozen.max() < 3 * rate < free.max()
    assert frozen.mean() < 0.3 * free.mean()
    pulled = [row["ewc"] for row in rundir.read_lines(RunDir(tmp_path / "1e15").steps)]
    assert pulled[0] == 0
    assert pulled[-1] < max(pulled) / 2


def test_a_chain_hands_on_fisher_information_and_memory(
    outs: list[Path], first: Path, second: Path, tmp_path: Path
) -> None:
    """The third run needs the second alone: sums over tasks, rows of all tasks, w* of the second."""
    third = tmp_path / "third"
    learn(outs[2], third, *ALL, after=second)
    one, two = kept(second), kept(third)
    assert Counter(one["memory"]["dataset"]) == {"ffpp": 10, "celebdf": 10}
    assert one["replayed"] == kept(first)["memory"]
    assert two["replayed"] == one["memory"]
    assert sorted(Counter(two["memory"]["dataset"]).values()) == [6, 7, 7]
    old = [name for name in two["memory"]["sample_id"] if not name.startswith("dfdc")]
    assert set(old) < set(one["memory"]["sample_id"])
    assert two["drawn"] == 6  # three steps in each of two epochs
    assert set(one["fisher"]) == set(_names(second))
    assert all((two["fisher"][name] >= one["fisher"][name]).all() for name in one["fisher"])
    assert sum(float(value.sum()) for value in two["fisher"].values()) > sum(
        float(value.sum()) for value in one["fisher"].values()
    )
    best = weights(second, "best")
    assert all(torch.equal(value, best[name]) for name, value in two["anchor"].items())
    rows = rundir.read_lines(RunDir(third).steps)
    assert all({"loss", "bce", "focal", "ewc", "lwf"} <= set(row) for row in rows)
    assert (rows[0]["ewc"], rows[-1]["ewc"] > 0) == (0.0, True)
    roles = {(record["dataset"], record["role"]) for record in rundir.read_json(third / "datasets.json")}
    assert roles == {("dfdc", "train"), ("celebdf", "weights"), ("ffpp", "weights")}
    assert checkpoint.load(RunDir(third).best)["licence"] == "unknown"


def _model(run: Path) -> Model:
    return checkpoint.trained(RunDir(run).best).model


def _names(run: Path) -> list[str]:
    return [name for name, _ in _model(run).named_parameters()]


def test_a_resumed_run_equals_an_uninterrupted_one(outs: list[Path], first: Path, tmp_path: Path) -> None:
    """Stopped in the second epoch, and inside the memory's own epoch; with workers, which read ahead."""
    few = (*ALL, "data.draws=48")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    learn(outs[1], whole, *few, after=first, workers=2, save_every=1)
    with pytest.raises(StoppedError):
        learn(outs[1], parts, *few, after=first, workers=2, save_every=1, callbacks=[StopBefore(8)])
    assert checkpoint.load(RunDir(parts).last)["regime"]["_extra_state"]["drawn"] == 8
    learn(outs[1], parts, *few, after=first, workers=2, save_every=1, resume=True)
    for name in ("last.ckpt", "best.ckpt"):
        assert same(*(checkpoint.load(each / "checkpoints" / name) for each in (parts, whole)))
    assert rundir.read_lines(RunDir(parts).steps) == rundir.read_lines(RunDir(whole).steps)


def test_two_ranks_equal_one(outs: list[Path], first: Path, tmp_path: Path) -> None:
    """Each step takes all new and all old pictures, on one device or shared by two."""
    few = (
        *(*ALL, "data.batch_size=24", "augment.cutmix.p=0", "augment.mixup.p=0", "model.dropout=0"),
        *("regime.memory.batch=20", "optimiser.lr=0.001", "data.shuffle.buffer=9"),
    )
    learn(outs[1], tmp_path / "one", *few, after=first)
    named = (f"model.pretrained={first}", f"regime.after={first}")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.runs", "regime", str(tmp_path / "two")]
    done = subprocess.run(
        [*command, str(outs[1]), *SETTINGS, *named, *few],
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one, two = (rundir.read_lines(RunDir(tmp_path / run).steps) for run in ("one", "two"))
    assert len(one) == len(two) == 2
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-6)
    ours, theirs = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-4) for name in ours)
    assert same(kept(tmp_path / "one")["memory"], kept(tmp_path / "two")["memory"])


def test_any_run_can_be_followed(outs: list[Path], tmp_path: Path) -> None:
    """One of another regime hands on no memory: its own record says what it was trained on."""
    plain = [one for one in SETTINGS if not one.startswith("regime.")]
    few = ("data.query=frame_index = 0", "epochs=1", "schedule.warmup_epochs=0")
    before = tmp_path / "plain"
    runs.train([str(outs[0])], before, *plain, *few, build=models.build)
    learn(outs[1], tmp_path / "next", "regime.ewc.weight=1", "regime.memory.replay=true", after=before)
    found = kept(tmp_path / "next")
    assert len(found["replayed"]["sample_id"]) == 13  # the first frame of twelve videos, one with two faces
    assert found["fisher"]


def test_what_cannot_be_followed_is_refused(outs: list[Path], first: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"model\.pretrained is none; set model\.pretrained={first}"):
        runs.recipe(*SETTINGS, f"regime.after={first}")
    with pytest.raises(SemblanceError, match="learns from, cannot be read"):
        learn(outs[1], tmp_path / "b", after=tmp_path / "nothing")
    with pytest.raises(UsageError, match="not the folder of a run; null is the first task"):
        runs.recipe(*SETTINGS, "regime.after=imagenet", "model.pretrained=imagenet")
    assert not any(tmp_path.iterdir())
    clips = models.build(TrainingRecipe.model_validate(_recipe()).model, pretrained=False)
    clips.members = 4
    with pytest.raises(UsageError, match="single pictures, not from clips"):
        regimes.build(ContinualConfig(), clips, losses.build(TrainingRecipe.model_validate(_recipe()).loss, clips))


def _recipe() -> dict[str, Any]:
    return runs.recipe(*SETTINGS).model_dump(mode="json")


def test_what_is_kept_goes_through_a_state_dict(first: Path) -> None:
    """Tensors and rows, no parameters and no pictures."""
    state = kept(first)
    assert set(state) == {"memory", "replayed", "drawn", "fisher", "anchor"}
    model = _model(first)
    loss = losses.build(RunDir(first).recipe().loss, model)
    regime = regimes.build(ContinualConfig(), model, loss)
    regime.set_extra_state(state)
    assert same(regime.get_extra_state(), state)
    assert not list(regime.parameters())
    assert nn.Module.state_dict(regime).keys() == {"_extra_state"}
    assert continual_fisher.penalty(model, *_zero(model)).item() == 0


def _zero(model: Model) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    ones = {name: torch.ones_like(one) for name, one in model.named_parameters()}
    return ones, {name: one.detach().clone() for name, one in model.named_parameters()}

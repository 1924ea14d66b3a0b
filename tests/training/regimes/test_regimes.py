"""What the loop does for any regime: its state, its begin, its validation, the runs that it learns from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training import recipes
from semblance.training.losses import Loss
from semblance.training.models import Model
from semblance.training.records import Batch
from semblance.training.regimes import REGIMES, Chance, Kind, Regime, RegimeConfig, Stage, Step
from semblance.training.runs import checkpoint, folder
from semblance.training.runs.folder import RunDir
from tests.training import runs
from tests.training.runs import StoppedError

pytestmark = [
    # lightning 2.6 asks torch 2.15 for a tree in a way that this deprecates
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]


class CountingConfig(RegimeConfig):
    labelled: ClassVar[bool] = False
    kind: Literal["counting"] = "counting"
    teacher: str | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        return () if self.teacher is None else (self.teacher,)


class Counting(Regime):
    """Learns the mean brightness of a picture from its embedding; its state counts batches and steps."""

    batches: Tensor
    steps: Tensor

    def __init__(self, config: CountingConfig, model: Model, loss: Loss) -> None:
        super().__init__(config, loss)
        self.head = nn.Linear(model.embedding_dim, 1)
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.begun: list[bool] = []
        self.places: list[float] = []

    def begin(self, model: Model, stage: Stage) -> None:
        del model
        self.begun.append(stage.resumed)
        self.first = self.head.weight.detach().clone()
        self.stage = stage

    def forward(self, model: Model, batch: Batch, chance: Chance) -> Step:
        image_BCHW = batch.image_BCHW + 0.01 * torch.rand(1, generator=chance.generator)
        error_B = self.head(model(image_BCHW).embedding_BD).squeeze(1) - image_BCHW.mean((1, 2, 3))
        loss = error_B.square().mean()
        if self.training:
            self.batches += 1
            self.places.append(chance.progress)
        return Step(loss=loss, parts={"loss": loss.detach(), "error": error_B.detach().abs().mean()})

    def stepped(self, model: Model) -> None:
        del model
        self.steps += 1

    def judge(self, model: Model, epoch: int) -> dict[str, float]:
        assert not model.training
        return {"epoch": float(epoch)}


@pytest.fixture(autouse=True)
def counting() -> Iterator[None]:
    with REGIMES.added("counting", Kind(config=CountingConfig, make=Counting)):
        yield


FEW = (
    "regime.kind=counting",
    "data.query=label = 0",
    "data.balanced_per_method=false",
    "data.draws=20",
    "data.batch_size=4",
    "augment.cutmix.p=0",
    "augment.mixup.p=0",
    "epochs=2",
)


class Watch(Callback):
    """Keeps the regime of a run, and stops it before a step."""

    regime: Any = None

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop

    def on_train_batch_start(self, _: Any, task: Any, *__: Any) -> None:
        self.regime = task.regime
        if task.step == self.stop:
            raise StoppedError


def test_a_regime_without_labels_from_begin_to_end(ffpp: Path, tmp_path: Path) -> None:
    run, watch, said = RunDir(tmp_path / "run"), Watch(), list[str]()
    ended = runs.train([str(ffpp)], run.path, *FEW, callbacks=[watch], say=said.append)
    assert watch.regime.begun == [False]
    assert watch.regime.places == [i / 10 for i in range(10)]
    rows = folder.read_lines(run.epochs)
    assert [row["val/epoch"] for row in rows] == [0, 1]
    assert {"val/loss", "val/error", "val/loss/ffpp", "val/error/ffpp"} <= set(rows[0])
    assert not any("auc" in name for row in rows for name in row)
    best = min(rows, key=lambda row: row["val/loss"])
    assert checkpoint.load(run.best)["epoch"] == best["epoch"] == ended.best_epoch
    assert ended.best_auc is None
    assert ended.told == f"lowest val loss {best['val/loss']:.4f}"
    state = checkpoint.load(run.last)["regime"]
    assert (int(state["batches"]), int(state["steps"])) == (10, 10)
    assert any(line == "regime: counting" for line in said)
    assert any(f"val loss {best['val/loss']:.4f}, val error" in line for line in said)
    # its head learns with the model, and only real pictures were asked for
    assert not torch.equal(state["head.weight"], watch.regime.first)
    assert watch.regime.stage.data.train.pictures["label"].unique().to_list() == [0]


def test_its_state_is_resumed_exactly(ffpp: Path, tmp_path: Path) -> None:
    whole, parts = RunDir(tmp_path / "whole"), RunDir(tmp_path / "parts")
    runs.train([str(ffpp)], whole.path, *FEW)
    with pytest.raises(StoppedError):
        runs.train([str(ffpp)], parts.path, *FEW, callbacks=[Watch(stop=7)])
    watch = Watch()
    runs.train([str(ffpp)], parts.path, *FEW, callbacks=[watch], resume=True)
    assert watch.regime.begun == [True]
    assert folder.read_lines(parts.steps) == folder.read_lines(whole.steps)
    assert folder.read_lines(parts.epochs) == folder.read_lines(whole.epochs)
    ours, theirs = (checkpoint.load(each.last)["regime"] for each in (parts, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_val_is_judged_the_same_way_after_every_epoch(ffpp: Path, tmp_path: Path) -> None:
    """With a rate of 0 nothing but chance could move the val loss; batch norm's statistics are none of the head's."""
    run = RunDir(tmp_path / "run")
    runs.train([str(ffpp)], run.path, *FEW, "optimiser.lr=1e-30", "optimiser.weight_decay=0", build=runs.plain)
    first, second = (row["val/loss"] for row in folder.read_lines(run.epochs))
    assert first == second


def test_what_a_stage_lends(ffpp: Path, tmp_path: Path) -> None:
    teacher, watch = tmp_path / "teacher", Watch()
    runs.train([str(ffpp)], teacher, "epochs=2", "data.draws=16", build=runs.plain)
    found: dict[str, Any] = {}

    class Look(Callback):
        def on_train_batch_start(self, _: Any, task: Any, *__: Any) -> None:
            if found:
                return
            stage = task.regime.stage
            pictures = list(stage.read(stage.data.train))
            found["ids"] = [name for batch in pictures for name in batch.sample_ids]
            drawn = stage.draw(stage.data.train, batch=4, seed=3)
            found["drawn"] = [next(drawn).sample_ids for _ in range(12)]
            later = stage.draw(stage.data.train, batch=4, seed=3, start=7)
            found["later"] = [next(later).sample_ids for _ in range(5)]
            found["state"] = stage.state(str(teacher))

    runs.train([str(ffpp)], tmp_path / "run", *FEW, "epochs=2", callbacks=[watch, Look()])
    train = watch.regime.stage.data.train
    assert sorted(found["ids"]) == sorted(train.pictures["sample_id"])
    assert found["drawn"][7:] == found["later"]
    assert found["state"]["step"] in (2, 4)


def test_the_runs_that_it_learns_from_are_kept_in_mind(ffpp: Path, dfdc: Path, tmp_path: Path) -> None:
    teacher, run = tmp_path / "teacher", RunDir(tmp_path / "run")
    runs.train([str(dfdc)], teacher, "epochs=2", "data.draws=16")
    few = (*FEW, f"regime.teacher={teacher}")
    with pytest.raises(StoppedError):
        runs.train([str(ffpp)], run.path, *few, callbacks=[Watch(stop=7)])
    records = folder.read_json(run.path / "datasets.json")
    assert [(one["name"], one["role"]) for one in records] == [("ffpp", "train"), ("dfdc", "weights")]
    (kept,) = folder.read_json(run.path / "run.json")["sources"].items()
    assert kept == (str(teacher), checkpoint.load(run.last)["sources"][str(teacher)])
    before = checkpoint.load(RunDir(teacher).best)
    checkpoint.save(RunDir(teacher).best, before | {"step": before["step"] + 1})
    with pytest.raises(SemblanceError, match=r"teacher has changed since .*last\.ckpt began to learn from it; put it"):
        runs.train([str(ffpp)], run.path, *few, resume=True)
    with pytest.raises(SemblanceError, match=r"none, which regime counting learns from, cannot be read \(No such"):
        runs.train([str(ffpp)], tmp_path / "other", *FEW, f"regime.teacher={tmp_path / 'none'}")


def test_bad_sections_are_reported() -> None:
    with pytest.raises(UsageError, match=r"unknown kind 'telepathy'; known kinds are .*supervised"):
        recipes.load("resnet50_small", ["regime.kind=telepathy"])
    with pytest.raises(UsageError, match=r"learns without labels, which augment\.mixup\.p changes; set it to 0"):
        recipes.load("resnet50_small", ["regime.kind=counting", "augment.mixup.p=0.1"])


def test_a_recipe_without_a_regime_is_supervised() -> None:
    values = recipes.load("resnet50_small").model_dump(mode="json")
    assert values.pop("regime") == {"kind": "supervised"}
    assert recipes.TrainingRecipe.model_validate(values).regime.kind == "supervised"

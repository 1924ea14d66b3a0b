"""A small detector and a short recipe, for tests of the loop in this and other processes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from semblance.training import models, recipes
from semblance.training.loop.fit import FitOptions, Fitted, fit
from semblance.training.loop.machine import Machine
from semblance.training.loop.powersgd import PowerSGD
from semblance.training.models import Model
from semblance.training.models.base import Head
from semblance.training.recipes import TrainingRecipe
from semblance.training.records import Output
from semblance.training.runs.folder import RunDir

SETTINGS = (
    "model.pretrained=none",
    "data.mix=null",
    "data.batch_size=8",
    "data.draws=52",
    "data.shuffle.buffer=9",
    "augment.size=32",
    "epochs=3",
    "early_stop=null",
    "optimiser.lr=0.01",
)


class Tiny(Model):
    """Two convolutions with dropout and, by default, batch norm: a model with buffers and randomness."""

    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        self.embedding_dim = 12
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(8, 12, 3, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = Head(12, 0.3 if norm else 0.0)

    def forward(self, image_BCHW: Tensor) -> Output:
        embedding_BD = self.body(image_BCHW - 0.5)
        return Output(logit_B=self.head(embedding_BD), embedding_BD=embedding_BD)


def tiny(config: Any, *, pretrained: bool) -> Model:
    del config, pretrained
    return Tiny()


def plain(config: Any, *, pretrained: bool) -> Model:
    """A model without batch norm and dropout, whose result does not depend on how a batch is divided."""
    del config, pretrained
    return Tiny(norm=False)


def recipe(*settings: str, name: str = "resnet50") -> TrainingRecipe:
    warmup = ("schedule.warmup_epochs=1",) if name == "resnet50" else ()
    return recipes.load(name, (*SETTINGS, *warmup, *settings))


class StoppedError(Exception):
    """Raised by a test to stop a run."""


class StopBefore(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, _: Any, task: Any, *__: Any) -> None:
        if task.step == self.step:
            raise StoppedError


def same(a: Any, b: Any) -> bool:
    """Equal bit by bit, through dictionaries and lists."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


class StopAt(Callback):
    """Kills the process after a number of Lightning's steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


class Terminate(Callback):
    """Sends SIGTERM to the first rank during its sixth step."""

    def on_train_batch_start(self, trainer: Any, task: Any, *_: Any) -> None:
        if trainer.is_global_zero and task.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)


class WriteRank(Callback):
    """At the end, each rank writes its weights and the compression rates of its gradients next to the run."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def on_train_end(self, trainer: Any, task: Any) -> None:
        powersgd = [callback for callback in trainer.callbacks if isinstance(callback, PowerSGD)]
        rates = [callback.state.compression_stats()[0] for callback in powersgd]
        result = {"model": task.model.state_dict(), "rates": rates}
        torch.save(result, self.run.with_name(f"{self.run.name}-rank{trainer.global_rank}.pt"))


def train(outs: list[str], run: Path, *settings: str, **options: Any) -> Fitted:
    """Train on one core without MLflow. ``options`` are those of ``Machine`` and ``FitOptions``."""
    torch.set_num_threads(1)  # with many small operations, threads mostly wait for each other
    machine = Machine(
        accelerator="cpu",
        workers=options.pop("workers", 0),
        save_every=options.pop("save_every", 3),
        **{name: options.pop(name) for name in ("log_every", "val_batch", "compile") if name in options},
        devices=options.pop("devices", None),
        powersgd=options.pop("powersgd", None),
        powersgd_after=2,
    )
    say, training_recipe = options.pop("say", lambda _: None), recipe(*settings, name=options.pop("name", "resnet50"))
    options = {"build": tiny, "tracking": None, **options}
    return fit(outs, training_recipe, RunDir(run), FitOptions(machine=machine, **options), say=say)


if __name__ == "__main__":  # python -m tests.training.runs KIND RUN OUT [SETTING ...]
    kind, folder, out, *more = sys.argv[1:]
    if kind == "killed":
        train([out], Path(folder), *more, workers=2, callbacks=[StopAt(11)])
    elif kind == "signalled":
        train([out], Path(folder), *more, build=plain, devices=2, log_every=4, save_every=99, callbacks=[Terminate()])
    elif kind == "regime":  # of the recipe's own model
        train([out], Path(folder), *more, build=models.build, devices=2, callbacks=[WriteRank(Path(folder))])
    else:
        rank = 1 if kind == "powersgd" else None
        train(
            [out],
            Path(folder),
            *more,
            build=plain,
            devices=2,
            powersgd=rank,
            resume=kind == "resumed",
            callbacks=[WriteRank(Path(folder))],
        )

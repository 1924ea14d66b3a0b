"""Real faces of a common structure that move, a small model, and short trainings, for tests of pretext tasks."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from semblance.manifests.records import Image
from semblance.training import losses, models
from semblance.training.data import query
from semblance.training.data.loader import DataConfig, Loader
from semblance.training.losses import Loss, LossConfig
from semblance.training.models import Model
from semblance.training.models.base import Head
from semblance.training.records import Batch, Output
from semblance.training.regimes import Chance, Regime
from semblance.training.regimes.pretext import Classes, Questions
from tests.training import builds, runs

PLAN = builds.Plan(families=24, methods=(), frames=6, two_faces=0, per_shard=12, splits=("train", "val"))
PICTURES = 12 * PLAN.frames  # in val


@lru_cache
def _common() -> Image:
    coarse = np.random.default_rng(0).uniform(0, 1, (8, 8, 3)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (builds.SIDE, builds.SIDE), interpolation=cv2.INTER_CUBIC))


def face(person: str, frame: int, label: int) -> Image:
    """What all people share, colours of the person, and a bright bar that crosses the picture in 25 frames."""
    rng = np.random.default_rng([*person.encode(), frame, label])
    tint = np.random.default_rng([*person.encode()]).uniform(-0.1, 0.1, 3)
    image = 0.2 + 0.5 * _common() + tint + rng.normal(0, 0.02, (builds.SIDE, builds.SIDE, 3))
    image[:, 2 + frame : 5 + frame] += 0.4
    return np.asarray(np.clip(image * 255, 0, 255), np.uint8)


def still(person: str, frame: int, label: int) -> Image:
    """The face of the first frame, in every frame."""
    del frame
    return face(person, 0, label)


def speckle(person: str, frame: int, label: int) -> Image:
    """Independent pixels."""
    rng = np.random.default_rng([*person.encode(), frame, label])
    return rng.integers(0, 256, (builds.SIDE, builds.SIDE, 3), np.uint8)


class Small(Model):
    """Two convolutions and a layer over all places: no batch norm, no dropout."""

    def __init__(self, side: int = builds.SIDE) -> None:
        super().__init__()
        self.embedding_dim = 48
        self.body = nn.Sequential(
            nn.Conv2d(3, 12, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(12, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(side**2, 48),
        )
        self.head = Head(48, 0.0)

    def forward(self, image_BCHW: Tensor) -> Output:
        embedding_BD = self.body(4 * (image_BCHW - 0.5))
        return Output(logit_B=self.head(embedding_BD), embedding_BD=embedding_BD)


def loss() -> Loss:
    return losses.build(LossConfig(), Small())


def chance(epoch: int = 0) -> Chance:
    return Chance(seed=0, generator=torch.Generator().manual_seed(0), epoch=epoch, progress=0.0)


def batches(out: Path, split: str, config: DataConfig) -> Iterator[Batch]:
    """The batches of one epoch after another."""
    loader = Loader(query.select([str(out)], split, config, config), batch=config.batch_size, config=config)
    while True:
        yield from loader


def batch(out: Path, split: str, **settings: Any) -> Batch:
    """All of a split, in one batch."""
    config = DataConfig(balanced_per_method=False, **settings)
    units = query.select([str(out)], split, config, config).units.height
    return next(batches(out, split, config.model_copy(update={"batch_size": units})))


def learn(
    make: Callable[[Model], Regime], out: Path, epochs: int, *, lr: float = 3e-3, **settings: Any
) -> tuple[Regime, Model]:
    """Train a regime and a small model on train."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Small()
    regime = make(model)
    optimiser = torch.optim.AdamW([*model.parameters(), *regime.parameters()], lr=lr)
    config = DataConfig(balanced_per_method=False, **{"batch_size": 24, **settings})
    loader = Loader(query.select([str(out)], "train", config, config), batch=config.batch_size, config=config)
    for epoch in range(epochs):
        for one in loader:
            optimiser.zero_grad()
            regime(model, one, chance(epoch)).loss.backward()
            optimiser.step()
    return regime, model


def shuffled(kind: type[Classes]) -> type[Classes]:
    """The regime, with its answers exchanged at random."""

    class Shuffled(kind):  # type: ignore[misc, valid-type]
        def ask(self, batch: Batch, epoch: int) -> Questions:
            asked = super().ask(batch, epoch)
            order = torch.randperm(len(asked.answer_Q), generator=torch.Generator().manual_seed(epoch))
            return Questions(image_BCHW=asked.image_BCHW, answer_Q=asked.answer_Q[order], fair_Q=asked.fair_Q)

    return Shuffled


def three_sigma(classes: int, count: int) -> float:
    """Three standard deviations of the accuracy of a guess over ``count`` pictures."""
    return 3 * math.sqrt((classes - 1) / classes**2 / count)


RUNS: dict[str, tuple[str, ...]] = {
    "rotation_resnet50_small": (),
    "jigsaw_resnet50_small": ("regime.grid=2",),
    "order_resnet50_small": (),
    "mae_vit_s_small": ("model.arch=test_vit.r160_in1k", "model.size=32", "regime.width=16", "regime.heads=2"),
}


def run(out: Path, folder: Path, recipe: str, *settings: str, **options: Any) -> None:
    """A short run of a recipe with a small model; of masked autoencoding with its own kind of model."""
    options = {"build": models.build if recipe.startswith("mae") else runs.plain, **options}
    runs.train([str(out)], folder, *RUNS[recipe], *settings, name=recipe, **options)


if __name__ == "__main__":  # python -m tests.training.regimes.puzzles OUT RUN RECIPE [SETTING ...], on two ranks
    build_folder, to, named, *more = sys.argv[1:]
    run(Path(build_folder), Path(to), named, *more, devices=2)

"""Runs of each kind of model with batch norms that have seen pictures, so that their logits are of a usual size."""

from __future__ import annotations

from pathlib import Path

import torch

from semblance.training import models, recipes
from semblance.training.models import Model
from semblance.training.models.base import Head
from semblance.training.models.f3net import F3Net
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import RunDir
from tests.training import untrained

KINDS = {
    "resnet": ("resnet50", ("model.arch=test_resnet.r160_in1k", "augment.size=32")),
    "efficientnet": (
        "efficientnet_b4",
        ("model.arch=test_efficientnet.r160_in1k", "augment.size=48", "model.dropout=0.2"),
    ),
    "mirrored": ("resnet50", ("model.arch=test_resnet.r160_in1k", "augment.size=48", "tta=mirror")),
    "f3net": ("f3net", ("model.width=0.05", "model.size=32", "augment.size=32")),
}


def make(folder: Path, out: Path, kind: str) -> Path:
    """Write a run of that kind, as if it had been trained on a build."""
    torch.set_num_threads(1)  # with many small operations, threads mostly wait for each other
    name, settings = KINDS[kind]
    recipe = recipes.load(name, ("model.pretrained=none", *settings))
    torch.manual_seed(0)
    model = settled(models.build(recipe.model), recipe.augment.size)
    datasets = [untrained.trained(out)]
    run = RunDir(folder)
    run.begin(recipe, datasets, 0)
    values = {"epoch": 0, "step": 1, "figures": {}, "loss": {}, "average": None}
    described = {"recipe": recipe.model_dump(mode="json"), "datasets": datasets, "model": model.state_dict()}
    checkpoint.save(run.best, described | values)
    return folder


def settled(model: Model, size: int) -> Model:
    """The model with running means, and with MixBlocks that are open."""
    if isinstance(model, F3Net):
        with torch.no_grad():
            for block in (model.mix7, model.mix12):
                assert block is not None
                block.gain_fad.fill_(0.3)
                block.gain_lfs.fill_(-0.4)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None  # a plain mean
    if isinstance(head := getattr(model, "head", None), Head):
        with torch.no_grad():
            head.linear.weight.mul_(10)
    model.train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.rand(8, 3, size, size) * torch.rand(8, 3, 1, 1))
    return model.eval()

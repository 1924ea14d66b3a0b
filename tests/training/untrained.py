"""Run folders without training: a very small ResNet with random weights, as ``training fit`` would leave it."""

from __future__ import annotations

from pathlib import Path

import torch

from semblance.manifests import build_files
from semblance.training import models, recipes
from semblance.training.data import isolation, query
from semblance.training.guard import ids, leaks, seen
from semblance.training.models import Model
from semblance.training.recipes import TrainingRecipe
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import RunDir

SETTINGS = (
    "model.arch=test_resnet.r160_in1k",
    "model.pretrained=none",
    "data.mix=null",
    "augment.size=32",
    "epochs=6",
)


def recipe(*settings: str) -> TrainingRecipe:
    return recipes.load("resnet50", (*SETTINGS, *settings))


def make(folder: Path, outs: list[Path], *settings: str, seed: int = 0, gain: float = 1.0) -> Path:
    """Write a run whose model returns ``gain`` times the logits of a network initialised by ``seed``."""
    torch.set_num_threads(1)  # with many small operations, threads mostly wait for each other
    training_recipe = recipe(*settings)
    torch.manual_seed(seed)
    model = models.build(training_recipe.model, pretrained=False)
    with torch.no_grad():
        for parameter in model.head.linear.parameters():
            parameter.mul_(gain)
    datasets = [trained(out) for out in outs]
    named = [str(out) for out in outs]
    parts = [
        *isolation.records("trained", query.select(named, "train")),
        *isolation.records("selected", query.select(named, "val", unlabelled=True)),
    ]
    run = RunDir(folder)
    run.begin(training_recipe, datasets, 0)
    checkpoint.save(
        run.best,
        {
            "recipe": training_recipe.model_dump(mode="json"),
            "datasets": datasets,
            "seen": seen.union(parts).state(),
            "epoch": 0,
            "step": 1,
            "figures": {},
            "model": model.state_dict(),
            "loss": {},
            "average": None,
        },
    )
    return folder


def model(folder: Path) -> Model:
    return checkpoint.trained(folder / "checkpoints" / "best.ckpt").model


def trained(out: Path) -> dict[str, object]:
    described = build_files.finished(str(out))
    named = described["dataset"] == "ffpp"
    return {
        "name": described["dataset"],
        "out": str(out),
        "dataset": described["dataset"],
        "fingerprint": described["fingerprint"],
        "role": "train",
        "recipe": described.get("recipe"),
        "by_authors": False,
        "lineage": sorted(leaks.lineage(described)),
        "promises": sorted(leaks.promises(ids.read(str(out)), "split")),
        "split_column": "split",
        "methods": ["Deepfakes"] if named else [],
        "unnamed_methods": not named,
        "compressions": [],
    }

"""A new model and its recipe: trained, saved, and loaded by its kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from semblance.manifests.config import parse
from semblance.manifests.errors import UsageError
from semblance.training import recipes
from semblance.training.loop.fit import FitOptions, fit
from semblance.training.loop.machine import Machine
from semblance.training.models import MODELS, Model, ModelConfig, build, register
from semblance.training.models.base import Head
from semblance.training.recipes import NAMED, TrainingRecipe
from semblance.training.recipes.base import READINGS
from semblance.training.records import Output
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import RunDir


class PatchConfig(ModelConfig):
    """``dim``: size of the embedding."""

    kind: Literal["patch"] = "patch"
    dim: int = Field(default=8, ge=1)


class Patch(Model):
    """One convolution over patches of 8 px, averaged."""

    def __init__(self, config: PatchConfig, pretrained: str) -> None:
        super().__init__()
        assert pretrained == "none"
        self.embedding_dim = config.dim
        self.patches = nn.Conv2d(3, config.dim, 8, stride=8)
        self.head = Head(config.dim, 0.1)

    def forward(self, image_BCHW: Tensor) -> Output:
        embedding_BD = self.patches(image_BCHW).mean((2, 3))
        return Output(logit_B=self.head(embedding_BD), embedding_BD=embedding_BD)


@pytest.fixture
def patch() -> Iterator[None]:
    register(PatchConfig)(Patch)
    base = NAMED["resnet50"]
    changes = {"name": "patch", "model": PatchConfig(), "early_stop": None, "epochs": 1}
    recipe = base.model_copy(
        update=changes
        | {
            "data": base.data.model_copy(update={"mix": None, "batch_size": 8}),
            "augment": base.augment.model_copy(update={"size": 32}),
            "schedule": base.schedule.model_copy(update={"warmup_epochs": 0}),
        }
    )
    recipes.register(recipe, {"patch_wide": {"model.dim": 16}}, ("It was invented.",))
    yield
    MODELS.remove("patch")
    for name in ("patch", "patch_wide"):
        NAMED.remove(name)
    del READINGS["patch"]


@pytest.mark.usefixtures("patch")
def test_a_model_and_its_recipe_are_all_that_training_needs(dfdc: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)  # with many small operations, threads mostly wait for each other
    recipe = recipes.load("patch_wide", ["model.dim=12"])
    assert isinstance(recipe.model, PatchConfig)
    assert recipes.changes(recipe) == ["model.dim: 16 -> 12"]
    assert recipes.readings(recipe) == ("It was invented.",)
    assert parse(TrainingRecipe, recipe.model_dump(mode="json"), "again") == recipe
    assert recipe.model_dump(mode="json")["model"] == {"pretrained": "none", "kind": "patch", "dim": 12}
    assert recipes.load("resnet50", ["model.kind=patch"]).model == PatchConfig()
    run = RunDir(tmp_path / "run")
    options = FitOptions(machine=Machine(accelerator="cpu", workers=0), tracking=None)
    fit([str(dfdc)], recipe, run, options, say=lambda _: None)
    trained = checkpoint.trained(run.best)
    assert trained.recipe == recipe
    assert isinstance(trained.model, Patch)
    assert trained.model(torch.rand(2, 3, 32, 32)).embedding_BD.shape == (2, 12)


@pytest.mark.usefixtures("patch")
@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.dim=0", "wrong value for 'model.dim'"),
        ("model.depth=3", "unknown key 'model.depth'; known keys here are dim, kind, pretrained"),
        (
            "model.kind=swin",
            "unknown kind 'swin'; known kinds are efficientnet, f3net, mobilenet, resnet, temporal, vit, patch",
        ),
        ("model=3", "wrong value for 'model': expected a section with the key kind, not 3"),
    ],
)
def test_its_errors_are_one_sentence(setting: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipes.load("patch", [setting])
    assert words in str(caught.value)


def test_a_model_that_no_longer_exists_is_refused() -> None:
    known = r"efficientnet, f3net, mobilenet, resnet, temporal, vit\."
    with pytest.raises(UsageError, match=rf"Unknown model 'patch'; model\.kind accepts {known}"):
        build(PatchConfig())

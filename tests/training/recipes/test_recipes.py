"""The recipes against the plan's table, line by line, and how recipes are loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from semblance.manifests import config
from semblance.manifests.errors import UsageError
from semblance.training import losses, models, recipes
from semblance.training.recipes import efficientnet_b4, f3net, resnet50, vit
from semblance.training.recipes.base import ON_DEVICE
from semblance.training.regimes import REGIMES
from tests.conftest import REPOSITORY

# The plan's table: path in the recipe -> value; None means absent.
TABLE: dict[str, dict[str, Any]] = {
    "resnet50": {
        "model.kind": "resnet",
        "model.arch": "resnet50.a1_in1k",
        "model.pretrained": "imagenet",
        "optimiser.kind": "adamw",
        "optimiser.lr": 1e-4,
        "optimiser.weight_decay": 1e-4,
        "schedule.kind": "cosine",
        "schedule.warmup_epochs": 5,
        "data.batch_size": 32,
        "accumulate": 1,
        "epochs": 50,
        "precision": "mixed",
        "loss.bce.weight": 0.8,
        "loss.focal.weight": 0.2,
        "loss.focal.alpha": 0.7,
        "loss.focal.gamma": 2.0,
        "loss.arcface.weight": 0,
        "loss.centre.weight": 0,
        "model.dropout": 0.5,
        "loss.bce.smoothing": 0.1,
        "augment.mixup.p": 0.3,
        "augment.mixup.alpha": 0.2,
        "augment.cutmix.p": 0.3,
        "augment.cutmix.alpha": 1.0,
        "data.mix.ffpp": 0.60,
        "data.mix.dfdc": 0.25,
        "data.mix.celebdf": 0.15,
        "data.balanced_per_method": True,
        "clip_norm": 1.0,
        "early_stop": 10,
        "ema_decay": None,
        "tta": "none",
    },
    "efficientnet_b4": {
        "model.kind": "efficientnet",
        "model.arch": "tf_efficientnet_b4.ap_in1k",
        "model.pretrained": "imagenet",
        "optimiser.kind": "rmsprop_tf",
        "optimiser.lr": 0.016,
        "optimiser.momentum": 0.9,
        "optimiser.weight_decay": 1e-5,
        "optimiser.alpha": 0.9,
        "optimiser.eps": 1e-3,
        "schedule.kind": "exponential",
        "schedule.gamma": 0.97,
        "data.batch_size": 16,
        "accumulate": 2,
        "epochs": 60,
        "precision": "mixed",
        "loss.bce.weight": 0.7,
        "loss.bce.smoothing": 0,
        "loss.focal.weight": 0,
        "loss.arcface.weight": 0.3,
        "loss.arcface.margin": 0.5,
        "loss.arcface.scale": 16,
        "loss.centre.weight": 0,
        "model.drop_path": 0.2,
        "ema_decay": 0.9999,
        "data.mix.ffpp": 0.50,
        "data.mix.dfdc": 0.30,
        "data.mix.celebdf": 0.20,
        "tta": "mirror",
        "clip_norm": None,
        "early_stop": None,
    },
    "f3net": {
        "model.kind": "f3net",
        "model.mode": "mix",
        "model.pretrained": "none",
        "model.width": 1.0,
        "optimiser.kind": "adam",
        "optimiser.lr": 5e-4,
        "optimiser.betas": [0.9, 0.999],
        "optimiser.weight_decay": 0,
        "schedule.kind": "plateau",
        "schedule.patience": 5,
        "data.batch_size": 24,
        "accumulate": 1,
        "epochs": 80,
        "loss.bce.weight": 1.0,
        "loss.bce.smoothing": 0,
        "loss.focal.weight": 0,
        "loss.arcface.weight": 0,
        "loss.centre.weight": 0.3,
        "loss.centre.margin": 0.3,
        "model.spatial_dropout": 0.3,
        "model.frequency_dropout": 0.2,
        "model.spectral_norm": True,
        "data.mix": None,
        "clip_norm": None,
        "early_stop": None,
        "ema_decay": None,
        "tta": "none",
    },
}
# The plan's augmentation, which all three share.
AUGMENT = {
    "p": 0.7,
    "size": 224,
    "flip": 0.5,
    "rotation.degrees": 15,
    "crop.scale": [0.8, 1.0],
    "jitter.brightness": 0.2,
    "jitter.contrast": 0.2,
    "jitter.saturation": 0.2,
    "jitter.hue": 0.1,
    "gridmask.cells": 3,
    "gridmask.p": 0.2,
    "jpeg.quality": [70, 95],
}
LINES = [(name, key, value) for name, lines in TABLE.items() for key, value in lines.items()]
LINES += [(name, f"augment.{key}", value) for name in TABLE for key, value in AUGMENT.items()]


def at(name: str, key: str) -> Any:
    value: Any = recipes.load(name).model_dump(mode="json")
    for part in key.split("."):
        value = value[part]
    return value


@pytest.mark.parametrize(("name", "key", "value"), LINES)
def test_table(name: str, key: str, value: Any) -> None:
    assert at(name, key) == value


def test_emphasis() -> None:
    """What the table states in words: more augmentation than in the plain recipe, of the right kind."""
    plain, advanced, frequency = (recipes.load(name).augment for name in TABLE)
    for words in (advanced, frequency):
        assert words.jpeg.p > plain.jpeg.p
        assert words.compression.p > plain.compression.p
        assert words.frequency.p > plain.frequency.p
    assert frequency.frequency.start > plain.frequency.start
    assert advanced.policy.p > 0
    assert advanced.self_blend.p > 0
    assert frequency.cutmix.p == frequency.mixup.p == 0


@pytest.mark.parametrize("plan", [resnet50, efficientnet_b4, f3net, vit])
def test_variants_change_what_they_list_and_nothing_else(plan: Any) -> None:
    for name, changes in plan.VARIANTS.items():
        variant = recipes.load(name)
        assert variant.base == plan.RECIPE.name
        said = {line.partition(":")[0] for line in recipes.changes(variant)}
        assert {key for key in said if not key.startswith("data.mix.")} == set(changes)
        for key, value in changes.items():
            assert at(name, key) == value
        assert all(at(plan.RECIPE.name, key) != value for key, value in changes.items())


def test_the_plans_recipes_augment_on_the_device_and_small_ones_in_the_workers() -> None:
    for name in recipes.NAMED:
        assert at(name, "augment.on") == ("workers" if name.endswith("_small") else "device")


def test_second_recipes() -> None:
    assert {"efficientnet_b4_scaled", "f3net_pretrained"} < set(recipes.NAMED)
    scaled = recipes.load("efficientnet_b4_scaled")
    assert (scaled.units, scaled.lr) == (32, 0.002)
    assert recipes.load("efficientnet_b4_scaled", ["data.batch_size=128", "scale_lr=sqrt"]).lr == pytest.approx(0.016)
    assert recipes.load("efficientnet_b4_scaled", ["data.batch_size=32", "scale_lr=sqrt"]).lr == pytest.approx(0.008)
    assert recipes.load("efficientnet_b4").lr == 0.016
    with pytest.raises(UsageError, match="scale_lr needs lr_batch"):
        recipes.load("resnet50", ["scale_lr=linear"])
    assert at("f3net_pretrained", "model.pretrained") == "imagenet"


def test_readings_follow_the_base(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: efficientnet_b4_scaled\n")
    for one in (recipes.load("efficientnet_b4"), recipes.load(str(file))):
        assert recipes.readings(one) == efficientnet_b4.READINGS
    small = recipes.load("efficientnet_b4_small")  # augments in the workers
    assert set(efficientnet_b4.READINGS) - set(recipes.readings(small)) == {ON_DEVICE}
    assert recipes.readings(f3net.RECIPE) == f3net.READINGS != resnet50.READINGS


@pytest.mark.parametrize("name", recipes.NAMED)
def test_every_recipe_can_be_built_and_saved(name: str) -> None:
    one = recipes.load(name)
    assert one == recipes.NAMED[name] == config.parse(recipes.TrainingRecipe, one.model_dump(mode="json"), name)
    if name == "temporal_small":
        with pytest.raises(UsageError, match=r"--set model\.frames_from=RUN"):
            models.build(one.model)
    elif name.endswith("_small"):
        model = models.build(one.model)
        assert losses.build(one.loss, model).config == one.loss


def test_a_file_holds_only_its_changes(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: resnet50\nepochs: 9\nschedule: {kind: plateau, patience: 2}\nmodel: {dropout: 0.1}\n")
    mine = recipes.load(str(file), ["data.batch_size=8"])
    assert (mine.name, mine.base, mine.epochs) == ("mine (changed)", "resnet50", 9)
    assert mine.schedule.model_dump() == {"kind": "plateau", "patience": 2, "factor": 0.1}
    assert mine.model == resnet50.RECIPE.model.model_copy(update={"dropout": 0.1})
    assert mine.loss == resnet50.RECIPE.loss
    assert "data.batch_size: 32 -> 8" in recipes.changes(mine)
    assert recipes.changes(resnet50.RECIPE) == []


def test_settings() -> None:
    mine = recipes.load("f3net", ["model.mode=lfs", "optimiser.kind=rmsprop_tf", "optimiser.lr=0.1"])
    assert mine.model.model_dump()["mode"] == "lfs"
    assert mine.optimiser.model_dump() == {
        "kind": "rmsprop_tf",
        "lr": 0.1,
        "alpha": 0.9,
        "eps": 1e-3,
        "momentum": 0.9,
        "weight_decay": 1e-5,
    }


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["model.kin=resnet"], "unknown key 'model.kin'"),
        (["model.kind=swin"], "unknown kind 'swin'"),
        (["optimiser.momentum=0.9"], "unknown key 'optimiser.momentum'; known keys here are betas, kind, lr"),
        (["loss.bce.smoothing=2"], "wrong value for 'loss.bce.smoothing'"),
        (["epochs=5"], "warmup_epochs"),
        (["epochs"], "no value"),
        (["augment.cutmix.p=0.6", "augment.mixup.p=0.6"], "more than 1"),
    ],
)
def test_errors_are_one_sentence(settings: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipes.load("resnet50", settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Unknown recipe 'resnet51'.*resnet50"):
        recipes.load("resnet51")
    file = tmp_path / "mine.yaml"
    file.write_text("base: resnet51\n")
    with pytest.raises(UsageError, match="unknown base 'resnet51'"):
        recipes.load(str(file))
    file.write_text("epochs: 3\n")
    with pytest.raises(UsageError, match="'model'"):
        recipes.load(str(file))


def test_the_mix_of_a_file_replaces_that_of_its_base(tmp_path: Path) -> None:
    """It was merged with it: a file that asked for dfdc alone was trained on three datasets."""
    file = tmp_path / "mine.yaml"
    file.write_text("base: resnet50\ndata: {mix: {dfdc: 1.0}, batch_size: 8}\n")
    mine = recipes.load(str(file))
    assert mine.data.mix == {"dfdc": 1.0}
    assert (mine.data.batch_size, mine.data.balanced_per_method) == (8, True)
    assert recipes.load(str(file), ["data.mix={ffpp: 1}"]).data.mix == {"ffpp": 1.0}


@pytest.mark.parametrize("mix", ["{ffpp: 1, dfcd: 2}", "{FFPP: 1}"])
def test_a_mix_names_datasets_that_exist(mix: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"base: f3net\ndata: {{mix: {mix}}}\n")
    for one, settings in (("resnet50", [f"data.mix={mix}"]), (str(file), [])):
        with pytest.raises(UsageError, match=r"unknown dataset '(dfcd|FFPP)' in 'data.mix'; datasets are celebdf"):
            recipes.load(one, settings)


def test_a_changed_recipe_has_another_name() -> None:
    """Page and tracker showed the plan's name for a recipe that was no longer the plan's."""
    mine = recipes.load("resnet50_small", ["epochs=9", "schedule.warmup_epochs=1"])
    assert (mine.name, mine.base) == ("resnet50_small (changed)", "resnet50_small")
    assert recipes.changes(mine) == ["epochs: 8 -> 9"]
    assert set(resnet50.READINGS) - set(recipes.readings(mine)) == {ON_DEVICE}  # it augments in the workers
    assert recipes.load("resnet50_small", ["epochs=8"]) == recipes.load("resnet50_small")
    named = recipes.load("f3net", ["name=mine", "epochs=3"])
    assert (named.name, named.base) == ("mine", "f3net")
    assert recipes.changes(named) == ["epochs: 80 -> 3"]


def test_the_size_of_the_model_follows_that_of_the_pictures(tmp_path: Path) -> None:
    """F3-Net's masks stayed at 224 px when pictures had 299."""
    file = tmp_path / "mine.yaml"
    file.write_text("base: f3net_small\naugment: {size: 160}\n")
    for one, settings, size in (
        ("f3net", ["augment.size=299"], 299),
        ("f3net", ["augment.size=299", "model.size=256"], 256),
        ("f3net", ["model.size=64"], 64),
        (str(file), [], 160),
        (str(file), ["augment.size=96"], 96),
    ):
        assert recipes.load(one, settings).model.model_dump()["size"] == size
    assert recipes.load(str(file)).name == "mine"
    assert recipes.load("resnet50", ["augment.size=299"]).augment.size == 299
    with pytest.raises(UsageError, match=r"'model.size'"):
        recipes.load("f3net", ["augment.size=16"])


def test_transformers_take_pictures_of_their_own_size() -> None:
    assert recipes.load("vit_l_norms", ["augment.size=336"]).model.model_dump()["size"] == 336
    for settings in (["model.size=336"], ["augment.size=112", "model.size=224"]):
        with pytest.raises(UsageError, match=r"augment\.size\) to a model of \d+ px \(model\.size\); set both"):
            recipes.load("vit_l_norms", settings)


def test_the_norms_of_a_transformer_are_tuned_as_in_gend() -> None:
    """And its small form differs from its baseline in what is trained and how, not in the number of pictures."""
    for name in ("vit_l_norms", "vit_pe_l_norms", "vit_dinov3_l_norms", "vit_s_norms_small"):
        for key, value in {
            "model.kind": "vit",
            "model.trainable": "norms",
            "model.unit_length": True,
            "loss.bce.weight": 1.0,
            "loss.uniformity.weight": 0.5,
            "loss.alignment.weight": 0.1,
            "optimiser.kind": "adamw",
            "optimiser.lr": 3e-4,
            "optimiser.weight_decay": 0,
            "data.mode": "pairs",
            "augment.jpeg.quality": [40, 100],
            "augment.rotation.degrees": 10,
        }.items():
            assert at(name, key) == value, name
    large = recipes.load("vit_l_norms")
    assert (large.epochs, 2 * large.units) == (30, 512)
    assert "GenD" in recipes.readings(large)[0]
    tuned, plain = recipes.load("vit_s_norms_small"), recipes.load("vit_s_plain_small")
    assert tuned.data.draws is not None
    assert plain.data.draws == 2 * tuned.data.draws
    assert (plain.units, plain.epochs) == (2 * tuned.units, tuned.epochs)
    weights = {part: values["weight"] for part, values in plain.loss.model_dump().items() if values["weight"]}
    assert weights == {"bce": 1.0}
    assert (at("vit_s_plain_small", "model.trainable"), at("vit_s_plain_small", "model.unit_length")) == ("all", False)
    assert tuned.augment == plain.augment


def test_the_demo_trains_a_small_transformer_too() -> None:
    recipe = recipes.load(str(REPOSITORY / "examples" / "demo-train" / "vit.yaml"))
    assert (recipe.name, recipe.base, recipe.model.kind) == ("vit_demo", "vit_s_plain_small", "vit")
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    examples = {file.stem for file in (REPOSITORY / "examples" / "demo-train").iterdir()}
    named = re.findall(r"^(?:MODELS|ALONE) := (.*)$", makefile, re.MULTILINE)
    assert set(" ".join(named).split()) == examples


@pytest.mark.parametrize("model", ["resnet50", "efficientnet_b4", "f3net"])
def test_the_demo_trains_small_forms_of_the_models(model: str) -> None:
    recipe = recipes.load(str(REPOSITORY / "examples" / "demo-train" / f"{model}.yaml"))
    assert (recipe.name, recipe.base) == (f"{model}_demo", f"{model}_small")
    assert recipe.data.mode == "pairs"
    assert recipe.model.kind == recipes.NAMED[model].model.kind


def test_the_advanced_demo_shows_every_regime() -> None:
    folder = REPOSITORY / "examples" / "demo-advanced"
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    looped = re.findall(r"^REGIMES := (.*)$", makefile, re.MULTILINE)[0].split()
    alone = re.findall(r"demo-advanced/(\w+)\.yaml", makefile)
    assert set(looped) | set(alone) == {file.stem for file in folder.iterdir()}
    shown = [recipes.load(str(file)) for file in folder.iterdir()]
    assert {recipe.regime.kind for recipe in shown} == set(REGIMES)
    assert all(recipe.base in recipes.NAMED for recipe in shown)


@pytest.mark.parametrize("name", ["xception", "resnet50_plain", "efficientnet_b4_plain"])
def test_baselines_are_their_network_and_cross_entropy_alone(name: str) -> None:
    """One linear layer over the network, one loss, no dropout; the small form differs in size alone."""
    small = recipes.load(f"{name}_small")
    model = models.build(small.model, pretrained=False)
    assert not any(isinstance(part, nn.Dropout | nn.Dropout2d) and part.p for part in model.modules())
    assert not [part for part in model.modules() if is_parametrized(part)]
    assert model.frequency_dim is None
    for recipe in (recipes.load(name), small):
        weights = {part: values["weight"] for part, values in recipe.loss.model_dump().items() if values["weight"]}
        assert (weights, recipe.loss.bce.smoothing) == ({"bce": 1.0}, 0.0)
        assert (recipe.optimiser.lr, recipe.data.batch_size, recipe.ema_decay, recipe.tta) == (2e-4, 32, None, "none")
    changed = {change.partition(":")[0] for change in recipes.changes(small)}
    assert changed <= {
        "model.pretrained",
        "model.width",
        "model.size",
        "model.arch",
        "augment.on",
        "augment.size",
        "epochs",
    }
    logit_B = model.eval()(torch.rand(2, 3, 64, 64)).logit_B
    assert logit_B.shape == (2,)

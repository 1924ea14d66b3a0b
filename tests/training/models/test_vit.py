"""Vision transformers: what is trained and what stays, their weights' own form, and checkpoints of the tuned part."""

from __future__ import annotations

import copy
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import timm
import torch
from lightning.pytorch import Callback
from torch import nn

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training import models, recipes
from semblance.training.inference import predictor
from semblance.training.loop.fit import FitOptions, Fitted, fit
from semblance.training.loop.machine import Machine
from semblance.training.models import tuned
from semblance.training.models.base import freeze
from semblance.training.models.resnet import ResNetConfig
from semblance.training.models.vit import ViTConfig
from semblance.training.optim import Average
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import RunDir

ARCH: Final = "test_vit.r160_in1k"
SETTINGS: Final = (
    "model.kind=vit",
    f"model.arch={ARCH}",
    "model.size=32",
    "augment.size=32",
    "data.mix=null",
    "data.batch_size=8",
    "data.draws=24",
    "epochs=2",
    "schedule.warmup_epochs=1",
    "early_stop=null",
    "optimiser.lr=0.01",
)
WAYS: Final = ("norms", "biases", "head", "lora", "all")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of weights of the small transformer, with position embeddings for 160 px."""
    torch.manual_seed(1)
    file = tmp_path / "weights.pth"
    torch.save(timm.create_model(ARCH).state_dict(), file)
    return file


def train(out: Path, run: Path, *settings: str, **options: Any) -> Fitted:
    machine = Machine(accelerator="cpu", workers=0, save_every=2, devices=options.pop("devices", None))
    recipe = recipes.load("resnet50", (*SETTINGS, *settings))
    say = options.pop("say", lambda _: None)
    return fit([str(out)], recipe, RunDir(run), FitOptions(machine=machine, tracking=None, **options), say=say)


def hashes(model: nn.Module) -> dict[str, str]:
    """Of every parameter and buffer, those outside the state_dict too."""
    every = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: hashlib.sha256(value.detach().numpy().tobytes()).hexdigest() for name, value in every.items()}


def expected(model: nn.Module, way: str) -> set[str]:
    """The names of what ``way`` trains, by an own count of the network's parts."""
    names = {name for name, _ in model.named_parameters()}
    head = {"head.linear.weight", "head.linear.bias"}
    match way:
        case "all":
            return names
        case "head":
            return head
        case "biases":
            return head | {name for name in names if name.endswith("bias")}
        case "lora":
            return head | {name for name in names if name.endswith(("a_RI", "b_OR"))}
    return head | {name for name in names if ".norm" in name}


@pytest.mark.parametrize("way", WAYS)
def test_training_changes_the_chosen_and_no_other(dfdc: Path, tmp_path: Path, weights: Path, way: str) -> None:
    """By the hash of every tensor before and after a real run, of the weights and of their moving average."""
    run, settings = tmp_path / "run", (f"model.trainable={way}", f"model.pretrained={weights}", "model.drop_path=0.1")
    recipe = recipes.load("resnet50", (*SETTINGS, *settings))
    torch.manual_seed(recipe.seed)
    before = models.build(recipe.model)
    first = hashes(before)
    train(dfdc, run, *settings, "ema_decay=0.9", "optimiser.weight_decay=0.1")
    state = checkpoint.load(run / "checkpoints" / "last.ckpt")
    for weights_ in (state["model"], state["average"]):
        after = models.based(recipe.model, checkpoint.base(state), run)
        tuned.load(after, weights_, after)
        now = hashes(after)
        assert now.keys() == first.keys()
        assert {name for name in first if now[name] != first[name]} == expected(before, way)
    assert (state["base"] is None) is (way == "all")
    assert state["format"] == (1 if way == "all" else 2)


@pytest.mark.parametrize("way", WAYS)
def test_every_chosen_parameter_has_a_gradient(way: Any) -> None:
    """Distributed training waits for each."""
    for arch in (ARCH, "test_vit2.r160_in1k", "test_vit3.r160_in1k", "vit_pe_core_tiny_patch16_384"):
        model = models.build(ViTConfig(arch=arch, size=32, trainable=way)).train()
        model(torch.rand(2, 3, 32, 32)).logit_B.sum().backward()
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == trained
        assert way == "all" or trained != {name for name, _ in model.named_parameters()}


class _KilledError(Exception):
    pass


class _Stop(Callback):
    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 4:
            raise _KilledError


@pytest.mark.parametrize("way", ["norms", "lora"])
def test_a_resumed_run_equals_an_undisturbed_one(dfdc: Path, tmp_path: Path, weights: Path, way: str) -> None:
    settings = (f"model.trainable={way}", f"model.pretrained={weights}", "ema_decay=0.9", "model.drop_path=0.1")
    train(dfdc, tmp_path / "whole", *settings)
    with pytest.raises(_KilledError):
        train(dfdc, tmp_path / "killed", *settings, callbacks=[_Stop()])
    train(dfdc, tmp_path / "killed", *settings, resume=True)
    one, other = (checkpoint.load(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("whole", "killed"))
    for part in ("model", "average"):
        assert one[part].keys() == other[part].keys()
        assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())


@pytest.fixture
def run(dfdc: Path, tmp_path: Path, weights: Path) -> Path:
    """A run of norms, in a folder beside its weights, which are given by a relative path."""
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        train(dfdc, tmp_path / "run", f"model.pretrained={weights.name}", "ema_decay=0.9")
    finally:
        os.chdir(before)
    return tmp_path / "run"


def logits(folder: Path) -> torch.Tensor:
    image_BCHW = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return predictor.load(folder).members[0].trained.model(image_BCHW).logit_B


def test_a_checkpoint_holds_what_was_trained(run: Path, weights: Path) -> None:
    """The parameters of the norms and the head, and the embeddings that were computed for another grid."""
    state = checkpoint.load(run / "checkpoints" / "best.ckpt")
    names = set(timm.create_model(ARCH).state_dict())
    norms = {f"backbone.{name}" for name in names if ".norm" in name or name.startswith("norm")}
    wanted = norms | {"head.linear.weight", "head.linear.bias", "backbone.pos_embed"}
    assert set(state["model"]) == set(state["average"]) == wanted
    assert state["base"]["source"] == str(weights)
    whole = models.build(recipes.load("resnet50", SETTINGS).model)
    assert whole.base is None
    assert tuned.kept(whole, whole.state_dict()).keys() == whole.state_dict().keys()


def test_the_base_is_needed_and_checked(run: Path, weights: Path, tmp_path: Path) -> None:
    before = logits(run)
    moved = weights.rename(tmp_path / "moved.pth")
    with pytest.raises(SemblanceError, match=r"best\.ckpt holds only the trained part.*weights\.pth, which does not"):
        predictor.load(run)
    state = torch.load(moved)
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, weights)  # another form
    assert torch.equal(before, logits(run))
    state["blocks.0.attn.qkv.weight"][0, 0] += 1e-3
    torch.save(state, weights)
    with pytest.raises(SemblanceError, match=r"trained on other weights than those in .*weights\.pth today \(SHA-256"):
        predictor.load(run)
    last = RunDir(run).last
    with pytest.raises(SemblanceError, match=r"last\.ckpt was trained on other weights"):  # what --resume begins with
        models.based(RunDir(run).recipe().model, checkpoint.base(checkpoint.load(last)), last)


@pytest.mark.parametrize("way", ["norms", "lora", "all"])
def test_a_tuned_run_is_the_base_of_another(dfdc: Path, tmp_path: Path, weights: Path, way: str) -> None:
    """Whatever was tuned in it: low-rank products are part of its weights then."""
    first, second = tmp_path / "first", tmp_path / "second"
    train(dfdc, first, "model.trainable=lora", f"model.pretrained={weights}")
    settings = (f"model.trainable={way}", f"model.pretrained={first}")
    model = models.build(recipes.load("resnet50", (*SETTINGS, *settings)).model).eval()
    image = torch.rand(4, 3, 32, 32)
    with torch.inference_mode():
        tuned_B = predictor.load(first).members[0].trained.model(image).logit_B
        assert torch.allclose(model(image).logit_B, tuned_B, atol=1e-6)
    assert "tensors from" in model.origin
    train(dfdc, second, *settings, "epochs=1", "schedule.warmup_epochs=0", allow_leaks=True)
    assert logits(second).isfinite().all()
    state = checkpoint.load(second / "checkpoints" / "best.ckpt")
    assert (state["base"] is None) is (way == "all")


def test_a_frozen_part_stays_as_it_is_in_training() -> None:
    """Its batch norms take no statistics and its dropout drops nothing, in the model and in a copy."""
    model = models.build(ResNetConfig(arch="test_resnet.r160_in1k", dropout=0.0))
    backbone: Any = model.backbone
    backbone.add_module("dropout", nn.Dropout(0.5))
    freeze(backbone)
    before = hashes(model)
    for one in (model, copy.deepcopy(model)):
        one.train()
        assert one.training
        assert one.head.training
        assert not any(part.training for part in one.backbone.modules())
        one(torch.rand(4, 3, 64, 64)).logit_B.sum().backward()
        assert hashes(one) == before
    assert tuned.still(model) == {name for name in model.state_dict() if name.startswith("backbone.")}


def test_an_average_holds_what_is_trained_once() -> None:
    model = models.build(ViTConfig(arch=ARCH, size=32))
    average = Average(model, 0.9)
    theirs = dict(average.module.named_parameters())
    for name, parameter in model.named_parameters():
        assert (theirs[name] is parameter) is not parameter.requires_grad
    average.requires_grad_(False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    average.update_parameters(model)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in average.module.state_dict().items())
    assert sum(parameter.requires_grad for parameter in model.parameters()) == 26 + 2  # of 13 norms, of the head


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"arch": "resnet18.a1_in1k"}, "resnet18.a1_in1k is not a vision transformer"),
        ({"arch": "swin_tiny_patch4_window7_224"}, "is not a vision transformer"),
        ({"arch": "mixer_b16_224"}, "is not a vision transformer"),
        (
            {"arch": ARCH, "size": 40},
            "patches of 16 px, which do not divide 40 px; set augment.size and model.size to 32",
        ),
        ({"arch": "vit_nothing"}, "has no model 'vit_nothing'"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        models.build(ViTConfig(**settings))


def test_pictures_of_another_size_are_refused() -> None:
    model = models.build(ViTConfig(arch=ARCH, size=32))
    with pytest.raises(UsageError, match="takes pictures of 32 x 32 px and was given 48 x 32"):
        model(torch.rand(1, 3, 48, 32))

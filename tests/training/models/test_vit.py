"""Vision transformers: what is trained and what stays, their weights' own form, and checkpoints of the tuned part."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import timm
import torch
from lightning.pytorch import Callback
from torch import nn

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training import models, recipes
from semblance.training.ensemble.fit import combine
from semblance.training.export import graph
from semblance.training.export.registry import FORMATS
from semblance.training.export.run import export
from semblance.training.inference import predictor
from semblance.training.loop import terms
from semblance.training.loop.fit import FitOptions, Fitted, fit
from semblance.training.loop.machine import Machine
from semblance.training.models import lora, tuned
from semblance.training.models import weights as sources
from semblance.training.models.base import freeze
from semblance.training.models.lora import Lora
from semblance.training.models.resnet import ResNetConfig
from semblance.training.models.vit import ViTConfig
from semblance.training.optim import Average
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import RunDir, read_lines
from tests.conftest import REPOSITORY

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
FLAT: Final = ("schedule.warmup_epochs=0",)
# each epoch is one step on all data, by one device or by two
ONCE: Final = (*FLAT, "epochs=3", "data.batch_size=24", "augment.p=0", "augment.cutmix.p=0", "augment.mixup.p=0")
WAYS: Final = ("norms", "biases", "head", "lora", "all")


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


@pytest.mark.parametrize("way", ["norms", "lora"])
def test_an_export_holds_the_merged_model(dfdc: Path, tmp_path: Path, weights: Path, way: str) -> None:
    """Every format answers as the tuned model does, and needs no base; timm has no features of unit length."""
    run, image_BCHW = tmp_path / "run", torch.rand(4, 3, 32, 32)
    settings = (f"model.trainable={way}", f"model.pretrained={weights}", "optimiser.lr=0.05")
    train(dfdc, run, *settings)
    one = predictor.load(run)
    model = one.members[0].trained.model
    if way == "lora":
        assert max(float(part.b_OR.detach().abs().max()) for part in model.modules() if isinstance(part, Lora)) > 0.01
    for name in ("onnx", "openvino", "torchscript", "safetensors"):
        file = tmp_path / f"model{FORMATS.find(name).suffix}"
        assert export(one, name, str(file)).difference < 1e-5
    weights.unlink()
    filled = models.build(ViTConfig(arch=ARCH, size=32, pretrained=str(tmp_path / "model.safetensors"))).eval()
    plain = ViTConfig(arch=ARCH, size=32, trainable="all", pretrained=str(tmp_path / "model.safetensors"))
    with torch.inference_mode():
        tuned_B = model(image_BCHW).logit_B
        for whole in (filled, models.build(plain).eval(), graph.folded(model)):
            assert not [part for part in whole.modules() if isinstance(part, Lora)]
            assert torch.allclose(whole(image_BCHW).logit_B, tuned_B, rtol=0, atol=1e-6)
    with pytest.raises(UsageError, match="timm has no model like"):
        export(one, "timm", str(tmp_path / "timm.safetensors"))


def test_timm_takes_one_without_unit_length(dfdc: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(dfdc, run, "model.unit_length=false", "model.trainable=lora", "optimiser.lr=0.05")
    one = predictor.load(run)
    assert export(one, "timm", str(tmp_path / "timm.safetensors")).difference < 1e-5
    state = checkpoint.load(run / "checkpoints" / "best.ckpt")  # of random weights, so complete
    assert state["base"] is None
    assert state["model"].keys() == one.members[0].trained.model.state_dict().keys()


def test_a_merged_weight_is_the_sum_of_the_definition() -> None:
    layer = nn.Linear(6, 4)
    weight_OI = layer.weight.detach().clone()
    lora.attach([layer], rank=3, alpha=6.0)
    assert torch.equal(layer.weight, weight_OI)  # at the start nothing is added
    parts: Any = layer.parametrizations
    update = parts.weight[0]
    nn.init.normal_(update.b_OR)
    expected_OI = weight_OI.double() + 2 * update.b_OR.detach().double() @ update.a_RI.detach().double()
    merged = lora.merged(layer.state_dict())
    assert merged.keys() == {"weight", "bias"}
    for found in (merged["weight"], layer.weight):
        assert torch.allclose(found.double(), expected_OI, atol=1e-6)


def test_an_ensemble_keeps_tuned_parts_and_finds_their_base(ffpp: Path, tmp_path: Path, weights: Path) -> None:
    for seed in (0, 1):
        train(ffpp, tmp_path / f"run{seed}", f"model.pretrained={weights}", f"seed={seed}", "epochs=1", *FLAT)
    combine([str(ffpp)], [str(tmp_path / f"run{seed}") for seed in (0, 1)], tmp_path / "both", say=lambda _: None)
    copied = sorted((tmp_path / "both" / "members").iterdir())
    assert len(copied) == 2
    assert max(file.stat().st_size for file in copied) < weights.stat().st_size / 2
    both = predictor.load(tmp_path / "both")
    alone = [predictor.load(tmp_path / f"run{seed}") for seed in (0, 1)]
    images = [np.zeros((32, 32, 3), np.uint8)]
    expected = sum(weight * one.logits(images)[0] for weight, one in zip(both.weights, alone, strict=True))
    assert both.logits(images)[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("apache-2.0", "licence of these weights: apache-2.0"),
        ("unknown", "licence of these weights: unknown; ask who published them"),
        (
            "dinov3-license",
            "dinov3-license (Meta's own, for DINOv3), which is not a permissive one; read",
        ),
        ("apache-2.0 and cc-by-nc-4.0", "apache-2.0 and cc-by-nc-4.0, which is not a permissive one"),
    ],
)
def test_licences_are_said(name: str, words: str) -> None:
    recipe = recipes.load("resnet50", SETTINGS)
    model = models.build(recipe.model)
    assert not [line for line in terms._model(recipe, model) if "licence" in line]  # random weights have none
    model.licence = name
    (line,) = [line for line in terms._model(recipe, model) if "licence" in line]
    assert words in line


def test_licences_are_timms_and_follow_the_weights(
    dfdc: Path, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From timm's weights to the run, its export and a run that begins with it."""
    monkeypatch.setattr(sources, "_cached", lambda _: str(weights))
    first, messages = tmp_path / "first", list[str]()
    train(dfdc, first, "model.pretrained=imagenet", "epochs=1", *FLAT, say=messages.append)
    assert "licence of these weights: apache-2.0" in messages
    assert any("checkpoints: what is trained; timm's weights (SHA-256" in line for line in messages)
    assert json.loads((first / "run.json").read_text())["licence"] == "apache-2.0"
    assert checkpoint.load(first / "checkpoints" / "best.ckpt")["base"]["source"] == "imagenet"
    file = tmp_path / "model.safetensors"
    export(predictor.load(first), "safetensors", str(file))
    assert (
        json.loads((tmp_path / "model.safetensors.json").read_text())["members"][0]["licence_of_base"] == "apache-2.0"
    )
    for given in (first, file):
        assert models.build(ViTConfig(arch=ARCH, size=32, pretrained=str(given))).licence == "apache-2.0"
    assert models.build(ViTConfig(arch=ARCH, size=32, pretrained=str(weights))).licence == "unknown"
    for arch, licence in (("vit_large_patch16_dinov3.lvd1689m", "dinov3-license"), (ViTConfig().arch, "apache-2.0")):
        assert timm.get_pretrained_cfg(arch).license == licence


@pytest.mark.parametrize(
    ("arch", "pooling", "share"),
    [
        ("vit_large_patch14_clip_224.openai", "token", 102_400),
        ("vit_pe_core_large_patch14_336.fb", "map", 104_448),
        ("vit_large_patch16_dinov3.lvd1689m", "avg", 100_352),
        ("vit_small_patch16_dinov3", "avg", 19_200),
    ],
)
def test_the_weights_own_pooling_and_normalisation_are_used(arch: str, pooling: str, share: int) -> None:
    """Without a classifier too; and as many parameters in norms as published."""
    with torch.device("meta"):
        model = models.build(ViTConfig(arch=arch, size=224))
        backbone: Any = model.backbone
        pooled_BD = backbone.forward_head(backbone.forward_features(torch.rand(2, 3, 224, 224)), pre_logits=True)
    assert backbone.global_pool == pooling
    assert pooled_BD.shape == (2, model.embedding_dim)
    assert sum(parameter.numel() for parameter in backbone.parameters() if parameter.requires_grad) == share
    assert backbone.state_dict().keys() == _names(arch)


def test_embeddings_are_timms_own_of_length_one() -> None:
    image_BCHW = torch.rand(2, 3, 32, 32)
    for arch in (ARCH, "test_vit3.r160_in1k", "vit_pe_core_tiny_patch16_384"):
        model = models.build(ViTConfig(arch=arch, size=32)).eval()
        theirs = timm.create_model(arch, num_classes=0, img_size=32).eval()
        backbone: Any = model.backbone
        theirs.load_state_dict(backbone.state_dict())
        published = timm.get_pretrained_cfg(arch)
        mean, std = (torch.tensor(value).view(3, 1, 1) for value in (published.mean, published.std))
        with torch.inference_mode():
            expected_BD = nn.functional.normalize(theirs((image_BCHW - mean) / std))
            assert torch.allclose(model(image_BCHW).embedding_BD, expected_BD, atol=1e-5)


def _names(arch: str) -> set[str]:
    with torch.device("meta"):
        return set(timm.create_model(arch, num_classes=0).state_dict())


def test_two_devices_train_the_tuned_part_together(dfdc: Path, tmp_path: Path, weights: Path) -> None:
    """Distributed training waits for no gradient of what is not trained, and keeps the same part."""
    command = [sys.executable, "-m", "tests.training.models.test_vit", str(dfdc), str(tmp_path / "two"), str(weights)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    train(dfdc, tmp_path / "one", f"model.pretrained={weights}", "model.trainable=lora", *ONCE)
    one, two = (checkpoint.load(tmp_path / name / "checkpoints" / "best.ckpt") for name in ("one", "two"))
    assert one["model"].keys() == two["model"].keys()
    assert one["base"] == two["base"]
    losses = [[row["loss"] for row in read_lines(RunDir(tmp_path / name).steps)] for name in ("one", "two")]
    assert len(losses[0]) == 3
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


if __name__ == "__main__":
    torch.set_num_threads(1)
    out_, run_, weights_ = sys.argv[1:]
    train(Path(out_), Path(run_), f"model.pretrained={weights_}", "model.trainable=lora", *ONCE, devices=2)

"""Laws of every model, and the sources of weights."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from lightning.fabric.utilities import move_data_to_device
from safetensors.torch import save_file
from timm.layers.drop import DropPath

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training import models
from semblance.training.models import ModelConfig, efficientnet, resnet, weights
from semblance.training.models.efficientnet import EfficientNetConfig
from semblance.training.models.f3net import F3NetConfig
from semblance.training.models.resnet import ResNetConfig
from semblance.training.records import Batch

SMALL = (ResNetConfig(arch="resnet10t.c3_in1k"), EfficientNetConfig(arch="tf_efficientnet_b0.ap_in1k"))


@pytest.mark.parametrize("config", [ResNetConfig(), EfficientNetConfig()])
def test_the_plans_models_return_outputs_and_gradients(config: ModelConfig) -> None:
    model = models.build(config).train()
    output = model(torch.rand(2, 3, 64, 64))
    assert output.logit_B.shape == (2,)
    assert output.embedding_BD.shape == (2, model.embedding_dim)
    assert model.embedding_dim == {"resnet": 2048, "efficientnet": 1792}[config.kind]
    assert output.frequency_BD is model.frequency_dim is None
    output.logit_B.square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("config", "mean", "std"),
    [(SMALL[0], resnet.IMAGENET_MEAN, resnet.IMAGENET_STD), (SMALL[1], efficientnet.HALF, efficientnet.HALF)],
)
def test_normalisation_is_the_weights_own_and_inside(
    config: ResNetConfig | EfficientNetConfig, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    model, image = models.build(config).eval(), torch.rand(2, 3, 48, 48)
    published = timm.get_pretrained_cfg(config.arch)
    assert (published.mean, published.std) == (mean, std)
    normalised = (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.inference_mode():
        assert torch.allclose(model(image).embedding_BD, model.backbone(normalised), atol=1e-5)
    assert not any("normalise" in name for name in model.state_dict())


def test_the_plans_weights_are_the_recipes() -> None:
    assert timm.get_pretrained_cfg(ResNetConfig().arch).mean == resnet.IMAGENET_MEAN
    adversarial = timm.get_pretrained_cfg(EfficientNetConfig().arch)
    assert adversarial.tag == "ap_in1k"
    assert adversarial.mean == adversarial.std == efficientnet.HALF
    assert timm.get_pretrained_cfg("legacy_xception.tf_in1k").mean == efficientnet.HALF


def test_dropout_is_before_the_head_and_drop_path_in_the_branches() -> None:
    model = models.build(ResNetConfig(arch="resnet10t.c3_in1k", dropout=0.5))
    assert [part.p for part in model.modules() if isinstance(part, torch.nn.Dropout)] == [0.5]
    model = models.build(EfficientNetConfig(arch="tf_efficientnet_b0.ap_in1k", drop_path=0.2))
    rates = [part.drop_prob for part in model.modules() if isinstance(part, DropPath) and part.drop_prob]
    assert rates == sorted(rates)  # the deeper the more often
    assert 0.15 < rates[-1] < 0.2
    image = torch.rand(8, 3, 48, 48)
    model.eval()
    with torch.inference_mode():
        still = model(image).embedding_BD
        assert torch.equal(still, model(image).embedding_BD)
        for part in model.modules():
            part.train(isinstance(part, DropPath))
        moving = model(image).embedding_BD
    assert not torch.equal(still, moving)


def test_weights_from_a_file(tmp_path: Path) -> None:
    source = timm.create_model("resnet10t")
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    model = models.build(ResNetConfig(arch="resnet10t.c3_in1k", pretrained=str(tmp_path / "weights.pth")))
    state = model.backbone.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in source.state_dict().items() if name in state)
    assert len(state) > 50
    assert model.origin == (
        f"{len(state)} of {len(state)} tensors from {tmp_path / 'weights.pth'}; not used: fc.bias, fc.weight"
    )
    unloaded = models.build(ResNetConfig(arch="resnet10t.c3_in1k", pretrained="missing.pth"), pretrained=False)
    assert unloaded.embedding_dim == model.embedding_dim
    assert unloaded.origin == "random weights"


def _resnet(arch: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = timm.create_model(arch).state_dict()
    return state


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "_orig_mod.model.encoder."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_of_any_form_gives_every_tensor(tmp_path: Path, prefix: str, wrapper: str | None, suffix: str) -> None:
    source = _resnet("resnet10t")
    state = {prefix + name: value for name, value in source.items()}
    file = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, file)
    else:
        save_file(state, file)
    model = models.build(ResNetConfig(arch="resnet10t.c3_in1k", pretrained=str(file)))
    assert all(torch.equal(value, source[name]) for name, value in model.backbone.state_dict().items())
    assert "not used: fc.bias, fc.weight" in model.origin


def test_torchvisions_weights_fit_timms_resnet(tmp_path: Path) -> None:
    source = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(source, tmp_path / "resnet18.pth")
    model = models.build(ResNetConfig(arch="resnet18.a1_in1k", pretrained=str(tmp_path / "resnet18.pth")))
    assert all(torch.equal(value, source[name]) for name, value in model.backbone.state_dict().items())


def test_weights_that_do_not_fit_are_refused_with_counts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'nowhere\.pth', which is neither a file nor a run"):
        models.build(ResNetConfig(pretrained="nowhere.pth"))
    with pytest.raises(UsageError, match="not a trained run"):
        models.build(ResNetConfig(pretrained=str(tmp_path)))
    torn, other, small, empty = (tmp_path / name for name in ("torn.pth", "other.pth", "small.pth", "empty.pth"))
    torn.write_bytes(b"PK\x03\x04 torn")
    torch.save({"epoch": 3}, empty)
    for file, words in ((torn, "cannot be read as weights"), (empty, "holds no weights by name")):
        with pytest.raises(SemblanceError, match=words):
            models.build(ResNetConfig(arch="resnet10t.c3_in1k", pretrained=str(file)))
    torch.save(_resnet("resnet34"), other)  # has all that ResNet-18 has, and more
    with pytest.raises(SemblanceError, match=r"do not fit resnet18\.a1_in1k: 80 belong to nothing in it \(layer1\.2"):
        models.build(ResNetConfig(arch="resnet18.a1_in1k", pretrained=str(other)))
    with pytest.raises(SemblanceError, match=r"resnet50.*: \d+ of 318 tensors are missing.*; \d+ have another"):
        models.build(ResNetConfig(pretrained=str(other)))
    state = _resnet("resnet10t")
    del state["layer4.0.bn2.running_var"]
    torch.save(state, small)
    with pytest.raises(SemblanceError, match=r": 1 of 84 tensors are missing \(layer4\.0\.bn2\.running_var\)\."):
        models.build(ResNetConfig(arch="resnet10t.c3_in1k", pretrained=str(small)))


@pytest.mark.parametrize(
    "config",
    [*SMALL, F3NetConfig(width=0.125, size=64)],
    ids=["resnet", "efficientnet", "f3net"],
)
@pytest.mark.parametrize("averaged", [False, True])
def test_a_run_fills_the_whole_model(tmp_path: Path, config: ModelConfig, averaged: bool) -> None:
    """Also with its folder's name, and only a model like its own; today's weights of random numbers are gone."""
    source = models.build(config).state_dict()
    other = {name: torch.zeros_like(value) for name, value in source.items()}
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    file = tmp_path / "run" / "checkpoints" / "best.ckpt"
    weights_ = {"model": other, "average": source} if averaged else {"model": source, "average": None}
    torch.save({"format": 1, "recipe": {"model": config.model_dump()}, **weights_}, file)
    for given in (tmp_path / "run", file):
        model = models.build(config.model_copy(update={"pretrained": str(given)}))
        assert all(torch.equal(value, source[name]) for name, value in model.state_dict().items())
        assert model.origin == f"{len(source)} of {len(source)} tensors from {file}"
    with pytest.raises(SemblanceError, match=r"this recipe's model \(resnet\): \d+ of \d+ tensors are missing"):
        models.build(ResNetConfig(arch="resnet14t.c3_in1k", pretrained=str(file)))


def test_unreachable_weights_are_reported_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_cached", lambda _: None)
    monkeypatch.setattr(weights, "_address", lambda _: "http://127.0.0.1:9/weights")  # nobody listens there
    began = time.process_time()
    with pytest.raises(SemblanceError, match=r"model\.pretrained=none") as caught:
        models.build(ResNetConfig(pretrained="imagenet"))
    assert "\n" not in str(caught.value)
    assert "resnet50.a1_in1k" in str(caught.value)
    assert time.process_time() - began < 10


def test_the_url_of_weights() -> None:
    published = (timm.get_pretrained_cfg(arch) for arch in ("resnet50.a1_in1k", "legacy_xception.tf_in1k"))
    hub, url = (config for config in published if config is not None)
    assert weights._address(hub).endswith("timm/resnet50.a1_in1k/resolve/main/model.safetensors")
    assert weights._address(url).endswith(".pth")
    with pytest.raises(UsageError, match=r"no weights 'resnet50\.mine'"):
        models.build(ResNetConfig(arch="resnet50.mine"))
    with pytest.raises(UsageError, match=r"no pretrained weights for 'resnet50t\.untrained'"):
        models.build(ResNetConfig(arch="resnet50t.untrained", pretrained="imagenet"))


def test_a_batch_moves_as_lightning_moves_it() -> None:
    batch = Batch(
        image_BCHW=torch.zeros(2, 3, 4, 4),
        target_B=torch.zeros(2),
        mixed_with_B=torch.ones(2),
        sample_ids=("a", "b"),
        video_ids=("a", "b"),
        tracks=(0, 0),
        persons=(0, 0),
    )
    moved = move_data_to_device(batch, torch.device("meta"))
    assert moved.image_BCHW.device.type == moved.target_B.device.type == moved.mixed_with_B.device.type == "meta"
    assert moved.lam_B is None
    assert replace(moved, image_BCHW=batch.image_BCHW).sample_ids == ("a", "b")

"""MobileNets and narrower networks: laws of every model, widths, and what has no weights or no name of timm's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from semblance.manifests.errors import UsageError
from semblance.training import export, models
from semblance.training.inference import predictor
from semblance.training.models import ModelConfig
from semblance.training.models.mobilenet import MobileNetConfig
from semblance.training.models.resnet import ResNetConfig
from tests.training import untrained

V3, V4 = "mobilenetv3_small_100.lamb_in1k", "mobilenetv4_conv_small.e2400_r224_in1k"


@pytest.mark.parametrize(
    ("config", "features"),
    [
        (MobileNetConfig(), 1280),
        (MobileNetConfig(width=0.35), 1280),
        (MobileNetConfig(arch=V3, width=0.5), 1024),
        (MobileNetConfig(arch="mobilenetv4_conv_small_035.untrained"), 1280),
        (ResNetConfig(arch="resnet18.a1_in1k", width=0.25), 128),
    ],
)
def test_outputs_and_gradients(config: ModelConfig, features: int) -> None:
    model = models.build(config).train()
    output = model(torch.rand(2, 3, 64, 64))
    assert output.logit_B.shape == (2,)
    assert output.embedding_BD.shape == (2, features)
    assert model.embedding_dim == features
    assert output.frequency_BD is None
    output.logit_B.square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("arch", [V3, V4, "mobilenetv4_conv_small_035"])
def test_normalisation_is_the_weights_own(arch: str) -> None:
    published = timm.get_pretrained_cfg(arch)
    model, image = models.build(MobileNetConfig(arch=arch)).eval(), torch.rand(2, 3, 48, 48)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (published.mean, published.std))
    with torch.no_grad():
        assert torch.allclose(model(image).embedding_BD, model.backbone((image - mean) / std), atol=1e-5)
    assert not any("normalise" in name for name in model.state_dict())


def test_a_width_is_timms_own_network_of_that_width() -> None:
    """Tensor by tensor, where timm has one: its small V4 at 0.5 and 0.35."""
    for width, arch in ((0.5, "mobilenetv4_conv_small_050"), (0.35, "mobilenetv4_conv_small_035")):
        ours = models.build(MobileNetConfig(width=width)).backbone.state_dict()
        theirs = timm.create_model(arch, num_classes=0).state_dict()
        assert {name: value.shape for name, value in ours.items()} == {
            name: value.shape for name, value in theirs.items()
        }
    narrow: Any = models.build(ResNetConfig(arch="resnet50.a1_in1k", width=0.5)).backbone
    assert [getattr(narrow, f"layer{number}")[0].conv3.out_channels for number in (1, 2, 3, 4)] == [128, 256, 512, 1024]
    mixed: Any = models.build(ResNetConfig(arch="test_resnet.r160_in1k", width=0.5)).backbone  # two kinds of blocks
    assert [stage["num_chs"] for stage in mixed.feature_info[1:]] == [16, 24, 96, 48]


def test_weights_from_a_file_and_what_is_refused(tmp_path: Path) -> None:
    source = timm.create_model("mobilenetv3_small_100")
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    model = models.build(MobileNetConfig(arch=V3, pretrained=str(tmp_path / "weights.pth")))
    own = model.backbone.state_dict()
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in own.items())
    assert "not used: classifier.bias, classifier.weight" in model.origin
    given: tuple[tuple[ModelConfig, str], ...] = (
        (MobileNetConfig(width=0.5, pretrained="imagenet"), r"of model\.width 1, not 0\.5"),
        (ResNetConfig(width=0.5, pretrained=str(tmp_path / "weights.pth")), r"of model\.width 1, not 0\.5"),
        (MobileNetConfig(arch="resnet18"), "is no MobileNet"),
        (MobileNetConfig(arch="mobilenetv2_100", width=0.5), "has no other width than 1"),
        (MobileNetConfig(arch="mobilenetv4_conv_small.mine", width=0.5), r"no weights 'mobilenetv4_conv_small\.mine'"),
    )
    for config, words in given:
        with pytest.raises(UsageError, match=words) as caught:
            models.build(config)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("width", [1.0, 0.5])
def test_a_run_fills_the_whole_model_and_timm_takes_that_of_width_1_only(
    ffpp: Path, tmp_path: Path, width: float
) -> None:
    words = ("model.kind=mobilenet", "model.pretrained=none", f"model.arch={V3}", f"model.width={width}")
    run = untrained.make(tmp_path / "run", [ffpp], *words)
    again, state = models.build(MobileNetConfig(arch=V3, width=width, pretrained=str(run))), untrained.model(run)
    assert all(torch.equal(value, state.state_dict()[name]) for name, value in again.state_dict().items())
    one = predictor.load(run)
    if width == 1:
        made = export.export(one, "timm", str(tmp_path / "timm.safetensors"), [str(ffpp)])
        assert made.difference < 1e-4
    else:
        with pytest.raises(UsageError, match=r"timm has no model like run \(model\.kind mobilenet\)"):
            export.export(one, "timm", str(tmp_path / "timm.safetensors"), [str(ffpp)])
        assert not list(tmp_path.glob("timm*"))

"""MobileNetV3 (Howard et al. 2019) and MobileNetV4 (Qin et al. 2024) as detectors, for phones and browsers."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field
from timm.models import PretrainedCfg
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3, _gen_mobilenet_v3, _gen_mobilenet_v4
from torch import Tensor

from semblance.manifests.errors import UsageError
from semblance.training.models import weights
from semblance.training.models.base import Head, Model, ModelConfig, Normalise
from semblance.training.models.registry import register
from semblance.training.records import Output

_MAKERS: Final[dict[str, Any]] = {  # by timm's name without weights: architectures that take a multiplier
    "mobilenetv3_large_100": _gen_mobilenet_v3,
    "mobilenetv3_small_100": _gen_mobilenet_v3,
    "mobilenetv4_conv_small": _gen_mobilenet_v4,
    "mobilenetv4_conv_medium": _gen_mobilenet_v4,
    "mobilenetv4_conv_large": _gen_mobilenet_v4,
}


class MobileNetConfig(ModelConfig):
    """``arch``: timm's name, such as ``mobilenetv3_large_100.ra_in1k``. Its mean and deviation are used.

    ``width``: what the channels of all blocks are multiplied by, rounded to 8 as in timm; the last layer keeps its
    1,280 (V3 small: 1,024) features. Pretrained weights need 1. ``dropout`` is applied before the head; Monte-Carlo
    dropout uses it.
    """

    kind: Literal["mobilenet"] = "mobilenet"
    arch: str = "mobilenetv4_conv_small.e2400_r224_in1k"
    width: float = Field(default=1.0, ge=0.1, le=2)
    dropout: float = Field(default=0.2, ge=0, lt=1)


@register(MobileNetConfig)
class MobileNet(Model):
    """timm's MobileNet under its own normalisation, with its last layer after pooling, and one linear layer."""

    def __init__(self, config: MobileNetConfig, pretrained: str) -> None:
        super().__init__()
        backbone = _backbone(config, pretrained)
        said: Any = weights.published(config.arch) or PretrainedCfg()
        self.normalise = Normalise(said.mean, said.std)
        self.backbone = backbone
        self.embedding_dim = int(backbone.head_hidden_size)
        self.head = Head(self.embedding_dim, config.dropout)

    def forward(self, image_BCHW: Tensor) -> Output:
        embedding_BD = self.backbone(self.normalise(image_BCHW))
        return Output(logit_B=self.head(embedding_BD), embedding_BD=embedding_BD)


def _backbone(config: MobileNetConfig, pretrained: str) -> Any:
    if config.width == 1:
        backbone: Any = weights.create(config.arch, pretrained)
        if not isinstance(backbone, MobileNetV3 | EfficientNet):
            raise UsageError(f"{config.arch} is no MobileNet; choose a model.arch such as {', '.join(_MAKERS)}.")
        return backbone
    weights.need_whole_width(config.arch, config.width, pretrained)
    weights.published(config.arch)
    family = config.arch.partition(".")[0]
    if family not in _MAKERS:
        raise UsageError(f"{config.arch} has no other width than 1; choose model.arch of {', '.join(_MAKERS)}.")
    return _MAKERS[family](family, config.width, num_classes=0)

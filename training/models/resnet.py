"""ResNet (He et al. 2016) as a detector."""

from __future__ import annotations

from typing import Any, Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from semblance.training.models import weights
from semblance.training.models.base import Head, Model, ModelConfig, Normalise
from semblance.training.models.registry import register
from semblance.training.records import Output

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)


class ResNetConfig(ModelConfig):
    """``arch``: timm's name. ``dropout`` is applied before the head; Monte-Carlo dropout uses it.

    ``width``: what the channels of the four stages are multiplied by, rounded to 8; the stem keeps its own. Pretrained
    weights need 1.
    """

    kind: Literal["resnet"] = "resnet"
    arch: str = "resnet50.a1_in1k"
    dropout: float = Field(default=0.5, ge=0, lt=1)
    width: float = Field(default=1.0, ge=0.1, le=2)


@register(ResNetConfig)
class ResNet(Model):
    """timm's ResNet under ImageNet's normalisation, average pooling and one linear layer."""

    def __init__(self, config: ResNetConfig, pretrained: str) -> None:
        super().__init__()
        self.normalise = Normalise(IMAGENET_MEAN, IMAGENET_STD)
        weights.need_whole_width(config.arch, config.width, pretrained)
        scaled = {} if config.width == 1 else {"channels": _channels(config)}
        self.backbone = weights.create(config.arch, pretrained, **scaled)
        self.embedding_dim = weights.width(self.backbone)
        self.head = Head(self.embedding_dim, config.dropout)

    def forward(self, image_BCHW: Tensor) -> Output:
        embedding_BD = self.backbone(self.normalise(image_BCHW))
        return Output(logit_B=self.head(embedding_BD), embedding_BD=embedding_BD)


def _channels(config: ResNetConfig) -> tuple[int, ...]:
    """timm's channels of the four stages, before a bottleneck's expansion, by the width."""
    with torch.device("meta"):
        whole: Any = weights.create(config.arch, "none")
    first = [whole.get_submodule(f"layer{number}")[0] for number in range(1, 5)]
    wide = [stage["num_chs"] // block.expansion for stage, block in zip(whole.feature_info[1:], first, strict=True)]
    return tuple(max(8, round(config.width * channels / 8) * 8) for channels in wide)

"""ResNet (He et al. 2016) as a detector."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field
from torch import Tensor

from semblance.training.models import weights
from semblance.training.models.base import Head, Model, ModelConfig, Normalise
from semblance.training.models.registry import register
from semblance.training.records import Output

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)


class ResNetConfig(ModelConfig):
    """``arch``: timm's name. ``dropout`` is applied before the head; Monte-Carlo dropout uses it."""

    kind: Literal["resnet"] = "resnet"
    arch: str = "resnet50.a1_in1k"
    dropout: float = Field(default=0.5, ge=0, lt=1)


@register(ResNetConfig)
class ResNet(Model):
    """timm's ResNet under ImageNet's normalisation, average pooling and one linear layer."""

    def __init__(self, config: ResNetConfig, pretrained: str) -> None:
        super().__init__()
        self.normalise = Normalise(IMAGENET_MEAN, IMAGENET_STD)
        self.backbone = weights.create(config.arch, pretrained)
        self.embedding_dim = weights.width(self.backbone)
        self.head = Head(self.embedding_dim, config.dropout)

    def forward(self, image_BCHW: Tensor) -> Output:
        embedding_BD = self.backbone(self.normalise(image_BCHW))
        return Output(logit_B=self.head(embedding_BD), embedding_BD=embedding_BD)

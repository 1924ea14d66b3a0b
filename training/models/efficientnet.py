"""EfficientNet (Tan and Le 2019) with AdvProp weights (Xie et al. 2020) as a detector."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field
from torch import Tensor

from semblance.training.models import weights
from semblance.training.models.base import Head, Model, ModelConfig, Normalise
from semblance.training.models.registry import register
from semblance.training.records import Output

HALF: Final = (0.5, 0.5, 0.5)  # mean and deviation under which the AdvProp weights were trained


class EfficientNetConfig(ModelConfig):
    """``arch``: timm's name; ``tf_efficientnet_b4.ap_in1k`` are the AdvProp weights.

    ``drop_path`` stands for both of the plan's terms, stochastic depth ("drop path") and "drop connect". In
    EfficientNet they are the same: a residual branch is dropped for a sample, more often in deeper layers. timm no
    longer has a ``drop_connect_rate``. ``dropout`` before the head is 0, since the plan specifies none.
    ``bn_momentum``: the share of a batch in the running statistics of batch norms, as torch counts it; None is the
    architecture's, 0.01 for those ported from TensorFlow. At 0.01 the statistics need some 300 steps.
    """

    kind: Literal["efficientnet"] = "efficientnet"
    arch: str = "tf_efficientnet_b4.ap_in1k"
    drop_path: float = Field(default=0.2, ge=0, lt=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    bn_momentum: float | None = Field(default=None, gt=0, le=1)


@register(EfficientNetConfig)
class EfficientNet(Model):
    """timm's EfficientNet on pictures in [-1, 1], average pooling and one linear layer."""

    def __init__(self, config: EfficientNetConfig, pretrained: str) -> None:
        super().__init__()
        self.normalise = Normalise(HALF, HALF)
        norms = {} if config.bn_momentum is None else {"bn_momentum": config.bn_momentum}
        self.backbone = weights.create(config.arch, pretrained, drop_rate=0.0, drop_path_rate=config.drop_path, **norms)
        self.embedding_dim = weights.width(self.backbone)
        self.head = Head(self.embedding_dim, config.dropout)

    def forward(self, image_BCHW: Tensor) -> Output:
        embedding_BD = self.backbone(self.normalise(image_BCHW))
        return Output(logit_B=self.head(embedding_BD), embedding_BD=embedding_BD)

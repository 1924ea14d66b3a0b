"""EfficientNet (Tan and Le 2019) with AdvProp weights (Xie et al. 2020) as a detector."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from training.models.base import ModelConfig


class EfficientNetConfig(ModelConfig):
    """``arch``: timm's name; ``tf_efficientnet_b4.ap_in1k`` are the AdvProp weights.

    ``drop_path`` carries both of the plan's names, stochastic depth ("drop path") and "drop connect", which in
    EfficientNet are one thing: a residual branch left out for a sample, more often the deeper it lies.
    """

    kind: Literal["efficientnet"] = "efficientnet"
    arch: str = "tf_efficientnet_b4.ap_in1k"
    drop_path: float = Field(default=0.2, ge=0, lt=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)

"""ResNet (He et al. 2016) as a detector."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from training.models.base import ModelConfig


class ResNetConfig(ModelConfig):
    """``arch``: timm's name. ``dropout`` stands before the head, and is what Monte-Carlo dropout draws."""

    kind: Literal["resnet"] = "resnet"
    arch: str = "resnet50"
    dropout: float = Field(default=0.5, ge=0, lt=1)

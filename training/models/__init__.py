"""The models: one file each, one interface for all."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from training.models.base import Model
from training.models.efficientnet import EfficientNetConfig
from training.models.f3net import F3NetConfig
from training.models.resnet import ResNetConfig

AnyModelConfig = Annotated[ResNetConfig | EfficientNetConfig | F3NetConfig, Field(discriminator="kind")]

__all__ = ["AnyModelConfig", "EfficientNetConfig", "F3NetConfig", "Model", "ResNetConfig"]

"""The models: one file each, one interface for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import Field

from semblance.training.models import weights
from semblance.training.models.base import Model, ModelConfig
from semblance.training.models.efficientnet import EfficientNet, EfficientNetConfig
from semblance.training.models.f3net import F3Net, F3NetConfig
from semblance.training.models.resnet import ResNet, ResNetConfig

AnyModelConfig = Annotated[ResNetConfig | EfficientNetConfig | F3NetConfig, Field(discriminator="kind")]

MODELS: Final[dict[str, Callable[[Any, str], Model]]] = {
    "resnet": ResNet,
    "efficientnet": EfficientNet,
    "f3net": F3Net,
}


def build(config: AnyModelConfig, *, pretrained: bool = True) -> Model:
    """A new model. ``pretrained=False`` leaves the configured weights out, for one that a checkpoint will fill.

    Raises UsageError for an unknown architecture or a missing file of weights, SemblanceError where weights
    cannot be reached or do not fit.
    """
    source = config.pretrained if pretrained else "none"
    model = MODELS[config.kind](config, source)
    model.origin = weights.origin(source)
    return model


__all__ = [
    "MODELS",
    "AnyModelConfig",
    "EfficientNetConfig",
    "F3NetConfig",
    "Model",
    "ModelConfig",
    "ResNetConfig",
    "build",
]

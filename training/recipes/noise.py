"""ResNet-50 under Gaussian noise, the base that randomised smoothing certifies, and a small variant."""

from __future__ import annotations

from typing import Final

from semblance.training.recipes import resnet50
from semblance.training.recipes.base import derive, register
from semblance.training.regimes.noisy import NoisyConfig

READINGS: Final = (
    "Noise of standard deviation 0.25 on every picture after augmentation and mixing, in [0, 1], not clipped: the "
    "noise that `training evaluate --certify` certifies under. Val is scored without noise.",
    *resnet50.READINGS,
)

RECIPE: Final = derive(resnet50.RECIPE, "noise_resnet50", {"regime": NoisyConfig().model_dump(mode="json")})

register(RECIPE, {"noise_resnet50_small": resnet50.VARIANTS["resnet50_small"]}, READINGS)

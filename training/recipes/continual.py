"""ResNet-50 that learns one task after another: EWC, and a memory that is replayed."""

from __future__ import annotations

from typing import Any, Final

from semblance.training.recipes import resnet50
from semblance.training.recipes.base import ON_DEVICE, TrainingRecipe, register
from semblance.training.regimes.continual_config import ContinualConfig, EwcConfig, MemoryConfig

READINGS: Final = (
    "EWC has weight 400 as written, halved as in Kirkpatrick et al. 2017: 400 / 2 x sum of F (w - w*)^2, F summed over "
    "tasks, and w* the weights at the end of the last one.",
    "F is the exact Fisher information of the one logit, over 1,000 pictures of the last task's train split.",
    "EWC does not protect the statistics of batch norm, so they are frozen where it has a weight.",
    "The memory of 1,000 samples is shared by all tasks, in equal parts by dataset, label and method, one frame of a "
    "video first; every step learns from as many old pictures as new ones.",
    "Tasks are learned in the order that is given; each has the epochs, rate and schedule of the recipe.",
    ON_DEVICE,
)

RECIPE: Final = TrainingRecipe.model_validate(
    resnet50.RECIPE.model_dump()
    | {
        "name": "continual_resnet50",
        "regime": ContinualConfig(ewc=EwcConfig(weight=400.0), memory=MemoryConfig(replay=True)),
        "data": resnet50.RECIPE.data.model_copy(update={"mix": None}),
        "epochs": 20,
        "early_stop": 5,
    }
)
VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "continual_resnet50_small": resnet50.VARIANTS["resnet50_small"]
    | {"augment.size": 64, "data.draws": 512, "epochs": 6}
}

register(RECIPE, VARIANTS, READINGS)

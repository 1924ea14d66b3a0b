"""MAML with the plan's rates: a ResNet-50 that learns to adapt from few pictures, and a small form."""

from __future__ import annotations

from typing import Any, Final

from semblance.training.augment.config import AugmentConfig, MixConfig
from semblance.training.losses import BceConfig, LossConfig
from semblance.training.models.resnet import ResNetConfig
from semblance.training.optim import AdamWConfig, CosineConfig
from semblance.training.recipes.base import ON_DEVICE, DataConfig, TrainingRecipe, register
from semblance.training.regimes.maml import MamlConfig

READINGS: Final = (
    "MAML: 0.01 is the rate of the steps on the support of a task, 0.001 that of AdamW on the query loss after them; "
    "second order.",
    "A task is one method's fakes beside reals of the same dataset. Support and query are pictures of different "
    "families of a batch.",
    "Normalisation keeps the statistics of its weights, in the steps and outside; there is no dropout and no mixing.",
    "FF++ to DFDC, Celeb-DF and WildDeepfake: `training few-shot` trains on the first and adapts to the others, of "
    "which training sees nothing.",
    ON_DEVICE,
)

RECIPE: Final = TrainingRecipe(
    name="maml_resnet50",
    model=ResNetConfig(arch="resnet50.a1_in1k", pretrained="imagenet", dropout=0.0),
    regime=MamlConfig(rate=0.01, steps=3, shots=5, queries=5, tasks=4),
    loss=LossConfig(bce=BceConfig(weight=1.0)),
    optimiser=AdamWConfig(lr=1e-3, weight_decay=1e-4),
    schedule=CosineConfig(warmup_epochs=1),
    data=DataConfig(mix=None, balanced_per_method=True, batch_size=96),
    augment=AugmentConfig(on="device", cutmix=MixConfig(p=0.0, alpha=1.0), mixup=MixConfig(p=0.0, alpha=0.2)),
    epochs=30,
    precision="mixed",
    clip_norm=1.0,
    early_stop=10,
)

VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "maml_resnet50_small": {
        "model.arch": "resnet18.a1_in1k",
        "model.pretrained": "none",
        "regime.steps": 1,
        "regime.tasks": 2,
        "data.batch_size": 64,
        "data.draws": 640,
        "augment.on": "workers",
        "augment.size": 64,
        "epochs": 8,
        "early_stop": None,
    },
}

register(RECIPE, VARIANTS, READINGS)

"""The plan's ResNet-50, and a small variant for small machines."""

from __future__ import annotations

from typing import Any, Final

from semblance.training.augment.config import AugmentConfig, MixConfig
from semblance.training.losses import BceConfig, FocalConfig, LossConfig
from semblance.training.models.resnet import ResNetConfig
from semblance.training.optim import AdamWConfig, CosineConfig
from semblance.training.recipes.base import ON_DEVICE, DataConfig, TrainingRecipe, register

READINGS: Final = (
    "Label smoothing 0.1 moves BCE's two targets to 0.05 and 0.95 and does not affect the focal loss.",
    "Under CutMix and MixUp, BCE and focal loss are the lambda-weighted sum over both hard labels.",
    "Balanced per method: within each dataset half real, half fake, the fakes in equal parts by method.",
    "Automatic mixed precision is bf16 on a GPU that has it, else 16 bits with a scaled loss; 32 bits on a CPU.",
    "Early stopping watches val; ImageNet weights are timm's resnet50.a1_in1k.",
    ON_DEVICE,
)

RECIPE: Final = TrainingRecipe(
    name="resnet50",
    model=ResNetConfig(arch="resnet50.a1_in1k", pretrained="imagenet", dropout=0.5),
    loss=LossConfig(bce=BceConfig(weight=0.8, smoothing=0.1), focal=FocalConfig(weight=0.2, alpha=0.7, gamma=2.0)),
    optimiser=AdamWConfig(lr=1e-4, weight_decay=1e-4),
    schedule=CosineConfig(warmup_epochs=5),
    data=DataConfig(mix={"ffpp": 0.60, "dfdc": 0.25, "celebdf": 0.15}, balanced_per_method=True, batch_size=32),
    augment=AugmentConfig(on="device", cutmix=MixConfig(p=0.3, alpha=1.0), mixup=MixConfig(p=0.3, alpha=0.2)),
    epochs=50,
    precision="mixed",
    clip_norm=1.0,
    early_stop=10,
)

VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "resnet50_small": {
        "model.arch": "resnet18.a1_in1k",
        "model.pretrained": "none",
        "optimiser.lr": 1e-3,
        "schedule.warmup_epochs": 1,
        "data.mix": None,
        "augment.on": "workers",
        "augment.size": 112,
        "augment.cutmix.p": 0.0,
        "augment.mixup.p": 0.0,
        "epochs": 8,
        "early_stop": None,
    },
}

register(RECIPE, VARIANTS, READINGS)

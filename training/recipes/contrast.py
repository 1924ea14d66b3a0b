"""Self-supervision by contrast: SimCLR and MoCo on real faces alone, and small variants for small machines."""

from __future__ import annotations

from typing import Any, Final

from semblance.training.augment.config import (
    AugmentConfig,
    CompressionConfig,
    CropConfig,
    FrequencyConfig,
    GridMaskConfig,
    JitterConfig,
    JpegConfig,
    MixConfig,
    RotationConfig,
)
from semblance.training.losses import LossConfig
from semblance.training.models.resnet import ResNetConfig
from semblance.training.optim import AdamWConfig, CosineConfig
from semblance.training.recipes.base import ON_DEVICE, DataConfig, TrainingRecipe, register
from semblance.training.regimes.contrast import SimCLRConfig
from semblance.training.regimes.contrast_moco import MoCoConfig

_SHARED: Final = (
    "It learns from reals alone (data.query: label = 0), from random weights, and judges itself on reals of val.",
    "Two views of a picture belong together. What one sees of the same video, family or named person is no negative: "
    "with 32 frames of a video, most batches would have such false negatives.",
    "Views differ by window, mirror and mild colours. JPEG, blur and noise are left out, since a network that is to "
    "ignore them ignores the traces of forgery too; with them the plan's question is another one, so probe both.",
    "AdamW takes the place of LARS, and its rate is ours.",
)
SIMCLR_READINGS: Final = (
    "SimCLR: NT-Xent at temperature 0.1 on 128 dimensions, one hidden layer, over the batches of all devices.",
    *_SHARED,
    ON_DEVICE,
)
MOCO_READINGS: Final = (
    "MoCo v3 has no queue. With regime.queue=0 this is MoCo v3; moco_resnet50_queue, with the plan's 4,096 keys, is "
    "MoCo v2's form on MoCo v3's heads.",
    "Momentum 0.999 is the plan's; MoCo v3 itself starts at 0.99 and grows to 1 (regime.schedule: cosine). Temperature "
    "0.2 is that of its published commands.",
    *_SHARED,
    ON_DEVICE,
)
_NONE: Final = MixConfig(p=0.0, alpha=1.0)
_VIEWS: Final = AugmentConfig(
    on="device",
    p=1.0,
    flip=0.5,
    rotation=RotationConfig(p=0.0),
    crop=CropConfig(scale=(0.3, 1.0)),
    jitter=JitterConfig(p=0.8, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05),
    gridmask=GridMaskConfig(p=0.0),
    jpeg=JpegConfig(p=0.0),
    frequency=FrequencyConfig(p=0.0),
    compression=CompressionConfig(p=0.0),
    cutmix=_NONE,
    mixup=_NONE,
)

SIMCLR: Final = TrainingRecipe(
    name="simclr_resnet50",
    model=ResNetConfig(arch="resnet50.a1_in1k", pretrained="none", dropout=0.0),
    regime=SimCLRConfig(temperature=0.1, dim=128, exclude="family"),
    loss=LossConfig(),
    optimiser=AdamWConfig(lr=5e-4, weight_decay=1e-3),
    schedule=CosineConfig(warmup_epochs=10),
    data=DataConfig(query="label = 0", views=2, balanced_per_method=False, batch_size=256),
    augment=_VIEWS,
    epochs=200,
    precision="mixed",
)
MOCO: Final = SIMCLR.model_copy(
    update={"name": "moco_resnet50", "regime": MoCoConfig(momentum=0.999, queue=0, temperature=0.2, exclude="family")}
)

_SMALL: Final[dict[str, Any]] = {
    "model.arch": "resnet18.a1_in1k",
    "optimiser.lr": 1e-3,
    "schedule.warmup_epochs": 1,
    "data.batch_size": 32,
    "augment.on": "workers",
    "augment.size": 64,
    "epochs": 8,
}
SIMCLR_VARIANTS: Final[dict[str, dict[str, Any]]] = {"simclr_resnet50_small": _SMALL}
MOCO_VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "moco_resnet50_queue": {"regime.queue": 4096},
    "moco_resnet50_small": _SMALL | {"regime.hidden": 512, "regime.dim": 128, "regime.momentum": 0.95},
}

register(SIMCLR, SIMCLR_VARIANTS, SIMCLR_READINGS)
register(MOCO, MOCO_VARIANTS, MOCO_READINGS)

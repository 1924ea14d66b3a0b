"""Pretext tasks on real faces: rotation, jigsaw, temporal order and masked autoencoding; small forms too."""

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
from semblance.training.data.units import ClipConfig
from semblance.training.losses import BceConfig, LossConfig
from semblance.training.models.resnet import ResNetConfig
from semblance.training.models.vit import ViTConfig
from semblance.training.optim import AdamWConfig, CosineConfig
from semblance.training.recipes.base import ON_DEVICE, DataConfig, TrainingRecipe, register
from semblance.training.regimes.jigsaw import JigsawConfig
from semblance.training.regimes.masked import MaskedConfig
from semblance.training.regimes.pretext import PretextConfig
from semblance.training.regimes.rotation import RotationConfig as TurnsConfig
from semblance.training.regimes.temporal_order import OrderConfig

_SHARED: Final = (
    "The plan names the task and no setting of it. Only real faces are learned from (data.query: label = 0), from "
    "random weights; the best epoch has the lowest loss on val, and a label is never read.",
    "Augmentation is a mirror and a window. Jitter, blur and encoders would teach a model not to see the traces that a "
    "detector needs.",
    ON_DEVICE,
)
ROTATION: Final = (
    "Rotation is by exact quarter turns, all four of each picture in a step, and all outside a centred disc is grey.",
    *_SHARED,
)
JIGSAW: Final = (
    "Jigsaw puts 3 x 3 tiles together into one picture in one of 30 orders, after JiGen; gaps, places drawn within the "
    "cells and one mean and deviation of all tiles leave no edge and no colour that goes on.",
    *_SHARED,
)
ORDER: Final = (
    "Temporal order is told for clips of 4 faces of one track, as one of 12 classes: an order and its reverse in time "
    "are one. A clip in which two faces differ by less than 0.01 is a guess.",
    "The spacing of faces in time is the build's; data.query thins them out (frame_index % 8 = 1).",
    "Clips are not augmented but for a mirror of the whole clip: to change each face by itself would hide what moves.",
    *_SHARED[:1],
)
MASKED: Final = (
    "Masked autoencoding has He et al.'s settings: 75 % of patches are hidden, AdamW at 1.5e-4 for 256 pictures (betas "
    "0.9 and 0.95, weight decay 0.05), 40 epochs of warm-up, a mirror and windows of 0.2 to 1. Ours has 400 epochs, "
    "and a decoder of 4 blocks of 256 features.",
    *_SHARED,
)
_NONE: Final = MixConfig(p=0.0, alpha=1.0)


def _augment(p: float, least: float) -> AugmentConfig:
    """A mirror, and a square window of at least that share of the area."""
    return AugmentConfig(
        on="device",
        p=p,
        flip=0.5,
        rotation=RotationConfig(p=0.0),
        crop=CropConfig(scale=(least, 1.0), ratio=(1.0, 1.0)),
        jitter=JitterConfig(p=0.0),
        gridmask=GridMaskConfig(p=0.0),
        jpeg=JpegConfig(p=0.0),
        frequency=FrequencyConfig(p=0.0),
        compression=CompressionConfig(p=0.0),
        cutmix=_NONE,
        mixup=_NONE,
    )


def _resnet50(name: str, regime: PretextConfig, **changes: Any) -> TrainingRecipe:
    data = {"query": "label = 0", "mix": None, "balanced_per_method": False, "batch_size": 128}
    return TrainingRecipe(
        name=name,
        model=ResNetConfig(arch="resnet50.a1_in1k", pretrained="none", dropout=0.0),
        regime=regime,
        loss=LossConfig(bce=BceConfig(weight=1.0)),
        optimiser=AdamWConfig(lr=5e-4, weight_decay=1e-4),
        schedule=CosineConfig(warmup_epochs=5),
        data=DataConfig(**data | changes.pop("data", {})),
        augment=changes.pop("augment", None) or _augment(1.0, 0.6),
        epochs=100,
        precision="mixed",
        clip_norm=1.0,
    )


_SMALL: Final[dict[str, Any]] = {
    "augment.on": "workers",
    "augment.size": 64,
    "optimiser.lr": 1e-3,
    "schedule.warmup_epochs": 1,
    "data.batch_size": 32,
}
_SMALL_RESNET: Final = _SMALL | {"model.arch": "resnet18.a1_in1k"}

register(
    _resnet50("rotation_resnet50", TurnsConfig(), data={"batch_size": 32}),
    {"rotation_resnet50_small": _SMALL_RESNET | {"data.batch_size": 16, "epochs": 4}},
    ROTATION,
)
register(
    _resnet50("jigsaw_resnet50", JigsawConfig()),
    {"jigsaw_resnet50_small": _SMALL_RESNET | {"regime.permutations": 8, "epochs": 8}},
    JIGSAW,
)
register(
    _resnet50(
        "order_resnet50",
        OrderConfig(frames=4),
        data={"mode": "clips", "clip": ClipConfig(frames=4, step=1), "batch_size": 32},
        augment=_augment(0.0, 1.0),
    ),
    {"order_resnet50_small": _SMALL_RESNET | {"regime.frames": 3, "data.clip.frames": 3, "epochs": 5}},
    ORDER,
)
register(
    TrainingRecipe(
        name="mae_vit_s",
        model=ViTConfig(arch="vit_small_patch16_224", pretrained="none", trainable="all", size=224, unit_length=False),
        regime=MaskedConfig(),
        loss=LossConfig(bce=BceConfig(weight=1.0)),
        optimiser=AdamWConfig(lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05),
        schedule=CosineConfig(warmup_epochs=40),
        data=DataConfig(query="label = 0", mix=None, balanced_per_method=False, batch_size=256),
        augment=_augment(1.0, 0.2),
        epochs=400,
        scale_lr="linear",
        lr_batch=256,
        precision="mixed",
    ),
    {
        "mae_vit_s_small": {
            "model.arch": "vit_tiny_patch16_224",
            "model.size": 112,
            "regime.width": 96,
            "regime.depth": 1,
            "regime.heads": 3,
            "augment.on": "workers",
            "augment.size": 112,
            "augment.crop.scale": [0.6, 1.0],
            "optimiser.lr": 1e-3,
            "scale_lr": "none",
            "lr_batch": None,
            "schedule.warmup_epochs": 2,
            "data.batch_size": 32,
            "epochs": 12,
        }
    },
    MASKED,
)

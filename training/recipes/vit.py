"""Vision transformers of which the norms are tuned, after GenD; small forms for small machines, and their baseline.

Yermakov et al., Deepfake Detection that Generalizes Across Benchmarks, WACV 2026; settings of the repository
yermandy/GenD at e03532d and b26c2b2 (``src/config.py``, ``src/exp/wacv_rebuttal.py``).
"""

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
from semblance.training.losses import AlignmentConfig, BceConfig, LossConfig, UniformityConfig
from semblance.training.models.vit import ViTConfig
from semblance.training.optim import AdamWConfig, CosineConfig
from semblance.training.recipes.base import ON_DEVICE, DataConfig, TrainingRecipe, register

READINGS: Final = (
    "GenD's settings: only normalisation layers and the head are trained, features have length 1, cross-entropy (here "
    "of one logit) plus 0.5 x uniformity and 0.1 x alignment by label, AdamW at 3e-4 without weight decay, 30 epochs.",
    "GenD's rate follows three cosine cycles of ten epochs, each from the full rate; ours is one half cosine over all "
    "epochs, without warm-up, down to 1e-6.",
    "A fake and its original at the same frame are drawn together (data.mode pairs). A step has 8 x 32 pairs, 512 "
    "pictures as in GenD's defaults; uniformity and alignment see the 64 pictures of a batch.",
    "GenD turns, moves and scales every picture (10 degrees, 10 %, 0.9 to 1.1); here each is turned, and a window of "
    "0.9 to 1 of its side takes the place of moving and scaling. Its blur (p 0.1) is not among our steps.",
    "Crops have a margin of 1.3 and 32 frames a video, as the build recipe plan has them. The best epoch is chosen by "
    "the AUC by video on val.",
    "vit_s_norms_small and vit_s_plain_small are ViT-Ti/16 at 112 px from random weights, of which norms alone can "
    "learn little: they compare what is trained, with as many pictures each, and say nothing about GenD's figures.",
    ON_DEVICE,
)
_NONE: Final = MixConfig(p=0.0, alpha=1.0)

RECIPE: Final = TrainingRecipe(
    name="vit_l_norms",
    model=ViTConfig(arch="vit_large_patch14_clip_224.openai", pretrained="imagenet", trainable="norms", size=224),
    loss=LossConfig(
        bce=BceConfig(weight=1.0), uniformity=UniformityConfig(weight=0.5), alignment=AlignmentConfig(weight=0.1)
    ),
    optimiser=AdamWConfig(lr=3e-4, betas=(0.9, 0.999), weight_decay=0.0),
    schedule=CosineConfig(warmup_epochs=0, floor=1e-6 / 3e-4),
    data=DataConfig(mode="pairs", mix=None, balanced_per_method=True, batch_size=32),
    augment=AugmentConfig(
        on="device",
        p=1.0,
        size=224,
        flip=0.5,
        rotation=RotationConfig(p=1.0, degrees=10.0),
        crop=CropConfig(scale=(0.81, 1.0), ratio=(1.0, 1.0)),
        jitter=JitterConfig(p=1.0, brightness=0.1, contrast=0.1, saturation=0.0, hue=0.0),
        gridmask=GridMaskConfig(p=0.0),
        jpeg=JpegConfig(p=1.0, quality=(40, 100)),
        frequency=FrequencyConfig(p=0.0),
        compression=CompressionConfig(p=0.0),
        cutmix=_NONE,
        mixup=_NONE,
    ),
    epochs=30,
    accumulate=8,
    precision="mixed",
)

_SMALL: Final[dict[str, Any]] = {
    "model.arch": "vit_tiny_patch16_224",
    "model.pretrained": "none",
    "model.size": 112,
    "augment.on": "workers",
    "augment.size": 112,
    "epochs": 8,
    "accumulate": 1,
}
VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "vit_pe_l_norms": {"model.arch": "vit_pe_core_large_patch14_336.fb"},
    "vit_dinov3_l_norms": {"model.arch": "vit_large_patch16_dinov3.lvd1689m"},
    "vit_s_norms_small": _SMALL | {"data.batch_size": 16, "data.draws": 1280},
    "vit_s_plain_small": _SMALL
    | {
        "model.trainable": "all",
        "model.unit_length": False,
        "loss.uniformity.weight": 0.0,
        "loss.alignment.weight": 0.0,
        "data.mode": "frames",
        "data.draws": 2560,  # pictures, as many as in 1,280 pairs
    },
}

register(RECIPE, VARIANTS, READINGS)

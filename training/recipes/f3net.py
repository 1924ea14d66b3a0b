"""The plan's F3-Net, the same from Xception's ImageNet weights, and a small one for small machines."""

from __future__ import annotations

from typing import Any, Final

from training.augment.config import AugmentConfig, CompressionConfig, FrequencyConfig, JpegConfig, MixConfig
from training.losses import BceConfig, CentreConfig, LossConfig
from training.models import F3NetConfig
from training.optim import AdamConfig, PlateauConfig
from training.recipes.base import DataConfig, TrainingRecipe

# Readings of the plan: "DCT-frequency loss" is the single-centre loss (Li et al., CVPR 2021) on the pooled frequency
# embedding, weight 0.3 once, its margin 0.3 sqrt(D), skipped where a batch lacks a class. "DCT preprocessing" and
# "adaptive DCT coefficient selection" are FAD and LFS with their learned masks. "High-frequency and compression
# emphasis" and "frequency augmentation" are noise on the upper three quarters of the spectrum and re-encodings in half
# of the augmented pictures each; nothing is mixed, since a mixture of two pictures has the frequencies of neither.
# "All" draws every dataset by its size. Where spectral norm and the two dropouts stand: training/models/f3net.py.
RECIPE: Final = TrainingRecipe(
    name="f3net",
    model=F3NetConfig(pretrained="none", mode="mix", spatial_dropout=0.3, frequency_dropout=0.2, spectral_norm=True),
    loss=LossConfig(bce=BceConfig(weight=1.0), centre=CentreConfig(weight=0.3, margin=0.3)),
    optimiser=AdamConfig(lr=5e-4, betas=(0.9, 0.999)),
    schedule=PlateauConfig(patience=5),
    data=DataConfig(mix=None, balanced_per_method=False, batch_size=24),
    augment=AugmentConfig(
        jpeg=JpegConfig(p=0.5),
        frequency=FrequencyConfig(p=0.5, start=0.25),
        compression=CompressionConfig(p=0.5),
        cutmix=MixConfig(p=0.0, alpha=1.0),
        mixup=MixConfig(p=0.0, alpha=0.2),
    ),
    epochs=80,
)

VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "f3net_pretrained": {"model.pretrained": "imagenet"},
    "f3net_small": {
        "model.width": 0.25,
        "model.size": 112,
        "data.balanced_per_method": True,
        "augment.size": 112,
        "epochs": 8,
    },
}

"""The plan's F3-Net, a variant with Xception's ImageNet weights, and a small one for small machines."""

from __future__ import annotations

from typing import Any, Final

from semblance.training.augment.config import AugmentConfig, CompressionConfig, FrequencyConfig, JpegConfig, MixConfig
from semblance.training.losses import BceConfig, CentreConfig, LossConfig
from semblance.training.models.f3net import F3NetConfig
from semblance.training.optim import AdamConfig, PlateauConfig
from semblance.training.recipes.base import ON_DEVICE, DataConfig, TrainingRecipe, register

READINGS: Final = (
    "The DCT-frequency loss is not a published loss. Ours is the single-centre loss (Li et al., CVPR 2021) on the "
    "pooled frequency embedding, with margin 0.3 sqrt(D) and weight 0.3; it is skipped if a batch has only one class.",
    "DCT preprocessing is FAD and LFS; adaptive selection of DCT coefficients is their learned masks.",
    "Spectral norm is applied only to the final linear layer and MixBlock's 1x1 convolutions. Before a batch norm it "
    "would cancel out, and invalidate pretrained statistics.",
    "Spatial dropout drops entire maps of each stream's last features. Frequency dropout zeroes random diagonals "
    "between FAD's DCT and its inverse.",
    "Emphasis on high frequencies and compression, and frequency augmentation, are noise on the upper three quarters "
    "of the spectrum and re-encoding, each in half of the augmented pictures. Pictures are not mixed: a mixture has "
    "the frequencies of neither.",
    "Automatic mixed precision is bf16 on a GPU that has it, else 16 bits with a scaled loss; 32 bits on a CPU. The "
    "DCT is computed in 32 bits always.",
    "All: every dataset is drawn in proportion to its size.",
    "F3-Net has no early stopping, no balance and no weights of classes, as the plan names none: all epochs are run, "
    "the best by val AUC is kept, and batches have four fifths fakes where a dataset does, as FF++ has.",
    "The centre loss starts at 20 to 60 times the BCE, since features are spread widely at first; the plateau watches "
    "the val loss, which is BCE alone.",
    "This recipe uses He initialisation; f3net_pretrained starts from Xception's ImageNet weights.",
    ON_DEVICE,
)

RECIPE: Final = TrainingRecipe(
    name="f3net",
    model=F3NetConfig(pretrained="none", mode="mix", spatial_dropout=0.3, frequency_dropout=0.2, spectral_norm=True),
    loss=LossConfig(bce=BceConfig(weight=1.0), centre=CentreConfig(weight=0.3, margin=0.3)),
    optimiser=AdamConfig(lr=5e-4, betas=(0.9, 0.999)),
    schedule=PlateauConfig(patience=5),
    data=DataConfig(mix=None, balanced_per_method=False, batch_size=24),
    augment=AugmentConfig(
        on="device",
        jpeg=JpegConfig(p=0.5),
        frequency=FrequencyConfig(p=0.5, start=0.25),
        compression=CompressionConfig(p=0.5),
        cutmix=MixConfig(p=0.0, alpha=1.0),
        mixup=MixConfig(p=0.0, alpha=0.2),
    ),
    epochs=80,
    precision="mixed",
)

VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "f3net_pretrained": {"model.pretrained": "imagenet"},
    "f3net_small": {
        "model.width": 0.25,
        "model.size": 112,
        "data.balanced_per_method": True,
        "augment.on": "workers",
        "augment.size": 112,
        "epochs": 8,
    },
}

register(RECIPE, VARIANTS, READINGS)

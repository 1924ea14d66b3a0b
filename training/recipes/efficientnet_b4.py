"""The plan's EfficientNet-B4, a variant with a rate scaled to its batch, and a small one for small machines."""

from __future__ import annotations

from typing import Any, Final

from semblance.training.augment.config import (
    AugmentConfig,
    CompressionConfig,
    FrequencyConfig,
    JpegConfig,
    MixConfig,
    PolicyConfig,
    SelfBlendConfig,
)
from semblance.training.losses import ArcFaceConfig, BceConfig, LossConfig
from semblance.training.models.efficientnet import EfficientNetConfig
from semblance.training.optim import ExponentialConfig, RMSpropConfig
from semblance.training.recipes.base import ON_DEVICE, DataConfig, TrainingRecipe, register

READINGS: Final = (
    "Drop path and drop connect are the same in EfficientNet: one rate of 0.2 stands for both.",
    "ArcFace has two classes, a margin of 0.5 rad (28.6 degrees) and scale 16; at the library's 64 it would be 95 % of "
    "the sum. It is computed on the embedding, in training only, and BCE's logit is the only score.",
    "RMSprop is timm's RMSpropTF (alpha 0.9, epsilon 1e-3). Its rate of 0.016 is meant for a batch of 256, and this "
    "step has 2 x 16 units. efficientnet_b4_scaled scales it to 0.016 x 32 / 256 = 0.002, and to any other "
    "data.batch_size; compare both.",
    "The exponential schedule multiplies the rate by 0.97 after every epoch.",
    "The average of the weights has decay min(0.9999, (1 + t) / (10 + t)) after t steps.",
    "Losses on embeddings skip samples that CutMix or MixUp changed.",
    "Advanced augmentation is every available step, including the policy for forgeries and self-blending, with "
    "compression and frequency noise more often. Self-blending estimates the face's hull from five points, so the "
    "paper's results do not apply.",
    "Mixed precision is bf16 on a GPU that has it, else 16 bits with a scaled loss; 32 bits on a CPU.",
    "TTA is the mean logit of image and mirror image, the score of the run wherever it is asked.",
    ON_DEVICE,
)

RECIPE: Final = TrainingRecipe(
    name="efficientnet_b4",
    model=EfficientNetConfig(arch="tf_efficientnet_b4.ap_in1k", pretrained="imagenet", drop_path=0.2),
    loss=LossConfig(bce=BceConfig(weight=0.7), arcface=ArcFaceConfig(weight=0.3, margin=0.5, scale=16.0)),
    optimiser=RMSpropConfig(lr=0.016, alpha=0.9, eps=1e-3, momentum=0.9, weight_decay=1e-5),
    schedule=ExponentialConfig(gamma=0.97),
    data=DataConfig(mix={"ffpp": 0.50, "dfdc": 0.30, "celebdf": 0.20}, balanced_per_method=False, batch_size=16),
    augment=AugmentConfig(
        on="device",
        jpeg=JpegConfig(p=0.5),
        frequency=FrequencyConfig(p=0.3),
        compression=CompressionConfig(p=0.4),
        policy=PolicyConfig(p=0.3),
        self_blend=SelfBlendConfig(p=0.2),
        cutmix=MixConfig(p=0.3, alpha=1.0),
        mixup=MixConfig(p=0.3, alpha=0.2),
    ),
    epochs=60,
    accumulate=2,
    precision="mixed",
    ema_decay=0.9999,
    tta="mirror",
)

VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "efficientnet_b4_scaled": {"scale_lr": "linear", "lr_batch": 256},
    "efficientnet_b4_small": {
        "model.arch": "tf_efficientnet_b0.ap_in1k",
        "model.pretrained": "none",
        "optimiser.lr": 0.002,
        "data.mix": None,
        "data.balanced_per_method": True,
        "augment.on": "workers",
        "augment.size": 112,
        "augment.cutmix.p": 0.0,
        "augment.mixup.p": 0.0,
        "epochs": 8,
        "accumulate": 1,
    },
}

register(RECIPE, VARIANTS, READINGS)

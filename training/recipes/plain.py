"""Published simple recipes, as baselines: one network, cross-entropy, and DeepfakeBench's settings for all of them.

Yan et al., DeepfakeBench, NeurIPS 2023 (datasets and benchmarks); settings of its repository,
``training/config/detector/xception.yaml`` and ``efficientnetb4.yaml`` at 64366cf and db3e348.
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
from semblance.training.losses import BceConfig, LossConfig
from semblance.training.models import AnyModelConfig
from semblance.training.models.efficientnet import EfficientNetConfig
from semblance.training.models.f3net import F3NetConfig
from semblance.training.models.resnet import ResNetConfig
from semblance.training.optim import AdamConfig, ExponentialConfig
from semblance.training.recipes.base import ON_DEVICE, DataConfig, TrainingRecipe, register

READINGS: Final = (
    "A baseline with DeepfakeBench's settings: Adam at 2e-4 with an L2 penalty of 5e-4, batches of 32 crops of 256 px, "
    "ten epochs at one rate, cross-entropy (here of one logit), ImageNet's weights.",
    "Its augmentation is a mirror, brightness and contrast by 10 %, JPEG of quality 40 to 100, rotation by 10 degrees "
    "(not for Xception), and a blur, which is not among our steps.",
    "Ours differs: the best epoch is chosen on val; faces are found and cut by the build; EfficientNet has AdvProp's "
    "weights, and there is a ResNet-50 in place of its ResNet-34.",
    ON_DEVICE,
)
_NONE: Final = MixConfig(p=0.0, alpha=1.0)
_SMALL: Final[dict[str, Any]] = {"model.pretrained": "none", "augment.on": "workers", "augment.size": 112, "epochs": 8}


def _plain(name: str, model: AnyModelConfig, *, rotation: float = 0.5) -> TrainingRecipe:
    return TrainingRecipe(
        name=name,
        model=model,
        loss=LossConfig(bce=BceConfig(weight=1.0)),
        optimiser=AdamConfig(lr=2e-4, betas=(0.9, 0.999), weight_decay=5e-4),
        schedule=ExponentialConfig(gamma=1.0),  # one rate
        data=DataConfig(mix=None, balanced_per_method=False, batch_size=32),
        augment=AugmentConfig(
            on="device",
            p=1.0,
            size=256,
            flip=0.5,
            rotation=RotationConfig(p=rotation, degrees=10.0),
            crop=CropConfig(scale=(1.0, 1.0), ratio=(1.0, 1.0)),
            jitter=JitterConfig(p=0.5, brightness=0.1, contrast=0.1, saturation=0.0, hue=0.0),
            gridmask=GridMaskConfig(p=0.0),
            jpeg=JpegConfig(p=0.5, quality=(40, 100)),
            frequency=FrequencyConfig(p=0.0),
            compression=CompressionConfig(p=0.0),
            cutmix=_NONE,
            mixup=_NONE,
        ),
        epochs=10,
        precision="mixed",
    )


_BARE: Final = F3NetConfig(
    pretrained="imagenet", mode="rgb", size=256, spatial_dropout=0.0, frequency_dropout=0.0, spectral_norm=False
)

register(
    _plain("xception", _BARE, rotation=0.0),
    {"xception_small": _SMALL | {"model.width": 0.25, "model.size": 112}},
    READINGS,
)
register(
    _plain("resnet50_plain", ResNetConfig(arch="resnet50.a1_in1k", pretrained="imagenet", dropout=0.0)),
    {"resnet50_plain_small": _SMALL | {"model.arch": "resnet18.a1_in1k"}},
    READINGS,
)
register(
    _plain("efficientnet_b4_plain", EfficientNetConfig(pretrained="imagenet", drop_path=0.0, dropout=0.0)),
    {"efficientnet_b4_plain_small": _SMALL | {"model.arch": "tf_efficientnet_b0.ap_in1k"}},
    READINGS,
)

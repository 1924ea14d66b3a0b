"""Students of a trained run or ensemble: a MobileNet and a small ResNet, each with a form for small machines."""

from __future__ import annotations

from typing import Any, Final

from semblance.training.augment.config import AugmentConfig, MixConfig
from semblance.training.losses import BceConfig, LossConfig
from semblance.training.models import AnyModelConfig
from semblance.training.models.mobilenet import MobileNetConfig
from semblance.training.models.resnet import ResNetConfig
from semblance.training.optim import AdamWConfig, CosineConfig
from semblance.training.recipes.base import ON_DEVICE, DataConfig, TrainingRecipe, register
from semblance.training.regimes.distil import DistilConfig

READINGS: Final = (
    "Distillation is 0.7 x T^2 x BCE(student / T, sigmoid(teacher / T)) + 0.3 x BCE on labels, with T 4: for one logit "
    "it is the two-class Kullback-Leibler divergence plus the teacher's entropy, which has no gradient.",
    "The teacher is a run, or an ensemble with its members' weights, uncalibrated and in eval mode. It answers the "
    "student's own pictures, augmented and mixed; with CutMix or MixUp the soft target is its answer to the mixture.",
    "The stages 1.0, 0.5 and 0.25 of `training distil` are shares of the first student's GFLOP; narrower students "
    "begin with random weights, since ImageNet's are of the whole width.",
    "A stage is begun if the student before it keeps 0.95 of the teacher's AUC by video on val.",
    ON_DEVICE,
)
_SMALL: Final[dict[str, Any]] = {
    "model.pretrained": "none",
    "optimiser.lr": 2e-3,
    "schedule.warmup_epochs": 1,
    "augment.on": "workers",
    "augment.size": 112,
    "augment.cutmix.p": 0.0,
    "augment.mixup.p": 0.0,
    "epochs": 8,
    "early_stop": None,
}


def _student(name: str, model: AnyModelConfig) -> TrainingRecipe:
    return TrainingRecipe(
        name=name,
        model=model,
        regime=DistilConfig(temperature=4.0, soft=0.7, hard=0.3),
        loss=LossConfig(bce=BceConfig(weight=1.0)),
        optimiser=AdamWConfig(lr=5e-4, weight_decay=1e-4),
        schedule=CosineConfig(warmup_epochs=5),
        data=DataConfig(mix=None, balanced_per_method=True, batch_size=32),
        augment=AugmentConfig(on="device", cutmix=MixConfig(p=0.3, alpha=1.0), mixup=MixConfig(p=0.3, alpha=0.2)),
        epochs=50,
        precision="mixed",
        clip_norm=1.0,
        early_stop=10,
    )


register(
    _student(
        "distil_mobilenet",
        MobileNetConfig(arch="mobilenetv4_conv_small.e2400_r224_in1k", pretrained="imagenet", dropout=0.2),
    ),
    {"distil_mobilenet_small": _SMALL},
    READINGS,
)
register(
    _student("distil_resnet", ResNetConfig(arch="resnet18.a1_in1k", pretrained="imagenet", dropout=0.2)),
    {"distil_resnet_small": _SMALL},
    READINGS,
)

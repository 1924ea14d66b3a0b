"""A head over clips on a frozen frame model, and a small variant for small machines."""

from __future__ import annotations

from typing import Any, Final

from semblance.training.augment.config import AugmentConfig, MixConfig
from semblance.training.data.units import ClipConfig
from semblance.training.losses import BceConfig, LossConfig
from semblance.training.models.temporal import TemporalConfig
from semblance.training.optim import AdamWConfig, CosineConfig
from semblance.training.recipes.base import ON_DEVICE, DataConfig, TrainingRecipe, register

READINGS: Final = (
    "The plan has no model over time. This one is trained on the embeddings of a frozen frame model, "
    "model.frames_from, and starts as that model: the mean logit of a clip's pictures.",
    "All pictures of a clip are augmented alike, and a person's clips cover all their pictures in validation.",
    "The run to compare with is the frame model itself: its score of a person is the mean logit of their pictures too.",
    ON_DEVICE,
)

RECIPE: Final = TrainingRecipe(
    name="temporal",
    model=TemporalConfig(frames=8, pooling="attention", dropout=0.2),
    loss=LossConfig(bce=BceConfig(weight=1.0)),
    optimiser=AdamWConfig(lr=3e-4, weight_decay=1e-2),
    schedule=CosineConfig(warmup_epochs=1),
    data=DataConfig(
        mix=None,
        balanced_per_method=True,
        batch_size=16,
        mode="clips",
        clip=ClipConfig(frames=8, step=4),
    ),
    augment=AugmentConfig(on="device", cutmix=MixConfig(p=0.0, alpha=1.0), mixup=MixConfig(p=0.0, alpha=0.2)),
    epochs=10,
    precision="mixed",
    clip_norm=1.0,
    early_stop=5,
)

VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "temporal_small": {
        "augment.on": "workers",
        "augment.size": 112,
        "data.batch_size": 8,
        "epochs": 4,
        "early_stop": None,
    },
}

register(RECIPE, VARIANTS, READINGS)

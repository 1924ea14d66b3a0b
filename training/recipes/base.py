"""The training recipe: everything that decides what is learned, and nothing that only decides how fast."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from semblance.manifests import config
from semblance.manifests.config import Config
from semblance.manifests.registry import Registry
from semblance.training.augment.config import AugmentConfig
from semblance.training.data.loader import DataConfig
from semblance.training.losses import LossConfig
from semblance.training.models import AnyModelConfig
from semblance.training.optim import CosineConfig, OptimiserConfig, ScheduleConfig
from semblance.training.regimes import AnyRegimeConfig
from semblance.training.regimes.supervised import SupervisedConfig


class TrainingRecipe(Config):
    """A complete training recipe. ``base``: the recipe that it was derived from, if any.

    An optimiser step takes ``accumulate`` batches of ``data.batch_size`` units, over all devices together.
    ``optimiser.lr`` is used as it is, unless ``scale_lr`` adapts it to the units of a step: it is then meant for
    ``lr_batch`` units, and grows with their number (``linear``, Goyal et al. 2017) or its root (``sqrt``, Hoffer et al.
    2017). ``precision: mixed`` is bf16 on a GPU that has it, 16 bits on another and 32 on a CPU.
    """

    name: str
    base: str | None = None
    seed: int = 0
    model: AnyModelConfig
    regime: AnyRegimeConfig = SupervisedConfig()
    loss: LossConfig
    optimiser: OptimiserConfig
    schedule: ScheduleConfig
    data: DataConfig
    augment: AugmentConfig
    epochs: int = Field(ge=1)
    accumulate: int = Field(default=1, ge=1)  # batches per optimiser step
    scale_lr: Literal["none", "linear", "sqrt"] = "none"
    lr_batch: int | None = Field(default=None, ge=1)
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "mixed"] = "32-true"  # Lightning's names, and mixed
    ema_decay: float | None = Field(default=None, gt=0, lt=1)  # upper limit of (1 + t) / (10 + t); None: no average
    clip_norm: float | None = Field(default=None, gt=0)  # of the norm of all gradients
    early_stop: int | None = Field(default=None, ge=1)  # epochs without a better val figure
    tta: Literal["none", "mirror"] = "none"  # mirror: the score is the mean logit of image and mirror image

    @property
    def units(self) -> int:
        """Units of an optimiser step, over all devices and batches."""
        return self.data.batch_size * self.accumulate

    @property
    def lr(self) -> float:
        """The rate at which training begins, before the schedule."""
        if self.lr_batch is None or self.scale_lr == "none":
            return self.optimiser.lr
        factor = self.units / self.lr_batch
        return self.optimiser.lr * (factor if self.scale_lr == "linear" else math.sqrt(factor))

    @model_validator(mode="after")
    def _scaling_has_a_batch(self) -> TrainingRecipe:
        if (self.scale_lr == "none") != (self.lr_batch is None):
            raise ValueError(
                "scale_lr needs lr_batch, the units of a step that optimiser.lr is meant for, and the reverse"
            )
        return self

    @model_validator(mode="after")
    def _clips_are_as_long_as_the_model_takes(self) -> TrainingRecipe:
        members, data = self.model.members, self.data
        if members > 1 and (data.mode != "clips" or data.clip.frames != members):
            drawn = f"clips of {data.clip.frames}" if data.mode == "clips" else data.mode
            raise ValueError(
                f"model.frames is {members}, but data draws {drawn}; set data.mode=clips and data.clip.frames={members}"
            )
        return self

    @model_validator(mode="after")
    def _clips_are_as_the_regime_takes_them(self) -> TrainingRecipe:
        clip, data = self.regime.clip, self.data
        if clip is None:
            return self
        if data.mode != "clips" or data.clip.frames != clip:
            raise ValueError(
                f"regime {self.regime.kind} takes clips of {clip} faces; set data.mode=clips and "
                f"data.clip.frames={clip}"
            )
        if self.augment.p:
            raise ValueError(
                f"regime {self.regime.kind} compares the faces of a clip, which augmentation would change one by one; "
                "set augment.p=0"
            )
        return self

    @model_validator(mode="after")
    def _pictures_without_labels_are_not_mixed(self) -> TrainingRecipe:
        changed = {
            "augment.cutmix.p": self.augment.cutmix.p,
            "augment.mixup.p": self.augment.mixup.p,
            "augment.self_blend.p": self.augment.self_blend.p,
        }
        if not self.regime.labelled and (wrong := [name for name, p in changed.items() if p]):
            raise ValueError(f"regime {self.regime.kind} learns without labels, which {wrong[0]} changes; set it to 0")
        return self

    @model_validator(mode="after")
    def _starts_from_the_run_before(self) -> TrainingRecipe:
        before = self.regime.starts_from
        if before is not None and self.model.pretrained != before:
            raise ValueError(
                f"regime {self.regime.kind} goes on from {before}, but model.pretrained is {self.model.pretrained}; "
                f"set model.pretrained={before}"
            )
        return self

    @model_validator(mode="after")
    def _run_is_long_enough(self) -> TrainingRecipe:
        self.regime.check_epochs(self.epochs)
        return self

    @model_validator(mode="after")
    def _warmup_is_shorter(self) -> TrainingRecipe:
        if isinstance(self.schedule, CosineConfig) and self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs ({self.schedule.warmup_epochs:g}) must be fewer than epochs ({self.epochs}); "
                "change one of them"
            )
        return self


def derive(base: TrainingRecipe, name: str, changes: Mapping[str, Any]) -> TrainingRecipe:
    """``base`` under another name, with the values at dotted keys replaced."""
    values = base.model_dump(mode="json") | {"name": name, "base": base.name}
    for key, value in changes.items():
        section = values
        *sections, last = key.split(".")
        for part in sections:
            section = section[part]
        section[last] = value
    return config.parse(TrainingRecipe, values, name)


NAMED: Final[Registry[TrainingRecipe]] = Registry("recipe", "--recipe")
ON_DEVICE: Final = (  # of the augmentation, for the readings of a recipe
    "Geometry, colours, noise on the spectrum and grid mask are done to whole batches on the device, after policy and "
    "encoders, which the loader's workers do. With augment.on=workers encoders come after geometry, colours and noise."
)
READINGS: Final[dict[str, tuple[str, ...]]] = {}  # by the recipe that variants are derived from


def register(recipe: TrainingRecipe, variants: Mapping[str, Mapping[str, Any]], readings: tuple[str, ...] = ()) -> None:
    """Register a recipe and its variants by name. ``readings``: how the plan was interpreted, for its page.

    ``variants``: name -> the values that differ, by dotted key. Raises ValueError if a name is taken.
    """
    NAMED.add(recipe.name, recipe)
    for name, changes in variants.items():
        NAMED.add(name, derive(recipe, name, changes))
    READINGS[recipe.name] = readings


__all__ = ["NAMED", "ON_DEVICE", "READINGS", "DataConfig", "TrainingRecipe", "derive", "register"]

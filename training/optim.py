"""Optimisers, their schedules, and the average of the weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from manifests.recipe import Config


class AdamWConfig(Config):
    """AdamW (Loshchilov and Hutter 2019), torch's; ``lr`` a step, decay decoupled."""

    kind: Literal["adamw"] = "adamw"
    lr: float = Field(default=1e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=1e-4, ge=0)


class RMSpropConfig(Config):
    """timm's RMSpropTF: epsilon inside the root, the mean square starting at one, the rate inside the momentum,
    as in the TensorFlow in which EfficientNet was trained.
    """

    kind: Literal["rmsprop_tf"] = "rmsprop_tf"
    lr: float = Field(default=0.016, gt=0)
    alpha: float = Field(default=0.9, ge=0, lt=1)
    eps: float = Field(default=1e-3, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-5, ge=0)


class AdamConfig(Config):
    """Adam (Kingma and Ba 2015), torch's."""

    kind: Literal["adam"] = "adam"
    lr: float = Field(default=5e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)


class CosineConfig(Config):
    """A linear rise over ``warmup_epochs``, then half a cosine down to ``floor`` times the rate; set every step."""

    kind: Literal["cosine"] = "cosine"
    warmup_epochs: float = Field(default=5, ge=0)
    floor: float = Field(default=0.0, ge=0, le=1)


class ExponentialConfig(Config):
    """The rate times ``gamma`` after every epoch."""

    kind: Literal["exponential"] = "exponential"
    gamma: float = Field(default=0.97, gt=0, le=1)


class PlateauConfig(Config):
    """The rate times ``factor`` when the loss on val has not fallen for more than ``patience`` epochs."""

    kind: Literal["plateau"] = "plateau"
    patience: int = Field(default=5, ge=0)
    factor: float = Field(default=0.1, gt=0, lt=1)


OptimiserConfig = Annotated[AdamWConfig | RMSpropConfig | AdamConfig, Field(discriminator="kind")]
ScheduleConfig = Annotated[CosineConfig | ExponentialConfig | PlateauConfig, Field(discriminator="kind")]

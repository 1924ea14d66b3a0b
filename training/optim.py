"""Optimisers, learning-rate schedules, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from timm.optim.rmsprop_tf import RMSpropTF
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, LRScheduler, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel

from semblance.manifests.config import Config


class AdamWConfig(Config):
    """torch's AdamW (Loshchilov and Hutter 2019), with decoupled weight decay."""

    kind: Literal["adamw"] = "adamw"
    lr: float = Field(default=1e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=1e-4, ge=0)


class RMSpropConfig(Config):
    """timm's RMSpropTF, which follows TensorFlow, in which EfficientNet was trained.

    Epsilon is inside the root, the mean square starts at one, and the rate is part of the momentum.
    """

    kind: Literal["rmsprop_tf"] = "rmsprop_tf"
    lr: float = Field(default=0.016, gt=0)
    alpha: float = Field(default=0.9, ge=0, lt=1)
    eps: float = Field(default=1e-3, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-5, ge=0)


class AdamConfig(Config):
    """torch's Adam (Kingma and Ba 2015)."""

    kind: Literal["adam"] = "adam"
    lr: float = Field(default=5e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)


class CosineConfig(Config):
    """Linear warm-up over ``warmup_epochs``, then half a cosine down to ``floor`` times the rate; set at every step."""

    kind: Literal["cosine"] = "cosine"
    warmup_epochs: float = Field(default=5, ge=0)
    floor: float = Field(default=0.0, ge=0, le=1)


class ExponentialConfig(Config):
    """The rate is multiplied by ``gamma`` after every epoch."""

    kind: Literal["exponential"] = "exponential"
    gamma: float = Field(default=0.97, gt=0, le=1)


class PlateauConfig(Config):
    """The rate is multiplied by ``factor`` when the val loss has not fallen for more than ``patience`` epochs."""

    kind: Literal["plateau"] = "plateau"
    patience: int = Field(default=5, ge=0)
    factor: float = Field(default=0.1, gt=0, lt=1)


OptimiserConfig = Annotated[AdamWConfig | RMSpropConfig | AdamConfig, Field(discriminator="kind")]
ScheduleConfig = Annotated[CosineConfig | ExponentialConfig | PlateauConfig, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Schedule:
    """A scheduler, and when to step it: after every optimiser step or epoch; with the val loss if ``on_val_loss``."""

    scheduler: LRScheduler | ReduceLROnPlateau
    interval: Literal["step", "epoch"]
    on_val_loss: bool = False


def optimiser(config: OptimiserConfig, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The configured optimiser; weight decay acts on all parameters, including those of the loss."""
    match config:
        case AdamWConfig():
            return AdamW(parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)
        case AdamConfig():
            return Adam(parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)
        case RMSpropConfig():
            return RMSpropTF(
                parameters,
                lr=config.lr,
                alpha=config.alpha,
                eps=config.eps,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
            )


def schedule(config: ScheduleConfig, optimiser: Optimizer, epochs: int, steps_per_epoch: int) -> Schedule:
    """The configured schedule; ``steps_per_epoch`` counts optimiser steps, after accumulation."""
    match config:
        case CosineConfig():
            rise, total = round(config.warmup_epochs * steps_per_epoch), epochs * steps_per_epoch
            factor = cosine_factor(rise, total, config.floor)
            return Schedule(scheduler=LambdaLR(optimiser, factor), interval="step")
        case ExponentialConfig():
            return Schedule(scheduler=ExponentialLR(optimiser, config.gamma), interval="epoch")
        case PlateauConfig():
            plateau = ReduceLROnPlateau(optimiser, "min", factor=config.factor, patience=config.patience)
            return Schedule(scheduler=plateau, interval="epoch", on_val_loss=True)


def cosine_factor(rise: int, total: int, floor: float) -> Callable[[int], float]:
    """The factor of the rate at each step: up to 1 over ``rise`` steps, then down to ``floor`` at step ``total``.

    After Loshchilov and Hutter 2017, without restarts.
    """

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        progress = min(1.0, (step - rise) / max(1, total - rise))
        return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2

    return factor


def ema_decay(limit: float, updates: int) -> float:
    """min(limit, (1 + t) / (10 + t)) after t updates, as in TensorFlow: the average forgets its start quickly."""
    return min(limit, (1 + updates) / (10 + updates))


class Average(AveragedModel):
    """The moving average of a model. The vectors of its spectral norms are copied: they are directions, and their mean
    would be shorter than 1, so that the norm would come out too small.
    """

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        super().update_parameters(model)
        averaged = dict(self.module.named_modules())
        for name, part in model.named_modules():
            if isinstance(part, _SpectralNorm):
                mean = averaged[name]
                for vector in ("_u", "_v"):
                    mean.get_buffer(vector).copy_(part.get_buffer(vector))


def ema_average(limit: float) -> Callable[[tuple[Tensor, ...], tuple[Tensor, ...], Tensor | int], None]:
    """The ``multi_avg_fn`` of ``torch.optim.swa_utils.AveragedModel`` for an exponential moving average.

    Weights and floating-point buffers are averaged; counters are copied.
    """

    @torch.no_grad()
    def average(mean: tuple[Tensor, ...], current: tuple[Tensor, ...], updates: Tensor | int) -> None:
        weight = 1 - ema_decay(limit, int(updates))
        if mean[0].is_floating_point():  # torch calls this once per type and device
            torch._foreach_lerp_(mean, current, weight)
        else:
            torch._foreach_copy_(mean, current)

    return average

"""Optimisers, learning-rate schedules, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import torch
from pydantic import Field
from timm.optim.rmsprop_tf import RMSpropTF
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, LRScheduler, ReduceLROnPlateau

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


_HOW: Final = ("foreach", "fused")  # of a parameter group: how a step is computed, not what

OptimiserConfig = Annotated[AdamWConfig | RMSpropConfig | AdamConfig, Field(discriminator="kind")]
ScheduleConfig = Annotated[CosineConfig | ExponentialConfig | PlateauConfig, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Schedule:
    """A scheduler, and when to step it: after every optimiser step or epoch; with the val loss if ``on_val_loss``."""

    scheduler: LRScheduler | ReduceLROnPlateau
    interval: Literal["step", "epoch"]
    on_val_loss: bool = False


def optimiser(config: OptimiserConfig, parameters: Iterable[nn.Parameter], *, fused: bool = True) -> Optimizer:
    """The configured optimiser of the parameters that are trained, those with gradients.

    Weight decay acts on all of them, including those of the loss.
    A step is a handful of operations on all parameters together. ``fused``: torch's fused Adam, which mixed
    precision does not get on with where gradients are clipped.
    """
    parameters = trained(parameters)
    match config:
        case AdamWConfig():
            kind: type[AdamW] | type[Adam] = AdamW
        case AdamConfig():
            kind = Adam
        case RMSpropConfig():
            return RMSpropTF(
                parameters,
                lr=config.lr,
                alpha=config.alpha,
                eps=config.eps,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
                foreach=True,
            )
    how = {"fused": True} if fused else {"foreach": True}
    return kind(parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, **how)


def trained(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Those with gradients."""
    return [parameter for parameter in parameters if parameter.requires_grad]


def restore(optimiser: Optimizer, state: Mapping[str, Any]) -> None:
    """Load a ``state_dict`` of any device; how a step is computed stays as it is here.

    Moments take the strides of their parameter, without which a fused step would refuse them or be slow.
    """
    how: list[dict[str, Any]] = [
        {name: group[name] for name in _HOW if name in group} for group in optimiser.param_groups
    ]
    optimiser.load_state_dict(dict(state))
    for group, own in zip(optimiser.param_groups, how, strict=True):
        group.update(own)
        for parameter in group["params"]:
            moments = optimiser.state[parameter]
            for name, value in moments.items():
                if name == "step":  # fused kernels count on the device, others on the host
                    moments[name] = torch.as_tensor(value, device=parameter.device if own.get("fused") else "cpu")
                elif isinstance(value, Tensor):
                    moments[name] = strided_as(value, parameter)


@torch.no_grad()
def align_gradients(optimiser: Optimizer) -> None:
    """Give every gradient the strides of its parameter, which fused steps need.

    Where a side is 1, as in 1x1 convolutions, autograd leaves its stride open.
    """
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.grad = strided_as(parameter.grad, parameter)


def strided_as(value: Tensor, model: Tensor) -> Tensor:
    """``value`` with the strides of ``model``; a copy only where its memory has another order."""
    if value.shape != model.shape or value.stride() == model.stride():
        return value
    sides = zip(value.shape, value.stride(), model.stride(), strict=True)
    if all(ours == theirs for side, ours, theirs in sides if side > 1):
        return value.as_strided(model.shape, model.stride(), value.storage_offset())
    return torch.empty_like(model).copy_(value)


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


class Average(nn.Module):
    """The moving average of a model: ``module`` after ``updates`` updates, with decay ``ema_decay``.

    Weights and floating-point buffers are averaged, counters are copied. The vectors of spectral norms are copied too:
    they are directions, and their mean would be shorter than 1, so that the norm would come out too small. The first
    update copies everything. An update is three operations, and waits for nothing. Parameters of the model that are not
    trained are its own: they are neither copied nor averaged.
    """

    def __init__(self, model: nn.Module, limit: float) -> None:
        super().__init__()
        shared = {id(one): one for one in model.parameters() if not one.requires_grad}
        self.module = copy.deepcopy(model, dict(shared))
        self.limit, self.updates = limit, 0

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        mean, current = _split(self.module, model), _split(model, model)
        if self.updates:
            torch._foreach_lerp_(mean[0], current[0], 1 - ema_decay(self.limit, self.updates))
        else:
            torch._foreach_copy_(mean[0], current[0])
        for ours, theirs in zip(mean[1:], current[1:], strict=True):
            if ours:
                torch._foreach_copy_(ours, theirs)
        self.updates += 1


def _split(model: nn.Module, source: nn.Module) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """The tensors of a model that are averaged, and those that are copied: directions, and counters.

    ``source`` tells which of its parameters are trained: those of an average have no gradients.
    """
    directions = {
        id(part.get_buffer(name))
        for part in model.modules()
        if isinstance(part, _SpectralNorm)
        for name in ("_u", "_v")
    }
    pairs = zip(model.parameters(), source.parameters(), strict=True)
    averaged: list[Tensor] = [own for own, given in pairs if given.requires_grad]
    copied: list[Tensor] = []
    counters: list[Tensor] = []
    for buffer in model.buffers():
        floating = buffer.is_floating_point()
        (counters if not floating else copied if id(buffer) in directions else averaged).append(buffer)
    return averaged, copied, counters

"""Optimisers, schedules and the moving average against their definitions."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.optim.rmsprop_tf import RMSpropTF
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim import Adam, AdamW
from torch.optim.swa_utils import AveragedModel

from semblance.training import optim
from semblance.training.optim import (
    AdamConfig,
    AdamWConfig,
    CosineConfig,
    ExponentialConfig,
    PlateauConfig,
    RMSpropConfig,
)
from tests.training import dispatch


def weight_of(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def test_rmsprop_follows_tensorflow() -> None:
    """The mean square starts at one, epsilon is in the root, the rate in the momentum, decay in the gradient."""
    config = RMSpropConfig()
    parameter = weight_of(0.5, -2.0)
    optimiser = optim.optimiser(config, [parameter])
    weight, square, momentum = [0.5, -2.0], [1.0, 1.0], [0.0, 0.0]
    for step in range(5):
        gradient = [1.0 + step, -0.1]
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        optimiser.step()
        for i in range(2):
            slope = gradient[i] + 1e-5 * weight[i]
            square[i] = 0.9 * square[i] + 0.1 * slope**2
            momentum[i] = 0.9 * momentum[i] + 0.016 * slope / math.sqrt(square[i] + 1e-3)
            weight[i] -= momentum[i]
    assert parameter.tolist() == pytest.approx(weight, rel=1e-9)


@pytest.mark.parametrize("config", [AdamWConfig(lr=0.1, weight_decay=0.5), AdamConfig(lr=0.1, weight_decay=0.5)])
def test_first_step_of_adam(config: AdamWConfig | AdamConfig) -> None:
    parameter = weight_of(2.0)
    optimiser = optim.optimiser(config, [parameter])
    parameter.grad = torch.tensor([3.0], dtype=torch.float64)
    optimiser.step()
    decayed = 2.0 * (1 - 0.1 * 0.5) if isinstance(config, AdamWConfig) else 2.0
    assert parameter.item() == pytest.approx(decayed - 0.1, rel=1e-6)  # the first step equals the rate for any gradient


@given(rise=st.integers(1, 20), rest=st.integers(1, 60), floor=st.floats(0, 0.5))
@settings(max_examples=50)
def test_cosine_rises_in_a_line_and_falls_to_its_floor(rise: int, rest: int, floor: float) -> None:
    factor = optim.cosine_factor(rise, rise + rest, floor)
    values = [factor(step) for step in range(rise + rest + 1)]
    assert values[: rise + 1] == pytest.approx([*((i + 1) / rise for i in range(rise)), 1.0])
    assert values[-1] == pytest.approx(floor)
    assert all(later <= earlier + 1e-12 for earlier, later in zip(values[rise:], values[rise + 1 :], strict=False))
    if rest % 2 == 0:
        assert values[rise + rest // 2] == pytest.approx((1 + floor) / 2)


def rates(config: CosineConfig | ExponentialConfig | PlateauConfig, losses: list[float]) -> list[float]:
    """The rate in each epoch, of four steps each."""
    parameter = weight_of(1.0)
    optimiser = optim.optimiser(AdamWConfig(lr=1.0), [parameter])
    schedule = optim.schedule(config, optimiser, len(losses), 4)
    step: Callable[..., None] = schedule.scheduler.step  # the plateau schedule takes a loss
    found = []
    for loss in losses:
        found.append(optimiser.param_groups[0]["lr"])
        for _ in range(4):
            parameter.grad = torch.zeros(1, dtype=torch.float64)
            optimiser.step()
            if schedule.interval == "step":
                step()
        if schedule.interval == "epoch":
            step(*([loss] if schedule.on_val_loss else []))
    return found


def test_schedules_by_epoch() -> None:
    assert rates(ExponentialConfig(gamma=0.97), [1.0] * 4) == pytest.approx([0.97**i for i in range(4)])
    cosine = rates(CosineConfig(warmup_epochs=2), [1.0] * 6)
    assert cosine[0] == pytest.approx(1 / 8)
    assert cosine[2] == pytest.approx(1)
    assert cosine[4] == pytest.approx(0.5)
    plateau = rates(PlateauConfig(patience=5), [1.0, 0.9, *[0.95] * 8, 0.95])
    assert plateau == [1.0] * 8 + [0.1] * 3  # the sixth epoch without a better loss is one more than patience


@pytest.mark.parametrize(("updates", "decay"), [(0, 0.1), (1, 2 / 11), (90, 0.91), (10**6, 0.9999)])
def test_decay(updates: int, decay: float) -> None:
    assert optim.ema_decay(0.9999, updates) == pytest.approx(decay)


def test_average_is_the_recursion_for_weights_and_statistics() -> None:
    """And equals torch's own average."""
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = optim.Average(net, 0.9999)

    def theirs(mean: Any, current: Any, updates: Any) -> None:
        if mean[0].is_floating_point():
            torch._foreach_lerp_(mean, current, 1 - optim.ema_decay(0.9999, int(updates)))
        else:
            torch._foreach_copy_(mean, current)

    referee = AveragedModel(net, multi_avg_fn=theirs, use_buffers=True)
    expected: dict[str, torch.Tensor] = {}
    for step in range(4):
        with torch.no_grad():
            for value in net.state_dict().values():
                value.add_(step + 1)
        average.update_parameters(net)
        referee.update_parameters(net)
        decay = optim.ema_decay(0.9999, step)
        for name, value in net.state_dict().items():
            old = expected.get(name, value).clone()
            copied = step == 0 or not value.is_floating_point()
            expected[name] = value.clone() if copied else decay * old + (1 - decay) * value
    found = average.module.state_dict()
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(found[name].double(), value.double(), rtol=1e-5), name
        assert torch.equal(found[name], referee.module.state_dict()[name])
    assert average.updates == 4


def test_the_average_of_a_spectral_norm_is_normal() -> None:
    """After 200 steps of a long average the norm of the averaged layer is 1, by its singular values."""
    torch.manual_seed(0)
    model = spectral_norm(nn.Linear(12, 8)).train()
    average = optim.Average(model, 0.99)
    for _ in range(200):
        with torch.no_grad():
            model.parametrizations.weight.original.add_(0.05 * torch.randn(8, 12))
        model(torch.randn(4, 12))
        average.update_parameters(model)
    for name, buffer in average.module.named_buffers():
        assert torch.equal(buffer, model.get_buffer(name))
        assert float(buffer.norm()) == pytest.approx(1, abs=1e-5)


CONFIGS = [RMSpropConfig(lr=0.01, weight_decay=0.01), AdamWConfig(lr=0.01, weight_decay=0.1), AdamConfig(lr=0.01)]


def plain(config: Any, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The same optimiser as a loop over its parameters."""
    values = config.model_dump(exclude={"kind"})
    kind = {"rmsprop_tf": RMSpropTF, "adamw": AdamW, "adam": Adam}[config.kind]
    return kind(parameters, **values, foreach=False)


def many() -> list[nn.Parameter]:
    """418 tensors, as in EfficientNet-B4, small, of all kinds of shapes."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3, 3, 3), (5, 4, 1, 1), (7,), (2, 6), (1,)]
    return [nn.Parameter(torch.randn(shapes[i % 5], generator=generator)) for i in range(418)]


def give_gradients(parameters: list[nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
@pytest.mark.parametrize("fused", [True, False])
def test_a_step_on_all_parameters_together_equals_one_by_one(config: Any, fused: bool) -> None:
    ours, theirs = many(), many()
    one, other = optim.optimiser(config, ours, fused=fused), plain(config, theirs)
    for step in range(8):
        for parameters, optimiser in ((ours, one), (theirs, other)):
            give_gradients(parameters, step)
            optimiser.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_a_step_is_few_operations_and_waits_for_nothing(config: Any) -> None:
    """7,106 operations for these 418 tensors where each was a step of its own."""
    parameters = many()
    optimiser = optim.optimiser(config, parameters)
    for step in range(2):
        give_gradients(parameters, step)
        with dispatch.Counter() as counted:
            optim.align_gradients(optimiser)
            optimiser.step()
    assert counted.operations < 20
    assert counted.waits == 0


def test_an_average_is_few_operations_and_waits_for_nothing() -> None:
    model = spectral_norm(nn.Linear(12, 8))
    net = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for _ in range(50)), model)
    average = optim.Average(net, 0.999)
    for _ in range(2):
        with dispatch.Counter() as counted:
            average.update_parameters(net)
    assert counted.operations == 3
    assert counted.waits == 0


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
@pytest.mark.parametrize("wide", [False, True])
def test_old_checkpoints_and_other_strides_are_restored(config: Any, wide: bool) -> None:
    """States of a loop over parameters, with contiguous moments, go on on parameters in channels_last."""
    theirs = many()
    other = plain(config, theirs)
    give_gradients(theirs, 0)
    other.step()
    ours = [nn.Parameter(parameter.detach().clone()) for parameter in theirs]
    if wide:
        for parameter in ours:
            if parameter.dim() == 4:
                parameter.data = parameter.data.to(memory_format=torch.channels_last)
    one = optim.optimiser(config, ours)
    optim.restore(one, copy.deepcopy(other.state_dict()))
    assert one.param_groups[0].get("fused") is not other.param_groups[0].get("fused") or one.param_groups[0]["foreach"]
    for step in (1, 2):
        for parameters, optimiser in ((ours, one), (theirs, other)):
            give_gradients(parameters, step)
            for parameter in parameters:  # of any strides, as autograd and compilers make them
                parameter.grad = parameter.grad.contiguous()
            optim.align_gradients(optimiser)
            optimiser.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-6)
        for name, value in one.state[a].items():
            assert name == "step" or value.stride() == a.stride() == a.grad.stride()
    assert one.state_dict()["state"][0].keys() == other.state_dict()["state"][0].keys()
    assert one.state_dict()["param_groups"][0].keys() == other.state_dict()["param_groups"][0].keys()

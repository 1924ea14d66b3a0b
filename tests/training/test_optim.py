"""Optimisers, schedules and the moving average against their definitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
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
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = AveragedModel(net, multi_avg_fn=optim.ema_average(0.9999), use_buffers=True)  # type: ignore[arg-type]
    expected: dict[str, torch.Tensor] = {}
    for step in range(4):
        with torch.no_grad():
            for value in net.state_dict().values():
                value.add_(step + 1)
        average.update_parameters(net)
        decay = optim.ema_decay(0.9999, step)
        for name, value in net.state_dict().items():
            old = expected.get(name, value).clone()
            copied = step == 0 or not value.is_floating_point()
            expected[name] = value.clone() if copied else decay * old + (1 - decay) * value
    found = average.module.state_dict()
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(found[name].double(), value.double(), rtol=1e-5), name


def test_the_average_of_a_spectral_norm_is_normal() -> None:
    """After 200 steps of a long average the norm of the averaged layer is 1, by its singular values."""
    torch.manual_seed(0)
    model = spectral_norm(nn.Linear(12, 8)).train()
    mean: Any = optim.ema_average(0.99)
    average = optim.Average(model, multi_avg_fn=mean, use_buffers=True)
    for _ in range(200):
        with torch.no_grad():
            model.parametrizations.weight.original.add_(0.05 * torch.randn(8, 12))
        model(torch.randn(4, 12))
        average.update_parameters(model)
    for name, buffer in average.module.named_buffers():
        assert torch.equal(buffer, model.get_buffer(name))
        assert float(buffer.norm()) == pytest.approx(1, abs=1e-5)

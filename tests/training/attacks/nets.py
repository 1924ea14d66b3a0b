"""Targets for tests of attacks: linear models, whose answers are known exactly, and a small trained network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semblance.training.attacks import Target
from semblance.training.models import Model
from semblance.training.models.base import Head
from semblance.training.records import Output

SIDE = 4  # of the pictures of linear models: 48 values


class Linear(Model):
    """The logit is w x + b, in double precision."""

    def __init__(self, weight: Tensor, bias: float = 0.0) -> None:
        super().__init__()
        self.embedding_dim = weight.numel()
        self.weight = nn.Parameter(weight.flatten())
        self.bias = nn.Parameter(torch.tensor(bias, dtype=weight.dtype))

    def forward(self, image_BCHW: Tensor) -> Output:
        embedding_BD = image_BCHW.flatten(1)
        return Output(logit_B=embedding_BD @ self.weight + self.bias, embedding_BD=embedding_BD)


def linear(seed: int = 0, count: int = 64) -> tuple[Linear, Tensor, Tensor]:
    """A linear model, pictures whose values come near 0 and 1, and labels of which it gets nine in ten right."""
    draw = torch.Generator().manual_seed(seed)
    weight_D = torch.randn(3 * SIDE * SIDE, generator=draw, dtype=torch.float64)
    image_BCHW = torch.rand(count, 3, SIDE, SIDE, generator=draw, dtype=torch.float64)
    model = Linear(weight_D, float(-0.5 * weight_D.sum()))
    with torch.no_grad():
        target_B = (model(image_BCHW).logit_B > 0).double()
    wrong_B = torch.rand(count, generator=draw) < 0.1
    return model, image_BCHW, torch.where(wrong_B, 1 - target_B, target_B)


def exact(model: Linear, image_BCHW: Tensor, target_B: Tensor, eps: float) -> Tensor:
    """The lowest margin (2y - 1) z that any picture of the L-infinity ball in [0, 1] has, (B,): each value is apart."""
    with torch.no_grad():
        sign_B1 = 2 * target_B[:, None] - 1
        low_BD, high_BD = (image_BCHW.flatten(1) - eps).clamp(0, 1), (image_BCHW.flatten(1) + eps).clamp(0, 1)
        slope_BD = sign_B1 * model.weight
        worst_BD = torch.where(slope_BD > 0, low_BD, high_BD)
        return (slope_BD * worst_BD).sum(1) + sign_B1[:, 0] * model.bias


class Small(Model):
    """Two convolutions with batch norm and dropout, trained by ``trained``."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.embedding_dim, self.gain = 16, gain
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.SiLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(64, 16),
        )
        self.head = Head(16, 0.2)

    def forward(self, image_BCHW: Tensor) -> Output:
        embedding_BD = self.body(image_BCHW - 0.5)
        return Output(logit_B=self.gain * self.head(embedding_BD), embedding_BD=embedding_BD)


def faces(count: int, seed: int, side: int = 16) -> tuple[Tensor, Tensor]:
    """Noise pictures, of which the fakes have a faint checkerboard in the middle."""
    draw = torch.Generator().manual_seed(seed)
    target_B = (torch.arange(count) % 2).float()
    image_BCHW = 0.3 + 0.4 * torch.rand(count, 3, side, side, generator=draw)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    board_HW = (((y + x) % 2) - 0.5) * (((y - side / 2).abs() < 5) & ((x - side / 2).abs() < 5))
    return image_BCHW + 0.16 * target_B[:, None, None, None] * board_HW, target_B


def trained(steps: int = 60, seed: int = 0) -> Small:
    """A small network that tells ``faces`` apart, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Small().train()
        optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
        for step in range(steps):
            image_BCHW, target_B = faces(64, step)
            loss = nn.functional.binary_cross_entropy_with_logits(model(image_BCHW).logit_B, target_B)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


def right(target: Target, image_BCHW: Tensor, target_B: Tensor) -> Tensor:
    """Which pictures are judged rightly, (B,)."""
    return target.loss(image_BCHW, target_B) < 0

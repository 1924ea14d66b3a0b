"""Attacks by the sign of the gradient: FGSM and PGD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from semblance.training.attacks.base import EPS, Attack, register, uniform, within
from semblance.training.attacks.target import Target

STEP: Final = 0.007 / EPS  # of PGD, in units of its strength


@register("fgsm", passes=2)
@dataclass(frozen=True, kw_only=True)
class Fgsm(Attack):
    """The fast gradient sign method (Goodfellow et al. 2015): one step of ``eps`` along the gradient's sign."""

    eps: float = EPS

    def perturb(
        self, target: Target, image_BCHW: Tensor, target_B: Tensor, generators_B: Sequence[torch.Generator]
    ) -> Tensor:
        del generators_B
        _, gradient_BCHW = target.gradient(image_BCHW, target_B)
        return within(image_BCHW + self.eps * gradient_BCHW.sign(), image_BCHW, self.eps)


@register("pgd", passes=20)
@dataclass(frozen=True, kw_only=True)
class Pgd(Attack):
    """Projected gradient descent (Madry et al. 2018): steps along the gradient's sign, each projected on the ball.

    ``alpha``: the length of a step; None: 0.007 at a strength of 0.03, and in proportion at others. ``start``: begin
    at random in the ball, else at the picture. The last step's picture is returned.
    """

    eps: float = EPS
    alpha: float | None = None
    steps: int = 10
    start: bool = True

    def perturb(
        self, target: Target, image_BCHW: Tensor, target_B: Tensor, generators_B: Sequence[torch.Generator]
    ) -> Tensor:
        alpha = STEP * self.eps if self.alpha is None else self.alpha
        found_BCHW = image_BCHW
        if self.start:
            noise_BCHW = 2 * uniform(generators_B, *image_BCHW.shape[1:], like=image_BCHW) - 1
            found_BCHW = within(image_BCHW + self.eps * noise_BCHW, image_BCHW, self.eps)
        for _ in range(self.steps):
            _, gradient_BCHW = target.gradient(found_BCHW, target_B)
            found_BCHW = within(found_BCHW + alpha * gradient_BCHW.sign(), image_BCHW, self.eps)
        return found_BCHW

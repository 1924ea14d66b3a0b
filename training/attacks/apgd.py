"""APGD: projected gradient descent with momentum whose steps are halved where it gets no further.

Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks"
(ICML 2020), algorithm 1, here on the margin, with the paper's constants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from semblance.training.attacks.base import EPS, Attack, over, register, uniform, within
from semblance.training.attacks.target import Target

MOMENTUM: Final = 0.75  # share of the new direction
RISING: Final = 0.75  # share of the steps of a period that must raise L, else steps are halved
FIRST, LESS, LEAST = 22, 3, 6  # periods in % of all iterations: the first, what each next one loses, the shortest


@register("apgd", passes=200, quick_passes=40, iterations=20)
@dataclass(frozen=True, kw_only=True)
class Apgd(Attack):
    """``iterations`` gradients a start; the picture with the highest L is returned.

    Of several ``restarts``, later ones are of the pictures that are still judged rightly.
    """

    eps: float = EPS
    iterations: int = 100
    restarts: int = 1

    def perturb(
        self, target: Target, image_BCHW: Tensor, target_B: Tensor, generators_B: Sequence[torch.Generator]
    ) -> Tensor:
        best_BCHW = image_BCHW.clone()
        highest_B = torch.full_like(target_B, -math.inf)
        for _ in range(self.restarts):
            left = torch.nonzero(highest_B <= 0).flatten()
            if len(left) == 0:
                break
            some = [generators_B[place] for place in left.tolist()]
            found_BCHW, loss_B = self._start(target, image_BCHW[left], target_B[left], some)
            better_B = loss_B > highest_B[left]
            best_BCHW[left[better_B]], highest_B[left[better_B]] = found_BCHW[better_B], loss_B[better_B]
        return best_BCHW

    def _start(
        self, target: Target, clean_BCHW: Tensor, target_B: Tensor, generators_B: Sequence[torch.Generator]
    ) -> tuple[Tensor, Tensor]:
        """The best pictures from one random start, and their L."""
        noise_BCHW = 2 * uniform(generators_B, *clean_BCHW.shape[1:], like=clean_BCHW) - 1
        widest_B = noise_BCHW.abs().flatten(1).amax(1).clamp(min=1e-12)
        at_BCHW = within(clean_BCHW + self.eps * noise_BCHW / over(widest_B), clean_BCHW, self.eps)
        before_BCHW = at_BCHW
        loss_B, gradient_BCHW = target.gradient(at_BCHW, target_B)
        best_BCHW, highest_B, best_gradient_BCHW = at_BCHW, loss_B, gradient_BCHW
        step_B = torch.full_like(loss_B, 2 * self.eps)
        rises_B, at_check_B = torch.zeros_like(loss_B), highest_B
        halved_B = torch.ones_like(loss_B, dtype=torch.bool)
        checks, last = set(periods(self.iterations)), 0
        for iteration in range(1, self.iterations):
            straight_BCHW = within(at_BCHW + over(step_B) * gradient_BCHW.sign(), clean_BCHW, self.eps)
            share = MOMENTUM if iteration > 1 else 1.0
            moved_BCHW = at_BCHW + share * (straight_BCHW - at_BCHW) + (1 - share) * (at_BCHW - before_BCHW)
            before_BCHW, at_BCHW = at_BCHW, within(moved_BCHW, clean_BCHW, self.eps)
            now_B, gradient_BCHW = target.gradient(at_BCHW, target_B)
            rises_B = rises_B + (now_B > loss_B)
            loss_B, better_B = now_B, now_B > highest_B
            best_BCHW = torch.where(over(better_B), at_BCHW, best_BCHW)
            best_gradient_BCHW = torch.where(over(better_B), gradient_BCHW, best_gradient_BCHW)
            highest_B = torch.maximum(highest_B, now_B)
            if iteration in checks:
                stuck_B = ~halved_B & (highest_B == at_check_B)
                halved_B = (rises_B < RISING * (iteration - last)) | stuck_B
                step_B = torch.where(halved_B, step_B / 2, step_B)
                at_BCHW = torch.where(over(halved_B), best_BCHW, at_BCHW)
                gradient_BCHW = torch.where(over(halved_B), best_gradient_BCHW, gradient_BCHW)
                loss_B = torch.where(halved_B, highest_B, loss_B)
                rises_B, at_check_B, last = torch.zeros_like(rises_B), highest_B, iteration
        return best_BCHW, highest_B


def periods(iterations: int) -> list[int]:
    """The iterations after which steps may be halved."""
    ends, before, now = [], 0, FIRST
    while now <= 100:
        ends.append(-(-now * iterations // 100))
        before, now = now, now + max(now - before - LESS, LEAST)
    return ends
